"""Rows of the log as tables of history: the compactor writes them, a refresh reads them.

Nothing is lost on the way: event types, sources and fields that the definitions do not name (any more) are
kept as text under their own names, and count again once they are declared again. So is a field with values
of another type than is declared today: whoever reads the text takes from it what the type can hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import TypeAlias
from uuid import UUID

import pyarrow as pa

from tilltal.core.instants import instant_of
from tilltal.core.operational import Identified, Logged
from tilltal.core.time import utc_naive
from tilltal.runtime.live.history.fitting import is_of, iso_date, iso_instant, text_of
from tilltal.runtime.live.intake.facts import message_of
from tilltal.runtime.refresh.views import SQL_TYPES
from tilltal.sources.online.cells import as_json
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
_TEXT = pa.string()
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


def united(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables of one view as one: a column that some of them have as text is text.

    >>> united([pa.table({"n": [1]}), pa.table({"n": ["x"], "more": ["y"]})]).to_pylist()
    [{'n': '1', 'more': None}, {'n': 'x', 'more': 'y'}]
    """
    texts = {
        name for table in tables for name in table.column_names if table.schema.field(name).type == _TEXT
    }
    return pa.concat_tables([_with_texts(table, texts) for table in tables], promote_options="default")


def _with_texts(table: pa.Table, names: Set[str]) -> pa.Table:
    fields = [field.with_type(_TEXT) if field.name in names else field for field in table.schema]
    return table.cast(pa.schema(fields))


def _table(rows: Sequence[Logged], kinds: Mapping[str, FieldType]) -> pa.Table:
    """Return rows of one view: those fields typed that are declared and fit, the others as text."""
    messages = [message_of(row.body)[1] for row in rows]
    others = sorted({name for fields in messages for name in fields} - kinds.keys() - _HEAD.keys())
    columns = [pa.array(found, kind) for found, kind in zip(_heads(rows), _HEAD.values(), strict=True)]
    columns += [_column([fields.get(name) for fields in messages], kind) for name, kind in kinds.items()]
    columns += [pa.array([text_of(fields.get(name)) for fields in messages], _TEXT) for name in others]
    return pa.Table.from_arrays(columns, names=[*_HEAD, *kinds, *others])


def _heads(rows: Sequence[Logged]) -> Iterable[Sequence[object]]:
    return zip(*map(_head, rows), strict=True)


def _head(row: Logged) -> tuple[object, ...]:
    """Return a row's values in the order of `_HEAD`."""
    return (
        row.token,
        str(UUID(bytes=row.event_id)),
        utc_naive(instant_of(row.at)),
        utc_naive(instant_of(row.received)),
        row.source,
    )


def _column(values: Sequence[object], kind: FieldType) -> pa.Array:
    """Return a declared field: typed, or as text where a value came when another type was declared."""
    if kind == "any":
        found = [None if one is None else as_json(one) for one in values]
        return pa.array(found, _TEXT)
    if kind in _FROM_TEXT:
        read = _FROM_TEXT[kind]
        typed: list[object] = [read(one) if isinstance(one, str) else one for one in values]
    else:
        typed = list(values)
    if all(one is None or is_of(one, kind) for one in typed):
        return pa.array(typed, _ARROW[SQL_TYPES[kind]])
    return pa.array([text_of(one) for one in values], _TEXT)


def _or_as_it_is(read: Callable[[str], object]) -> Callable[[str], object]:
    def reading(text: str) -> object:
        try:
            return read(text)
        except ValueError:
            return text

    return reading


_FROM_TEXT: Mapping[FieldType, Callable[[str], object]] = {
    "date": _or_as_it_is(iso_date),
    "timestamp": _or_as_it_is(iso_instant),
}


def _observations(rows: Iterable[Logged], identities: Mapping[int, Identified]) -> list[Row]:
    """Return identifiers seen together, a row per message, and each alone with its first and last time."""
    together: list[Row] = []
    alone: dict[int, tuple[int, int]] = {}
    for row in rows:
        if len(row.ids) > 1:
            at = utc_naive(instant_of(row.at))
            name = f"{row.source}:{message_of(row.body)[0]}"
            ids = [_identifier(token, identities) for token in row.ids]
            together.append({"observation": name, "at": at, "last_at": at, "ids": ids})
        else:
            first, last = alone.get(row.token, (row.at, row.at))
            alone[row.token] = (min(first, row.at), max(last, row.at))
    return together + [
        {
            "observation": None,
            "at": utc_naive(instant_of(first)),
            "last_at": utc_naive(instant_of(last)),
            "ids": [_identifier(token, identities)],
        }
        for token, (first, last) in alone.items()
    ]


def _identifier(token: int, identities: Mapping[int, Identified]) -> Row:
    return {"namespace": identities[token].namespace, "token": token}
