"""Traits of one customer in Python, as of any instant: the meaning that the SQL of `batch` must match.

Nothing is kept between calls: every value is taken from the events themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from tilltal.core.time import Unit, Window, local_date
from tilltal.customers.traits.compiled import CompiledTrait
from tilltal.customers.traits.schema import Schemas, field_type
from tilltal.customers.traits.values import distinct_key, numbers_in
from tilltal.rules.clock import Clock
from tilltal.rules.python import to_python
from tilltal.rules.types import Type


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something a customer did. Instants are aware; `fields` are as stored (money in whole minor units)."""

    type: str
    at: datetime
    received: datetime
    event_id: str
    fields: Mapping[str, object] = {}

    @property
    def stamp(self) -> tuple[datetime, datetime, str]:
        """The order of events: event time, then arrival."""
        return self.at, self.received, self.event_id


def known(events: Iterable[Event], now: datetime) -> list[Event]:
    """Return what has happened and arrived by `now`, in the order of events."""
    return sorted(
        (event for event in events if event.at <= now and event.received <= now), key=lambda e: e.stamp
    )


class Evaluator:
    """Evaluates traits for one customer at a time."""

    def __init__(self, traits: Sequence[CompiledTrait], schemas: Schemas) -> None:
        self._traits = [_Measured(trait, schemas) for trait in traits]

    def evaluate(self, events: Iterable[Event], clock: Clock) -> dict[str, object]:
        """Return every trait's value as of the clock, from all events of the customer."""
        history = known(events, clock.now)
        return {measured.trait.name: measured.value(history, clock) for measured in self._traits}


class _Measured:
    """One trait with its compiled condition."""

    def __init__(self, trait: CompiledTrait, schemas: Schemas) -> None:
        self.trait = trait
        self._kinds = {name: schemas[name] for name in trait.types}
        self._names = () if trait.where is None else tuple(trait.where.names)
        self._condition = None if trait.where is None else to_python(trait.where)
        self._types = {
            name: field_type(name, list(self._kinds.values()))
            for name in (*self._names, *([trait.of] if trait.of else []))
        }

    def value(self, history: Sequence[Event], clock: Clock) -> object:
        """Return the trait's value over a known history, which is in the order of events."""
        events = [event for event in history if event.type in self._kinds]
        events = [event for event in events if _is_within(event, self.trait.window, clock)]
        events = [event for event in events if self._matches(event, clock)]
        if self.trait.of is None or self.trait.measure == "recency":
            return _of_events(self.trait, events, clock)
        values = [self._measured(event, self.trait.of) for event in events]
        return _of_values(self.trait, [value for value in values if value is not None])

    def _matches(self, event: Event, clock: Clock) -> bool:
        if self._condition is None:
            return True
        return self._condition({name: self._seen(event, name) for name in self._names}, clock) is True

    def _measured(self, event: Event, name: str) -> object:
        if self.trait.divisor is not None:
            return event.fields.get(name)
        return self._seen(event, name)

    def _seen(self, event: Event, name: str) -> object:
        """Return a field as expressions see it: money in major units, integers as numbers where types mix."""
        value = event.fields.get(name)
        divisor = self._kinds[event.type].money.get(name)
        if isinstance(value, int) and divisor is not None:
            return float(value) / divisor
        return float(value) if type(value) is int and self._types[name] is Type.NUMBER else value


def _is_within(event: Event, window: Window | None, clock: Clock) -> bool:
    if window is None:
        return True
    start = window.start(clock.now, clock.zone)
    return event.at >= start if window.is_start_inside else event.at > start


def _of_events(trait: CompiledTrait, events: Sequence[Event], clock: Clock) -> object:
    match trait.measure:
        case "count":
            return len(events)
        case "exists":
            return bool(events)
        case _:
            return _recency(events[-1].at, trait.unit, clock) if events else None


def _recency(latest: datetime, unit: Unit, clock: Clock) -> int:
    if unit is Unit.DAYS:
        return (local_date(clock.now, clock.zone) - local_date(latest, clock.zone)).days
    return (clock.now - latest) // timedelta(seconds=unit.seconds)


def _of_values(trait: CompiledTrait, values: Sequence[object]) -> object:
    match trait.measure:
        case "count":
            return len(values)
        case "exists":
            return bool(values)
        case "distinct":
            return len({distinct_key(value) for value in values})
        case "first" | "last":
            return _major(values[0 if trait.measure == "first" else -1], trait) if values else None
        case _:
            return _of_numbers(trait, numbers_in(values, as_floats=trait.of_type is Type.ANY))


def _of_numbers(trait: CompiledTrait, numbers: Sequence[float]) -> object:
    if not numbers:
        return None
    match trait.measure:
        case "sum":
            return _major(sum(numbers), trait)
        case "avg":
            return _major(float(sum(numbers)) / len(numbers), trait)
        case "min":
            return _major(min(numbers), trait)
        case _:
            return _major(max(numbers), trait)


def _major(value: object, trait: CompiledTrait) -> object:
    if trait.divisor is not None and isinstance(value, int | float):
        return float(value) / trait.divisor
    return value
