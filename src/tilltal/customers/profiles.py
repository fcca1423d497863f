"""Profiles: what several sources know of a customer, merged into one row of attributes.

A record states all columns of its source, so a source's latest record speaks for the source: an empty column
there is an explicit "no value". Under `latest`, of all sources that have the column the one whose latest
record is newest (event time, then arrival) decides, even with no value. Under `precedence`, the first listed
source whose latest record has a value decides. Where times are equal, the source named first does.
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


class RecordSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source of records and the fields that history keeps of it, in any order."""

    name: str
    fields: Mapping[str, FieldType]


class _Part(msgspec.Struct, frozen=True):
    """One source's share in an attribute: the alias of its latest records and the value in SQL."""

    alias: str
    value: str


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
            _Part(alias[source.name], _value(alias[source.name], name, source.fields[name], kind, currency))
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


def _value(alias: str, name: str, field: FieldType, kind: Type, currency: str) -> str:
    column = f"{alias}.{quote(name)}"
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
        others = [_is_newer(part.alias, other.alias) for other in parts if other is not part]
        condition = " AND ".join([f"{part.alias}.profile IS NOT NULL", *others])
        choices.append(f"WHEN {condition} THEN {part.value}")
    return f"CASE {' '.join(choices)} END"


def _is_newer(one: str, other: str) -> str:
    return (
        f'({other}.profile IS NULL OR {one}."at" > {other}."at" '
        f'OR ({one}."at" = {other}."at" AND {one}.received >= {other}.received))'
    )


def _latest_records(source: RecordSource, as_of: datetime | None) -> str:
    """Return the latest record of each profile; one window per source, however many columns it has."""
    where = ""
    if as_of is not None:
        now = sql_timestamp(as_of)
        where = f' WHERE "at" <= {now} AND received <= {now}'
    return (
        f"SELECT * FROM {quote('record.' + source.name)}{where} QUALIFY ROW_NUMBER() OVER "
        '(PARTITION BY profile ORDER BY "at" DESC, received DESC, event_id DESC) = 1'
    )
