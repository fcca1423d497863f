"""Attributes of one customer: each source's latest record, and what the policies make of them.

The live form of `customers.profiles.attributes_sql`, where the policies are explained. A fragment keeps one
record per source, of a partial source one per field; which of several is the latest does not depend on the
order in which they come.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from tilltal.core.instants import micros
from tilltal.core.money import minor_per_major
from tilltal.customers.live.traits.partials import flat, restored
from tilltal.customers.profiles import RecordSource, attribute_types
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Attribute, Profile
from tilltal.workspace.definitions.sources import FieldType

Stored = str | int | float | bool
"""A value as a state keeps it: a date is its ordinal, an instant its microseconds since 1970."""


class RecordFact(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a source. Instants are aware; `fields` are as stored (money in whole minor units)."""

    source: str
    at: datetime
    received: datetime
    event_id: str
    fields: Mapping[str, object] = {}


class LatestRecord(msgspec.Struct, array_like=True, frozen=True):
    """The latest record of a stream: when it happened and arrived, its id, its values that are not NULL."""

    at: int
    received: int
    event_id: str
    values: dict[str, Stored]

    @property
    def stamp(self) -> tuple[int, int, str]:
        """The order of records of a stream."""
        return self.at, self.received, self.event_id


class RecordState(msgspec.Struct):
    """A fragment's records by stream: `source`, or `source/field` of a partial source."""

    latest: dict[str, LatestRecord] = {}


class _Stream(msgspec.Struct, frozen=True):
    """Fields whose values are stated together."""

    key: str
    fields: tuple[tuple[str, FieldType], ...]
    is_partial: bool


class _Part(msgspec.Struct, frozen=True):
    """A source's share in an attribute, and how its stored value is seen by expressions."""

    stream: str
    seen: Callable[[Stored], object]


class _Column(msgspec.Struct, frozen=True):
    """An attribute and the sources that speak for it, most trusted first."""

    name: str
    is_by_trust: bool
    parts: tuple[_Part, ...]


class RecordPlan:
    """The attributes of a workspace, ready to be taken from records."""

    def __init__(self, sources: Sequence[RecordSource], profile: Profile, currency: str) -> None:
        """Compile the policies.

        Raises:
            WorkspaceError: P354 or P355, as `profiles.attribute_types`.
        """
        self.types: Mapping[str, Type] = attribute_types(sources, profile)
        self._streams = {source.name: _streams(source) for source in sources}
        divisor = minor_per_major(currency)
        self._columns = tuple(
            _column(name, kind, sources, profile, divisor) for name, kind in self.types.items()
        )

    def add(self, state: RecordState, fact: RecordFact) -> bool:
        """Take a record into a fragment; True if it is now the latest of a stream."""
        stamp = micros(fact.at), micros(fact.received), fact.event_id
        is_news = False
        for stream in self._streams.get(fact.source, ()):
            known = state.latest.get(stream.key)
            if known is not None and stamp <= known.stamp:
                continue
            values = _values(stream, fact)
            if values or not stream.is_partial:
                state.latest[stream.key] = LatestRecord(*stamp, values)
                is_news = True
        return is_news

    def merged(self, states: Sequence[RecordState]) -> RecordState:
        """Return the fragments as one. A single one is returned itself: do not add to the result."""
        if len(states) == 1:
            return states[0]
        latest: dict[str, LatestRecord] = {}
        for state in states:
            for stream, record in state.latest.items():
                if stream not in latest or record.stamp > latest[stream].stamp:
                    latest[stream] = record
        return RecordState(latest)

    def values(self, state: RecordState) -> dict[str, object]:
        """Return every attribute; NULL is None. Time alone changes none of them."""
        return {column.name: _value(column, state.latest) for column in self._columns}


def _streams(source: RecordSource) -> tuple[_Stream, ...]:
    fields = tuple(source.fields.items())
    if not source.is_partial:
        return (_Stream(source.name, fields, is_partial=False),)
    return tuple(_Stream(_key(source, one[0]), (one,), is_partial=True) for one in fields)


def _key(source: RecordSource, field: str) -> str:
    return f"{source.name}/{field}" if source.is_partial else source.name


def _values(stream: _Stream, fact: RecordFact) -> dict[str, Stored]:
    return {
        name: _stored(fact.fields[name], kind)
        for name, kind in stream.fields
        if fact.fields.get(name) is not None
    }


def _column(
    name: str, kind: Type, sources: Iterable[RecordSource], profile: Profile, divisor: int
) -> _Column:
    attribute = profile.attributes.get(name, Attribute())
    holders = {source.name: source for source in sources if name in source.fields}
    wanted = [holders[one] for one in attribute.sources or sorted(holders)]
    parts = tuple(_Part(_key(source, name), _reader(source.fields[name], kind, divisor)) for source in wanted)
    return _Column(name, attribute.policy == "precedence", parts)


def _value(column: _Column, latest: Mapping[str, LatestRecord]) -> object:
    newest: LatestRecord | None = None
    decided: object = None
    for part in column.parts:
        record = latest.get(part.stream)
        if record is None:
            continue
        stored = record.values.get(column.name)
        if column.is_by_trust:
            if stored is not None:
                return part.seen(stored)
        elif newest is None or (record.at, record.received) > (newest.at, newest.received):
            newest, decided = record, None if stored is None else part.seen(stored)
    return decided


def _stored(value: object, kind: FieldType) -> Stored:
    plain = flat(value)
    if isinstance(plain, str | int | float):
        return float(plain) if kind == "number" else plain
    return json.dumps(plain, ensure_ascii=False, sort_keys=True)


def _reader(field: FieldType, kind: Type, divisor: int) -> Callable[[Stored], object]:
    """Return how expressions see a stored value of a field whose attribute is of a type."""
    if field == "money":
        return lambda stored: float(stored) / divisor
    return float if kind is Type.NUMBER else lambda stored: restored(stored, kind)
