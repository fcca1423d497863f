"""What an event changes: for each event type, the families it counts in and how it is read for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tilltal.customers.live.traits.buckets import BEFORE, Layout, TraitState
from tilltal.customers.live.traits.families import Family
from tilltal.customers.live.traits.partials import flat
from tilltal.customers.traits.online import Event
from tilltal.customers.traits.schema import EventType, Schemas, common_fields, field_type
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression, parse
from tilltal.rules.python import to_python
from tilltal.rules.types import Type

Read = Callable[[Any], Any]


def condition_of(family: Family, schemas: Schemas) -> Expression | None:
    """Return a family's condition."""
    if not family.where:
        return None
    return parse(family.where, common_fields([schemas[name] for name in family.types]), want=Type.BOOLEAN)


class EventRoutes:
    """Adds events to states."""

    def __init__(self, layouts: Sequence[Layout], schemas: Schemas, zone: ZoneInfo) -> None:
        self._routes = {name: _routes_of(name, layouts, schemas, zone) for name in schemas}

    def add(self, state: TraitState, event: Event, day: int, at: int, received: int) -> int:
        """Add an event of which day and instants are given; return the mask of the families it counts in."""
        changed = 0
        for route in self._routes.get(event.type, ()):
            if route.matches is None or route.takes(event.fields):
                for writer in route.writers:
                    changed |= writer.add(state, event, day, at, received)
        return changed


class _Route:
    """The families of one event type that share a condition."""

    def __init__(
        self, writers: Sequence[_Writer], reads: Mapping[str, Read], matches: _Condition | None
    ) -> None:
        self.writers = tuple(writers)
        self._reads = tuple(reads.items())
        self.matches = matches

    def takes(self, fields: Mapping[str, object]) -> bool:
        """True where an event fulfils the condition."""
        if self.matches is None:
            return True
        return self.matches({name: read(fields.get(name)) for name, read in self._reads}) is True


_Condition = Callable[[Mapping[str, object]], object]


class _Writer:
    """Adds events of one type to one family."""

    def __init__(self, index: int, layout: Layout, kind: EventType, schemas: Schemas) -> None:
        family = layout.family
        types = [schemas[name] for name in family.types]
        self._index, self._bit, self._layout = index, 1 << index, layout
        self._of = family.of
        self._read = flat if family.divisor is not None else _flat_reader(family.of or "", kind, types)
        self._fields = [(name, _flat_reader(name, kind, types)) for name in family.fields]
        self._has_days, self._is_daily = family.has_days, family.is_daily
        self._has_occurrences, self._has_stamps = family.has_occurrences, family.has_stamps

    def add(self, state: TraitState, event: Event, day: int, at: int, received: int) -> int:
        """Add an event that fulfils the condition; return the family's bit, or 0 where it does not count."""
        value = None
        if self._of is not None:
            value = self._read(event.fields.get(self._of))
            if value is None:
                return 0
        layout = self._layout
        buckets = layout.opened(state, self._index)
        if self._has_days:
            lifted = [lift(value, at, received, event.event_id) for lift in layout.lifts]
            layout.add_day(buckets, day if self._is_daily else BEFORE, lifted)
        if self._has_occurrences:
            layout.add_occurrence(buckets, at, self._kept(event, received, value))
        return self._bit

    def _kept(self, event: Event, received: int, value: object) -> list[object]:
        kept = [received, event.event_id] if self._has_stamps else []
        if self._of is not None:
            kept.append(value)
        return [*kept, *(read(event.fields.get(name)) for name, read in self._fields)]


def _routes_of(
    event_type: str, layouts: Sequence[Layout], schemas: Schemas, zone: ZoneInfo
) -> tuple[_Route, ...]:
    groups: dict[tuple[tuple[str, ...], str, bool], list[_Writer]] = {}
    families: dict[tuple[tuple[str, ...], str, bool], Family] = {}
    for index, layout in enumerate(layouts):
        family = layout.family
        if event_type in family.types:
            key = (family.types, family.where, family.is_whole)
            families.setdefault(key, family)
            writer = _Writer(index, layout, schemas[event_type], schemas)
            groups.setdefault(key, []).append(writer)
    return tuple(
        _route(families[key], writers, schemas[event_type], schemas, zone) for key, writers in groups.items()
    )


def _route(
    family: Family, writers: Sequence[_Writer], kind: EventType, schemas: Schemas, zone: ZoneInfo
) -> _Route:
    condition = condition_of(family, schemas)
    if condition is None or condition.functions & {"NOW", "TODAY"}:
        return _Route(writers, {}, None)
    types = [schemas[name] for name in family.types]
    rule, clock = to_python(condition), Clock(datetime(1970, 1, 1, tzinfo=UTC), zone)
    reads = {name: _reader(name, kind, types) for name in sorted(condition.names)}
    return _Route(writers, reads, lambda values: rule(values, clock))


def _reader(name: str, kind: EventType, types: Sequence[EventType]) -> Read:
    """Return how a field is seen: money in major units, integers as numbers where types mix."""
    divisor = kind.money.get(name)
    if divisor is not None:
        return lambda value: float(value) / divisor if isinstance(value, int) else value
    if field_type(name, types) is Type.NUMBER:
        return lambda value: float(value) if type(value) is int else value
    return lambda value: value


def _flat_reader(name: str, kind: EventType, types: Sequence[EventType]) -> Read:
    """Return how a field is seen, as state holds it."""
    read, common = _reader(name, kind, types), field_type(name, types)
    if common in (Type.TEXT, Type.BOOLEAN, Type.NUMBER):
        return read
    return lambda value: flat(read(value))
