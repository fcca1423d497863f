"""Rows of the log as tables of history: the compactor writes them, a refresh reads them."""

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
from tilltal.runtime.live.facts import message_of
from tilltal.runtime.live.instants import moment
from tilltal.runtime.refresh.views import declared_views
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
    "UUID": pa.string(),
    "STRUCT(namespace VARCHAR, token BIGINT)[]": pa.list_(
        pa.struct([("namespace", pa.string()), ("token", pa.int64())])
    ),
}
IDENTITIES = pa.schema([("token", pa.int64()), ("namespace", pa.string()), ("value", pa.string())])


def tables_of(
    workspace: Workspace, rows: Sequence[Logged], identities: Mapping[int, Identified]
) -> dict[str, pa.Table]:
    """Return the tables of history that rows of the log make: view (`events/login`) → table.

    Args:
        workspace: says which event types, sources and fields there are; rows of others are left out.
        rows: of the log.
        identities: what is known of every token in the rows.
    """
    made: dict[str, list[Row]] = defaultdict(list)
    kinds = _field_kinds(workspace)
    for row in rows:
        view = _view_of(row)
        if view in kinds:
            made[view].append(_stored(row, kinds[view]))
    made["observations"] = _observations(rows, identities)
    declared = declared_views(workspace)
    tables = {
        view: pa.Table.from_pylist(found, schema=_schema(view, declared[view]))
        for view, found in made.items()
        if found
    }
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


def _schema(view: str, columns: Mapping[str, str]) -> pa.Schema:
    head = [] if view == "observations" else [("identity", pa.int64())]
    return pa.schema([*head, *((name, _ARROW[kind]) for name, kind in columns.items())])


def _stored(row: Logged, kinds: Mapping[str, FieldType]) -> Row:
    fields = message_of(row.body)[1]
    typed = {name: _typed(fields.get(name), kind) for name, kind in kinds.items()}
    return {
        "identity": row.token,
        "event_id": str(UUID(bytes=row.event_id)),
        "at": utc_naive(moment(row.at)),
        "received": utc_naive(moment(row.received)),
        "source": row.source,
        **typed,
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
