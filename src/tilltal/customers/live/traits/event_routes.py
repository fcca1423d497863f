"""What an event changes: for each event type one function, written for the families it counts in.

As `rules.python` does for conditions. Names of a definition stand in the text as literals; whatever the text
calls lies in its scope.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from tilltal.customers.live.traits.buckets import BEFORE, Layout, TraitState
from tilltal.customers.live.traits.families import Family
from tilltal.customers.live.traits.partials import MERGE, WORDS_SCOPE, flat, lift_words
from tilltal.customers.traits.online import Event
from tilltal.customers.traits.schema import EventType, Schemas, common_fields, field_type
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression, parse
from tilltal.rules.python import to_python
from tilltal.rules.types import Type

Read = Callable[[Any], Any]
Adder = Callable[[TraitState, Event, int, int, int], int]


def condition_of(family: Family, schemas: Schemas) -> Expression | None:
    """Return a family's condition."""
    if not family.where:
        return None
    return parse(family.where, common_fields([schemas[name] for name in family.types]), want=Type.BOOLEAN)


class EventRoutes:
    """Adds events to states."""

    def __init__(self, layouts: Sequence[Layout], schemas: Schemas, zone: ZoneInfo) -> None:
        self._adders = {
            name: _Writer(kind, schemas, zone).adder(name, layouts) for name, kind in schemas.items()
        }

    def add(self, state: TraitState, event: Event, day: int, at: int, received: int) -> int:
        """Add an event of which day and instants are given; return the mask of the families it counts in."""
        adder = self._adders.get(event.type)
        return 0 if adder is None else adder(state, event, day, at, received)


class _Writer:
    """Writes the function that adds events of one type."""

    def __init__(self, kind: EventType, schemas: Schemas, zone: ZoneInfo) -> None:
        self._kind, self._schemas = kind, schemas
        self._clock = Clock(datetime(1970, 1, 1, tzinfo=UTC), zone)  # of conditions that read none
        self._scope: dict[str, object] = {**WORDS_SCOPE, "bisect_left": bisect_left}

    def adder(self, event_type: str, layouts: Sequence[Layout]) -> Adder:
        """Return the function: it adds to each family whose condition an event fulfils."""
        lines = ["find, event_id, changed = event.fields.get, event.event_id, 0"]
        groups: dict[tuple[tuple[str, ...], str, bool], list[tuple[int, Layout]]] = {}
        for index, layout in enumerate(layouts):
            family = layout.family
            if event_type in family.types:
                groups.setdefault((family.types, family.where, family.is_whole), []).append((index, layout))
        for group in groups.values():
            added = [line for index, layout in group for line in self._added(index, layout)]
            test = self._test(group[0][1].family)
            lines += added if test is None else [f"if {test} is True:", *_indented(added)]
        text = "\n".join(
            ["def add(state, event, day, at, received):", *_indented([*lines, "return changed"])]
        )
        exec(compile(text, "<event>", "exec"), self._scope)  # noqa: S102  # names stand in it as literals
        return cast("Adder", self._scope["add"])

    def _test(self, family: Family) -> str | None:
        """Return the words that are True where an event fulfils a family's condition; None: all do."""
        condition = condition_of(family, self._schemas)
        if condition is None or condition.functions & {"NOW", "TODAY"}:
            return None
        types = [self._schemas[name] for name in family.types]
        fields = [
            f"{name!r}: {self._read(name, _reader(name, self._kind, types))}"
            for name in sorted(condition.names)
        ]
        return f"{self._name(to_python(condition))}({{{', '.join(fields)}}}, {self._name(self._clock)})"

    def _added(self, index: int, layout: Layout) -> Iterator[str]:
        """Yield the lines that add an event to a family, unless it lacks the measured field."""
        family = layout.family
        types = [self._schemas[name] for name in family.types]
        fields = [self._read(name, _flat_reader(name, self._kind, types)) for name in family.fields]
        lines = [f"buckets = {self._name(layout.opened)}(state, {index})"]
        if family.has_days:
            day = "day" if family.is_daily else str(BEFORE)
            lines += self._into_day(family, day)
        if family.has_occurrences:
            stamps = ["received", "event_id"] if family.has_stamps else []
            kept = ", ".join([*stamps, *(["value"] if family.of is not None else []), *fields])
            lines.append(f"{self._name(layout.add_occurrence)}(buckets, at, [{kept}])")
        lines.append(f"changed |= {1 << index}")
        if family.of is None:
            yield "value = None"
            yield from lines
        else:
            read = flat if family.divisor is not None else _flat_reader(family.of, self._kind, types)
            yield f"value = {self._read(family.of, read)}"
            yield "if value is not None:"
            yield from _indented(lines)

    def _into_day(self, family: Family, day: str) -> Iterator[str]:
        """Yield the lines that do what `Layout.add_day` does, for this family's needs."""
        needs = list(enumerate(zip(family.needs, lift_words(family), strict=True)))
        yield "days, parts = buckets.days, buckets.parts"
        yield f"row = bisect_left(days, {day})"
        yield f"if row < len(days) and days[row] == {day}:"
        for place, (need, words) in needs:
            yield f"    column = parts[{place}]"
            yield f"    column[row] = {self._name(MERGE[need])}(column[row], {words})"
        yield "else:"
        yield f"    days.insert(row, {day})"
        for place, (_, words) in needs:
            yield f"    parts[{place}].insert(row, {words})"

    def _read(self, field: str, read: Read) -> str:
        """Return the words for a field of the event as it is seen."""
        found = f"find({field!r})"
        return found if read is _as_it_is else f"{self._name(read)}({found})"

    def _name(self, value: object) -> str:
        """Put a value into the scope, and return its name there."""
        name = f"k{len(self._scope)}"
        self._scope[name] = value
        return name


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _reader(name: str, kind: EventType, types: Sequence[EventType]) -> Read:
    """Return how a field is seen: money in major units, integers as numbers where types mix."""
    divisor = kind.money.get(name)
    if divisor is not None:
        return lambda value: float(value) / divisor if isinstance(value, int) else value
    if field_type(name, types) is Type.NUMBER:
        return lambda value: float(value) if type(value) is int else value
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _flat_reader(name: str, kind: EventType, types: Sequence[EventType]) -> Read:
    """Return how a field is seen, as state holds it."""
    read, common = _reader(name, kind, types), field_type(name, types)
    if common in (Type.TEXT, Type.BOOLEAN, Type.NUMBER):
        return read
    return lambda value: flat(read(value))
