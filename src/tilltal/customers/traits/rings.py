"""Partial aggregates of an event type per customer and ring of time: one scan, whatever the windows.

The starts of all windows cut time into rings: ring 0 reaches back to the start of the shortest window, ring
1 from there to the start of the next, and so on. A window is its own ring and all rings inside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from tilltal.core.names import quote
from tilltal.core.time import Window, sql_timestamp, utc_naive
from tilltal.customers.traits.columns import FieldReader
from tilltal.customers.traits.compiled import CompiledTrait
from tilltal.customers.traits.schema import Schemas
from tilltal.rules.clock import Clock

PartKind = Literal["rows", "values", "numbers", "sum", "min", "max", "first", "last", "latest"]

# How a part is taken from events; `value` stands for the measured field.
_TAKE: dict[PartKind, str] = {
    "rows": "COUNT(*)",
    "values": "COUNT({value})",
    "numbers": "COUNT({value})",
    "sum": "SUM({value})",
    "min": "MIN({value})",
    "max": "MAX({value})",
    "first": "MIN({value})",
    "last": "MAX({value})",
    "latest": 'MAX("at")',
}
_BEGINNING = datetime.min  # bounds are naive UTC, as stores hold instants


class Part(msgspec.Struct, frozen=True):
    """A mergeable aggregate over the matching events of some types."""

    kind: PartKind
    types: tuple[str, ...]
    of: str | None
    where_text: str


def parts_of(trait: CompiledTrait) -> tuple[Part, ...]:
    """Return the parts that make a trait's value, the sum of an average before its count."""
    return tuple(Part(kind, trait.types, trait.of, trait.where_text) for kind in _kinds(trait))


def _kinds(trait: CompiledTrait) -> tuple[PartKind, ...]:
    match trait.measure:
        case "count" | "exists":
            return ("rows",) if trait.of is None else ("values",)
        case "avg":
            return ("sum", "numbers")
        case "recency":
            return ("latest",)
        case "distinct":
            raise ValueError("the number of different values has no mergeable parts")
        case kind:
            return (kind,)


def lower_bound(window: Window | None, clock: Clock) -> datetime:
    """Return the first microsecond inside a window, naive UTC; without a window the beginning of time."""
    if window is None:
        return _BEGINNING
    start = utc_naive(window.start(clock.now, clock.zone))
    return start if window.is_start_inside else start + timedelta(microseconds=1)


def bounds_of(traits: Iterable[CompiledTrait], clock: Clock) -> list[datetime]:
    """Return the lower bounds of the traits' windows, latest first: ring k begins at bound k."""
    return sorted({lower_bound(trait.window, clock) for trait in traits}, reverse=True)


def since(bound: datetime) -> str:
    """Return the condition that an event lies at or after a bound."""
    return "TRUE" if bound == _BEGINNING else f'"at" >= {sql_timestamp(bound)}'


class Rings:
    """The rings of all windows, and the partial aggregates of event types in them."""

    def __init__(self, traits: Sequence[CompiledTrait], schemas: Schemas, clock: Clock) -> None:
        self._traits = traits
        self._schemas = schemas
        self._clock = clock
        self._bounds = bounds_of(traits, clock)
        parts = dict.fromkeys(part for trait in traits for part in parts_of(trait))
        self._names = {part: f"p{number}" for number, part in enumerate(parts)}

    def ring(self, trait: CompiledTrait) -> int:
        """Return the outermost ring of a trait's window."""
        return self._bounds.index(lower_bound(trait.window, self._clock))

    def name(self, part: Part) -> str:
        """Return the column of a part."""
        return self._names[part]

    def sql(self, event_type: str) -> str:
        """Return the `SELECT` of `profile`, `ring` and a column for each part that takes this event type."""
        traits = [trait for trait in self._traits if event_type in trait.types]
        taken = {part: self._take(trait, part, event_type) for trait in traits for part in parts_of(trait)}
        columns = ", ".join(f"{aggregate} AS {self._names[part]}" for part, aggregate in taken.items())
        rings = sorted({self.ring(trait) for trait in traits})
        cases = " ".join(f"WHEN {since(self._bounds[ring])} THEN {ring}" for ring in rings)
        return (
            f"SELECT profile, CAST(CASE {cases} END AS TINYINT) AS ring, {columns} "
            f"FROM {quote('event.' + event_type)} WHERE {since(self._bounds[rings[-1]])} "
            "GROUP BY profile, ring"
        )

    def _take(self, trait: CompiledTrait, part: Part, event_type: str) -> str:
        reader = FieldReader(trait, event_type, self._schemas)
        conditions = [reader.condition(self._clock)]
        if part.kind in ("first", "last"):
            conditions.append(f"{reader.value()} IS NOT NULL")
        stated = " AND ".join(f"({condition})" for condition in conditions if condition)
        return _TAKE[part.kind].format(value=_value(reader, part)) + (
            f" FILTER (WHERE {stated})" if stated else ""
        )


def _value(reader: FieldReader, part: Part) -> str:
    match part.kind:
        case "rows" | "latest":
            return ""
        case "values":
            return reader.value()
        case "first" | "last":
            stamp = "'at': \"at\", 'received': received, 'event_id': event_id"
            return f"{{{stamp}, 'value': {reader.value()}}}"
        case _:
            return reader.number()
