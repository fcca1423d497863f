"""When a customer's traits may change although no event comes.

An occurrence leaves a window, a day leaves a window, a recency gains a unit. A condition that reads TODAY()
may turn at midnight. One that reads NOW() may turn at any time: the next quarter of an hour is searched,
and its end is a moment to look again; two turns within one quarter that undo each other are not seen, as in
`traits.timeline`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tilltal.core.instants import instant_of
from tilltal.core.time import Unit, Window
from tilltal.customers.live.traits.buckets import Buckets, TraitState
from tilltal.customers.live.traits.local_days import LocalDays, elapsed_us, leaves
from tilltal.customers.live.traits.readers import ClockCondition, Frame, TraitReader
from tilltal.rules.clock import Clock

_QUARTER_US = 15 * 60 * 1_000_000


class Expiry:
    """Tells when one trait may change by itself."""

    def __init__(self, reader: TraitReader, days: LocalDays) -> None:
        self._reader, self._days = reader, days
        trait = reader.trait
        self._is_recency = trait.measure == "recency"
        self._unit_us = None if trait.unit is Unit.DAYS else trait.unit.seconds * 1_000_000
        self._latest = reader.layout.family.needs.index("latest") if self._is_recency else 0

    def next_change(self, state: TraitState, frame: Frame) -> int | None:
        """Return the first instant after the frame's at which the trait may change, in microseconds."""
        if state.slots[self._reader.index] == b"":
            return None
        buckets = self._reader.layout.opened(state, self._reader.index)
        row = self._reader.first_row(buckets, frame)
        found = (
            self._days_from(buckets, row, frame)
            if self._reader.reads_days
            else self._ats_from(buckets, row, frame)
        )
        return min(found, default=None)

    def _days_from(self, buckets: Buckets, row: int, frame: Frame) -> Iterator[int]:
        if row >= len(buckets.days):
            return
        if self._reader.window is not None:
            yield self._days.start(leaves(self._reader.window, buckets.days[row]))
        if self._is_recency:
            yield self._older(max(buckets.parts[self._latest][row:]), frame)

    def _ats_from(self, buckets: Buckets, row: int, frame: Frame) -> Iterator[int]:
        ats, window = buckets.ats[row:], self._reader.window
        if not ats:
            return
        if window is not None:
            yield self._leaves(window, ats[0])
        if self._reader.condition is not None:
            yield from self._turns(self._reader.condition, buckets, row, frame)
        if self._is_recency:
            older = ats if self._reader.condition is not None else ats[-1:]
            yield min(self._older(at, frame) for at in older)

    def _leaves(self, window: Window, at: int) -> int:
        if window.unit.is_elapsed:
            return at + elapsed_us(window)
        return self._days.start(leaves(window, self._days.day(at)))

    def _older(self, at: int, frame: Frame) -> int:
        """Return when a recency gains its next unit."""
        if self._unit_us is None:
            return self._days.start(frame.today + 1)
        return at + ((frame.now - at) // self._unit_us + 1) * self._unit_us

    def _turns(self, condition: ClockCondition, buckets: Buckets, row: int, frame: Frame) -> Iterator[int]:
        yield self._days.start(frame.today + 1)
        if condition.reads_now:
            quarter = (frame.now // _QUARTER_US + 1) * _QUARTER_US
            yield quarter
            for each in range(row, len(buckets.ats)):
                yield first_turn(condition, buckets, each, frame.clock, (frame.now, quarter))


def first_turn(
    condition: ClockCondition, buckets: Buckets, row: int, clock: Clock, span: tuple[int, int]
) -> int:
    """Return when an occurrence begins or ceases to fulfil a condition, at last at the end of the span."""
    before, after = span

    def holds(at: int) -> bool:
        moved = msgspec.structs.replace(clock, now=instant_of(at))
        return condition.matches(buckets, row, moved)

    was = holds(before)
    if holds(after) == was:
        return after
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if holds(middle) == was else (before, middle)
    return after
