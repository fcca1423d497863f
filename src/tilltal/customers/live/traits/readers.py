"""The value of a trait, told from one family's buckets as of a clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from tilltal.core.instants import micros
from tilltal.core.time import Unit, Window
from tilltal.customers.live.traits.buckets import Buckets, Layout, TraitState
from tilltal.customers.live.traits.event_routes import condition_of
from tilltal.customers.live.traits.families import NEEDS, family_of
from tilltal.customers.live.traits.local_days import LocalDays, elapsed_us
from tilltal.customers.live.traits.partials import FOLD, restored
from tilltal.customers.traits.compiled import CompiledTrait
from tilltal.customers.traits.schema import Schemas, field_type
from tilltal.rules.clock import Clock
from tilltal.rules.python import to_python


class Frame(msgspec.Struct, frozen=True):
    """A clock, and where windows begin: each one's first day, or its first instant where time elapses.

    `starts` knows windows by their suffix.
    """

    clock: Clock
    now: int
    today: int
    starts: Mapping[str, int]


class Frames:
    """Makes the frames of all windows there are."""

    def __init__(self, windows: Sequence[Window], days: LocalDays) -> None:
        calendar = {window.suffix: window for window in windows if not window.unit.is_elapsed}
        self._lengths = {each.suffix: elapsed_us(each) - 1 for each in windows if each.unit.is_elapsed}
        self._first_days = lru_cache(maxsize=64)(
            lambda today: {suffix: days.first_day(window, today) for suffix, window in calendar.items()}
        )
        self._days = days
        self._last: Frame | None = None

    def at(self, clock: Clock) -> Frame:
        """Return the frame of a clock."""
        last = self._last
        if last is not None and last.clock is clock:
            return last
        now = micros(clock.now)
        today = self._days.day(now)
        starts = self._first_days(today)
        if self._lengths:
            starts = starts | {suffix: now - length for suffix, length in self._lengths.items()}
        self._last = frame = Frame(clock, now, today, starts)
        return frame


class ClockCondition:
    """A condition that reads the clock, over the occurrences of a whole family."""

    def __init__(self, layout: Layout, schemas: Schemas) -> None:
        family = layout.family
        condition = condition_of(family, schemas)
        assert condition is not None, "a trait keeps occurrences for a condition"
        types = [schemas[name] for name in family.types]
        self.reads_now = "NOW" in condition.functions
        self._rule = to_python(condition)
        self._fields = [
            (name, layout.fields + family.fields.index(name), field_type(name, types))
            for name in sorted(condition.names)
        ]

    def matches(self, buckets: Buckets, row: int, clock: Clock) -> bool:
        """True where an occurrence fulfils the condition as of the clock."""
        values = {name: restored(buckets.kept[column][row], kind) for name, column, kind in self._fields}
        return self._rule(values, clock) is True


Value = Callable[[TraitState, Frame], object]


class TraitReader:
    """Reads one trait from the family at `index`.

    Attributes:
        value: returns the trait's value, given the state and the frame of a clock.
    """

    def __init__(
        self,
        trait: CompiledTrait,
        index: int,
        layout: Layout,
        days: LocalDays,
        condition: ClockCondition | None,
    ) -> None:
        self.trait, self.name, self.index, self.layout = trait, trait.name, index, layout
        self.window, self.condition = trait.window, condition
        self.reads_days = condition is None and (trait.window is None or not trait.window.unit.is_elapsed)
        self._none: object = {"count": 0, "distinct": 0, "exists": False}.get(trait.measure)
        self._window = None if trait.window is None else trait.window.suffix
        self._needs = [(layout.family.needs.index(need), FOLD[need]) for need in NEEDS[trait.measure]]
        self._finish, self._days = _finish(trait, days), days
        self.value = self._of_days() if self.reads_days else self._of_occurrences()

    def first_row(self, buckets: Buckets, frame: Frame) -> int:
        """Return the row where the trait's window begins: a day, or an occurrence where those are read."""
        if self._window is None or self.window is None:
            return 0
        start = frame.starts[self._window]
        if self.reads_days:
            return bisect_left(buckets.days, start)
        return bisect_left(buckets.ats, start if self.window.unit.is_elapsed else self._days.start(start))

    def _of_days(self) -> Value:
        index, opened, window = self.index, self.layout.opened, self._window
        none, finish = self._none, self._finish
        (need, fold), *others = self._needs

        def value(state: TraitState, frame: Frame) -> object:
            slot = state.slots[index]
            if type(slot) is not Buckets:
                if slot == b"":
                    return none
                slot = opened(state, index)
            row = 0 if window is None else bisect_left(slot.days, frame.starts[window])
            parts = slot.parts
            column = parts[need][row:]
            if not column:
                return none
            return finish(frame, fold(column), *[also(parts[other][row:]) for other, also in others])

        return value

    def _of_occurrences(self) -> Value:
        def value(state: TraitState, frame: Frame) -> object:
            if state.slots[self.index] == b"":
                return self._none
            buckets = self.layout.opened(state, self.index)
            rows: Sequence[int] = range(self.first_row(buckets, frame), len(buckets.ats))
            if self.condition is not None:
                matches, clock = self.condition.matches, frame.clock
                rows = [row for row in rows if matches(buckets, row, clock)]
            if not rows:
                return self._none
            lifted = self.layout.lifted
            return self._finish(frame, *[fold(lifted(buckets, rows, need)) for need, fold in self._needs])

        return value


def reader_of(
    trait: CompiledTrait, index: int, layout: Layout, days: LocalDays, schemas: Schemas
) -> TraitReader:
    """Return what reads a trait from the family at `index`."""
    condition = ClockCondition(layout, schemas) if family_of(trait).is_whole else None
    return TraitReader(trait, index, layout, days, condition)


def _finish(trait: CompiledTrait, days: LocalDays) -> Callable[..., object]:
    """Return how a trait's value is made of its folded needs."""
    match trait.measure:
        case "exists":
            return lambda frame, count: count > 0
        case "count" | "distinct":
            return _itself
        case "recency":
            return _recency(trait.unit, days)
        case "first" | "last":
            return _stamped(trait)
        case "sum":
            return _total(trait.divisor)
        case "avg":
            return _mean(trait.divisor)
        case _:
            return _major(trait.divisor)


def _itself(frame: Frame, folded: object) -> object:
    return folded


def _recency(unit: Unit, days: LocalDays) -> Callable[[Frame, int], int]:
    if unit is Unit.DAYS:
        return lambda frame, latest: frame.today - days.day(latest)
    length = unit.seconds * 1_000_000
    return lambda frame, latest: (frame.now - latest) // length


def _stamped(trait: CompiledTrait) -> Callable[[Frame, Sequence[Any]], object]:
    major, kind = _major(trait.divisor), trait.of_type
    return lambda frame, stamped: major(frame, restored(stamped[3], kind))


def _total(divisor: int | None) -> Callable[[Frame, int, float], float | None]:
    if divisor is None:
        return lambda frame, numbers, total: total if numbers else None
    return lambda frame, numbers, total: float(total) / divisor if numbers else None


def _mean(divisor: int | None) -> Callable[[Frame, int, float], float | None]:
    if divisor is None:
        return lambda frame, numbers, total: float(total) / numbers if numbers else None
    return lambda frame, numbers, total: float(float(total) / numbers) / divisor if numbers else None


def _major(divisor: int | None) -> Callable[[Frame, Any], Any]:
    if divisor is None:
        return _itself
    return lambda frame, value: None if value is None else float(value) / divisor
