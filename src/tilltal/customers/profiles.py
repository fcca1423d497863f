"""Profiles: what several sources know of a customer, merged into one row of attributes.

A row of a file or query states all columns of its source, so a source's latest record speaks for the source:
an empty column there is an explicit "no value". A message states only what it holds: of a source of messages,
which is partial, the latest record that has a value of a field speaks for that field. Under `latest`, of all
sources that have the column the one whose speaking record is newest (event time, then arrival) decides, even
with no value. Under `precedence`, the first listed source whose speaking record has a value decides. Where
times are equal, the source named first does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from tilltal.core.errors import WorkspaceError, nearest
from tilltal.core.money import minor_per_major
from tilltal.core.names import quote
from tilltal.core.time import sql_timestamp
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Attribute, Profile
from tilltal.workspace.definitions.sources import FieldType
from tilltal.workspace.names import kept_fields
from tilltal.workspace.workspace import Workspace

_TYPES: Mapping[FieldType, Type] = {
    "text": Type.TEXT,
    "integer": Type.INTEGER,
    "number": Type.NUMBER,
    "money": Type.NUMBER,
    "boolean": Type.BOOLEAN,
    "date": Type.DATE,
    "timestamp": Type.TIMESTAMP,
    "any": Type.ANY,
}

_STAMPS = ("at", "received")
_PLACE = quote("place of record")  # with spaces, which no field's name has


class RecordSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source of records and the fields that history keeps of it, in any order.

    Attributes:
        is_partial: a field without a value is not stated, and what was stated of it before stands.
    """

    name: str
    fields: Mapping[str, FieldType]
    is_partial: bool = False


class _Part(msgspec.Struct, frozen=True):
    """One source's share in an attribute, in SQL: when what speaks happened and arrived, and its value."""

    at: str
    received: str
    value: str


def record_sources(workspace: Workspace) -> list[RecordSource]:
    """Return a workspace's sources of records; those of the collector are partial."""
    return [
        RecordSource(name=name, fields=kept_fields(source), is_partial=source.read.collector is not None)
        for name, source in workspace.sources.items()
        if source.kind == "record"
    ]


def attribute_types(sources: Sequence[RecordSource], profile: Profile) -> dict[str, Type]:
    """Return each attribute's type, as expressions see it, sorted by name. Money is a number of major units.

    Raises:
        WorkspaceError: P354 where a policy names a source that does not have the attribute; P355 where
            sources disagree on its type.
    """
    names = sorted({name for source in sources for name in source.fields} | set(profile.attributes))
    return {name: _common_type(name, _holders(name, sources, profile)) for name in names}


def attributes_sql(
    sources: Sequence[RecordSource], profile: Profile, currency: str, *, as_of: datetime | None = None
) -> str:
    """Return a SELECT of `profile` and one column per attribute, one row per row of `spine`.

    Reads the views `"record.<source>"`; with `as_of`, only records that had happened and arrived by then.

    Raises:
        WorkspaceError: as `attribute_types`.
    """
    types = attribute_types(sources, profile)
    alias = {source.name: f"s{number}" for number, source in enumerate(sources)}
    columns = ["spine.profile"]
    for name, kind in types.items():
        parts = [
            _part(alias[source.name], name, source, kind, currency)
            for source in _holders(name, sources, profile)
        ]
        policy = profile.attributes.get(name, Attribute()).policy
        columns.append(f"{_precedence(parts) if policy == 'precedence' else _latest(parts)} AS {quote(name)}")
    joins = [
        f"LEFT JOIN ({_latest_records(source, as_of)}) AS {alias[source.name]} "
        f"ON {alias[source.name]}.profile = spine.profile"
        for source in sources
    ]
    return "\n".join([f"SELECT {', '.join(columns)}", "FROM spine", *joins])


def _holders(name: str, sources: Sequence[RecordSource], profile: Profile) -> list[RecordSource]:
    """Return the sources that speak for an attribute, most trusted first."""
    holders = {source.name: source for source in sources if name in source.fields}
    wanted = profile.attributes.get(name, Attribute()).sources or tuple(sorted(holders))
    missing = [one for one in wanted if one not in holders]
    if missing or not wanted:
        raise WorkspaceError.of(
            "P354",
            f"profile: no source {missing[0]!r} has the attribute {name!r}."
            if missing
            else f"profile: no source has the attribute {name!r}.",
            valid=nearest(missing[0], holders) if missing else nearest(name, _all_fields(sources)),
            hint="Name record sources with such a field.",
        )
    return [holders[one] for one in wanted]


def _all_fields(sources: Sequence[RecordSource]) -> set[str]:
    return {name for source in sources for name in source.fields}


def _common_type(name: str, holders: Sequence[RecordSource]) -> Type:
    found = {_TYPES[source.fields[name]] for source in holders}
    if found == {Type.INTEGER, Type.NUMBER}:
        return Type.NUMBER
    if len(found) > 1:
        stated = ", ".join(f"{source.name}: {source.fields[name]}" for source in holders)
        raise WorkspaceError.of(
            "P355",
            f"sources disagree on the type of attribute {name!r} ({stated}).",
            hint="Declare one type.",
        )
    return found.pop()


def _part(alias: str, name: str, source: RecordSource, kind: Type, currency: str) -> _Part:
    value = _value(f"{alias}.{quote(name)}", source.fields[name], kind, currency)
    at, received = (_stamp_of(name, stamp) if source.is_partial else quote(stamp) for stamp in _STAMPS)
    return _Part(f"{alias}.{at}", f"{alias}.{received}", value)


def _value(column: str, field: FieldType, kind: Type, currency: str) -> str:
    if field == "money":
        return f"CAST({column} AS DOUBLE) / {minor_per_major(currency)}"
    return f"CAST({column} AS DOUBLE)" if kind is Type.NUMBER and field == "integer" else column


def _precedence(parts: Sequence[_Part]) -> str:
    return f"COALESCE({', '.join(part.value for part in parts)})"


def _latest(parts: Sequence[_Part]) -> str:
    """Return the value of the newest record; of equally new ones that of the source named first."""
    if len(parts) == 1:
        return parts[0].value
    choices = []
    for part in parts:
        others = [_is_newer(part, other) for other in parts if other is not part]
        condition = " AND ".join([f"{part.at} IS NOT NULL", *others])
        choices.append(f"WHEN {condition} THEN {part.value}")
    return f"CASE {' '.join(choices)} END"


def _is_newer(one: _Part, other: _Part) -> str:
    return (
        f"({other.at} IS NULL OR {one.at} > {other.at} "
        f"OR ({one.at} = {other.at} AND {one.received} >= {other.received}))"
    )


def _latest_records(source: RecordSource, as_of: datetime | None) -> str:
    """Return what speaks for each profile; one pass per source, however many columns it has."""
    where = ""
    if as_of is not None:
        now = sql_timestamp(as_of)
        where = f' WHERE "at" <= {now} AND received <= {now}'
    view = f"{quote('record.' + source.name)}{where}"
    if source.is_partial:
        fields = "".join(f", {_latest_stated(name)}" for name in source.fields)
        return f"SELECT profile{fields} FROM ({_in_order(view)}) GROUP BY profile"
    return (
        f"SELECT * FROM {view} QUALIFY ROW_NUMBER() OVER "
        '(PARTITION BY profile ORDER BY "at" DESC, received DESC, event_id DESC) = 1'
    )


def _in_order(view: str) -> str:
    order = 'PARTITION BY profile ORDER BY "at", received, event_id'
    return f"SELECT *, ROW_NUMBER() OVER ({order}) AS {_PLACE} FROM {view}"


def _latest_stated(name: str) -> str:
    """Return a field's latest value and when that was stated; records without a value do not count."""
    field = quote(name)
    stamps = [
        f"arg_max({quote(stamp)}, {_PLACE}) FILTER (WHERE {field} IS NOT NULL) AS {_stamp_of(name, stamp)}"
        for stamp in _STAMPS
    ]
    return ", ".join([f"arg_max({field}, {_PLACE}) AS {field}", *stamps])


def _stamp_of(name: str, stamp: str) -> str:
    return quote(f"{name} {stamp}")
