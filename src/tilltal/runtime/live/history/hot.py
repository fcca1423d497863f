"""Rows of the log as tables of history: the compactor writes them, a refresh reads them.

Nothing is lost on the way: event types, sources and fields that the definitions do not name (any more) are
kept as text under their own names, and count again once they are declared again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import TypeAlias
from uuid import UUID

import pyarrow as pa

from tilltal.core.operational import Identified, Logged
from tilltal.core.time import utc_naive
from tilltal.runtime.live.instants import moment
from tilltal.runtime.live.intake.facts import message_of
from tilltal.runtime.refresh.views import SQL_TYPES
from tilltal.workspace.definitions.sources import FieldType
from tilltal.workspace.names import event_fields, kept_fields
from tilltal.workspace.workspace import Workspace

Row: TypeAlias = dict[str, object]

_ARROW: Mapping[str, pa.DataType] = {
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
}
_OBSERVATIONS = pa.schema(
    [
        ("observation", pa.string()),
        ("at", pa.timestamp("us")),
        ("last_at", pa.timestamp("us")),
        ("ids", pa.list_(pa.struct([("namespace", pa.string()), ("token", pa.int64())]))),
    ]
)
_HEAD: Mapping[str, pa.DataType] = {
    "identity": pa.int64(),
    "event_id": pa.string(),
    "at": pa.timestamp("us"),
    "received": pa.timestamp("us"),
    "source": pa.string(),
}
IDENTITIES = pa.schema([("token", pa.int64()), ("namespace", pa.string()), ("value", pa.string())])


def tables_of(
    workspace: Workspace, rows: Sequence[Logged], identities: Mapping[int, Identified]
) -> dict[str, pa.Table]:
    """Return the tables of history that rows of the log make: view (`events/login`) → table.

    Args:
        workspace: says which event types, sources and fields there are; others are kept as text.
        rows: of the log.
        identities: what is known of every token in the rows.
    """
    by_view: dict[str, list[Logged]] = defaultdict(list)
    for row in rows:
        by_view[_view_of(row)].append(row)
    kinds = _field_kinds(workspace)
    tables = {view: _table(found, kinds.get(view, {})) for view, found in by_view.items()}
    tables["observations"] = pa.Table.from_pylist(_observations(rows, identities), schema=_OBSERVATIONS)
    known = [identities[token] for token in sorted({token for row in rows for token in row.ids})]
    tables["identities"] = pa.Table.from_pylist(
        [{"token": one.token, "namespace": one.namespace, "value": one.value} for one in known],
        schema=IDENTITIES,
    )
    return tables


def _view_of(row: Logged) -> str:
    return {
        "event": f"events/{row.name}",
        "record": f"records/{row.source}",
        "holding": "holdings",
        "consent": "consents",
    }[row.kind]


def _field_kinds(workspace: Workspace) -> dict[str, Mapping[str, FieldType]]:
    """Return view → field → declared type, of every view a row may belong to."""
    kinds: dict[str, Mapping[str, FieldType]] = {
        f"events/{name}": fields for name, fields in event_fields(workspace).items()
    }
    for name, source in workspace.sources.items():
        if source.kind == "record":
            kinds[f"records/{name}"] = kept_fields(source)
    holding: Mapping[str, FieldType] = {"product": "text", "opened": "date", "closed": "date"}
    consent: Mapping[str, FieldType] = {"purpose": "text", "channel": "text", "granted": "boolean"}
    return {**kinds, "holdings": holding, "consents": consent}


def _table(rows: Sequence[Logged], kinds: Mapping[str, FieldType]) -> pa.Table:
    """Return rows of one view: those fields typed that are declared, the others as text."""
    messages = [message_of(row.body)[1] for row in rows]
    others = sorted({name for fields in messages for name in fields} - kinds.keys() - _HEAD.keys())
    columns = {
        **_HEAD,
        **{name: _ARROW[SQL_TYPES[kind]] for name, kind in kinds.items()},
        **dict.fromkeys(others, pa.string()),
    }
    made = [
        _head(row)
        | {name: _typed(fields.get(name), kind) for name, kind in kinds.items()}
        | {name: _text(fields.get(name)) for name in others}
        for row, fields in zip(rows, messages, strict=True)
    ]
    return pa.Table.from_pylist(made, schema=pa.schema(list(columns.items())))


def _head(row: Logged) -> Row:
    return {
        "identity": row.token,
        "event_id": str(UUID(bytes=row.event_id)),
        "at": utc_naive(moment(row.at)),
        "received": utc_naive(moment(row.received)),
        "source": row.source,
    }


_FROM_TEXT: Mapping[FieldType, Callable[[str], object]] = {
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
}


def _typed(value: object, kind: FieldType) -> object:
    """Return a value of the log as a column of history holds it."""
    if value is None:
        return None
    if kind == "any":
        return json.dumps(value, ensure_ascii=False)
    read = _FROM_TEXT.get(kind)
    return read(value) if read and isinstance(value, str) else value


def _text(value: object) -> str | None:
    """Return a value that nobody declares, so that whatever type is declared later can be read from it."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _observations(rows: Iterable[Logged], identities: Mapping[int, Identified]) -> list[Row]:
    """Return identifiers seen together, a row per message, and each alone with its first and last time."""
    together: list[Row] = []
    alone: dict[int, tuple[int, int]] = {}
    for row in rows:
        if len(row.ids) > 1:
            at = utc_naive(moment(row.at))
            name = f"{row.source}:{message_of(row.body)[0]}"
            ids = [_identifier(token, identities) for token in row.ids]
            together.append({"observation": name, "at": at, "last_at": at, "ids": ids})
        else:
            first, last = alone.get(row.token, (row.at, row.at))
            alone[row.token] = (min(first, row.at), max(last, row.at))
    return together + [
        {
            "observation": None,
            "at": utc_naive(moment(first)),
            "last_at": utc_naive(moment(last)),
            "ids": [_identifier(token, identities)],
        }
        for token, (first, last) in alone.items()
    ]


def _identifier(token: int, identities: Mapping[int, Identified]) -> Row:
    return {"namespace": identities[token].namespace, "token": token}
