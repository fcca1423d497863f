"""The lifecycle of one customer: from the history of the relation to the stage on any date.

This is the definition; `transitions` says the same in SQL for all customers at once, and a property test
holds the two together. The rules in words: docs/explanation/lifecycle.md.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import date
from enum import StrEnum
from typing import Self

import msgspec

from tilltal.workspace.definitions.segments import Lifecycle, StageNames

NOISE = 1e-12  # share of a reading below which a difference is only how binary numbers round decimals


class What(StrEnum):
    """What a history entry says, in the words of a workspace's case files."""

    OPEN = "open"
    CLOSE = "close"
    NOTICE = "leave_notice"
    WITHDRAWN = "notice_withdrawn"
    READING = "engagement"


class Entry(msgspec.Struct, frozen=True):
    """Something that happened to the relation on a local date; `value` is for readings of engagement."""

    on: date
    what: What
    value: float | None = None


class Stage(StrEnum):
    """The five stages; a workspace may call them otherwise (`StageNames`)."""

    NEW = "new"
    LOYAL = "loyal"
    RETAIN = "retain"
    REGAIN = "regain"
    COMEBACK = "comeback"

    def called(self, names: StageNames) -> str:
        """Return the workspace's name of the stage."""
        return str(getattr(names, self.value))


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """For how many days a customer is new, a trend looks back, and what share of a reading may be lost."""

    new_days: int = 90
    trend_days: int = 90
    tolerance: float = 0.0

    @classmethod
    def of(cls, lifecycle: Lifecycle) -> Self:
        """Take the numbers from a workspace's definition."""
        return cls(
            new_days=lifecycle.new_days, trend_days=lifecycle.trend_days, tolerance=lifecycle.tolerance
        )

    @property
    def keep(self) -> float:
        """The share of an earlier reading that counts as kept."""
        return 1 - self.tolerance


class Transition(msgspec.Struct, frozen=True):
    """A date on which the stage differs from the day before."""

    on: date
    before: Stage | None
    after: Stage


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a customer stands: the stage, its first date, which day of it this is (from 1), the opening."""

    stage: Stage
    since: date
    days: int
    opened: date


class Relation(msgspec.Struct, frozen=True):
    """A time as a customer; `closed` is the first day without the relation, `None` while it lasts."""

    opened: date
    closed: date | None


class _State(msgspec.Struct, frozen=True):
    """The relation after an entry; `number` counts openings from 1."""

    opened: int
    number: int
    is_open: bool = True
    has_notice: bool = False


def is_decreased(current: float, earlier: float, keep: float) -> bool:
    """True if `current` is less than the kept share of `earlier`.

    A fall by exactly the tolerance is none, also where binary fractions miss the decimal border by a hair.

    >>> is_decreased(2.7, 3.0, 1 - 0.1), is_decreased(2.69, 3.0, 1 - 0.1)
    (False, True)
    """
    return current < earlier * keep - abs(earlier) * NOISE


def _after(state: _State | None, what: What, day: int) -> _State | None:
    """Return the state after an entry; what makes no sense in a state changes nothing."""
    if what is What.OPEN and (state is None or not state.is_open):
        return _State(day, state.number + 1 if state else 1)
    if state is None or not state.is_open:
        return state
    if what is What.CLOSE:
        return msgspec.structs.replace(state, is_open=False)
    # an opening while the relation is open says as much as a withdrawal: the customer stays
    return msgspec.structs.replace(state, has_notice=what is What.NOTICE)


class Timeline:
    """A customer's history, ready for questions about any date.

    Entries may come in any order of dates; of the same date, the later entry wins. Readings that are not
    finite numbers are no readings.
    """

    def __init__(self, entries: Iterable[Entry], terms: Terms) -> None:
        self._terms = terms
        self._states: dict[int, _State] = {}
        self._relations: list[tuple[int, int | None]] = []
        readings: dict[int, float] = {}
        state: _State | None = None
        for entry in sorted(entries, key=lambda entry: entry.on):
            day = entry.on.toordinal()
            if entry.what is What.READING:
                if entry.value is not None and math.isfinite(entry.value):
                    readings[day] = entry.value
                continue
            following = _after(state, entry.what, day)
            self._note_relation(state, following, day)
            state = following
            if state:
                self._states[day] = state
        self._days = list(self._states)
        self._reading_days = list(readings)
        self._readings = list(readings.values())

    def _note_relation(self, before: _State | None, after: _State | None, day: int) -> None:
        if after and (before is None or after.number > before.number):
            self._relations.append((day, None))
        elif before and after and before.is_open and not after.is_open:
            self._relations[-1] = (self._relations[-1][0], day)

    def _has_fallen(self, day: int, opened: int) -> bool:
        """True if engagement has decreased, seen from a day of the relation that opened on `opened`."""
        first = bisect_left(self._reading_days, opened)
        end = bisect_right(self._reading_days, day)
        if end <= first:
            return False
        old = bisect_right(self._reading_days, day - self._terms.trend_days) - 1
        return is_decreased(self._readings[end - 1], self._readings[max(old, first)], self._terms.keep)

    def _state(self, day: int) -> _State | None:
        index = bisect_right(self._days, day)
        return self._states[self._days[index - 1]] if index else None

    def _stage(self, day: int) -> Stage | None:
        state = self._state(day)
        if state is None:
            return None
        if not state.is_open or state.has_notice:
            return Stage.REGAIN
        if day < state.opened + self._terms.new_days:
            return Stage.NEW if state.number == 1 else Stage.COMEBACK
        return Stage.RETAIN if self._has_fallen(day, state.opened) else Stage.LOYAL

    def _candidates(self, until: int) -> list[int]:
        """Return the days on which the stage can change, ascending."""
        days = set(self._days)
        days.update(opened + self._terms.new_days for opened, _ in self._relations)
        days.update(self._reading_days)
        days.update(day + self._terms.trend_days for day in self._reading_days)
        return sorted(day for day in days if day <= until)

    def _changes(self, until: int) -> Iterator[tuple[int, Stage | None, Stage]]:
        before: Stage | None = None
        for day in self._candidates(until):
            after = self._stage(day)
            if after is not None and after is not before:
                yield day, before, after
                before = after

    def stage(self, day: date) -> Stage | None:
        """Return the stage on a date, `None` before the first opening."""
        return self._stage(day.toordinal())

    def transitions(self, until: date) -> tuple[Transition, ...]:
        """Return every date up to and including `until` on which the stage differs from the day before."""
        changes = self._changes(until.toordinal())
        return tuple(Transition(date.fromordinal(day), before, after) for day, before, after in changes)

    def standing(self, day: date) -> Standing | None:
        """Return stage, since when and for how long, and the opening; `None` before the first opening."""
        state = self._state(day.toordinal())
        if state is None:
            return None
        last = self.transitions(day)[-1]
        opened = date.fromordinal(state.opened)
        return Standing(stage=last.after, since=last.on, days=(day - last.on).days + 1, opened=opened)

    def relations(self, until: date) -> tuple[Relation, ...]:
        """Return the times as a customer that had begun by `until`, in order."""
        last = until.toordinal()
        return tuple(
            Relation(
                date.fromordinal(opened),
                date.fromordinal(closed) if closed is not None and closed <= last else None,
            )
            for opened, closed in self._relations
            if opened <= last
        )
