"""Readings of one customer's engagement: the live form of `customers.lifecycle.engagement`.

Only the present relation has readings that matter: a new opening begins anew, and no reading tells anything
of a customer who is new or leaving. A reading that says the same as the one before is left out: the level
stays what it was.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any

from tilltal.customers.lifecycle.calendar import CALENDARS
from tilltal.customers.lifecycle.stage import Entry, What
from tilltal.customers.live.relation.tracks import Seen
from tilltal.customers.live.traits.families import NEEDS, Need
from tilltal.customers.live.traits.partials import FOLD
from tilltal.workspace.definitions.segments import Engagement


def needs_of(engagement: Engagement) -> tuple[Need, ...]:
    """Return the partial aggregates that readings are made of."""
    return NEEDS[engagement.measure or "last"]


def readings(engagement: Engagement, seen: Seen, opened: date, today: date) -> Iterator[Entry]:
    """Yield the readings up to today of a relation that is open, given what is seen."""
    if engagement.measure is None:
        return _dated(seen, opened.toordinal())
    return _Periods(engagement, seen).readings(opened, today)


def next_reading(engagement: Engagement, today: date) -> int | None:
    """Return the ordinal of the day of the next reading that comes by itself."""
    if engagement.measure is None:
        return None
    return _first_day(engagement.every, CALENDARS[engagement.every].number(today) + 1)


@lru_cache(maxsize=8192)
def _first_day(every: str, number: int) -> int:
    """Return the ordinal of the first day of a period, of the first there is for those before."""
    calendar = CALENDARS[every]
    return calendar.first_day(max(number, calendar.number(date.min) + 1)).toordinal()


def _dated(seen: Seen, opened: int) -> Iterator[Entry]:
    """Yield a reading for each day, or several in order of time: the last one tells."""
    row = bisect_left(seen.days, opened)
    for day, (*_, value) in zip(seen.days[row:], seen.columns[0][row:], strict=True):
        yield Entry(date.fromordinal(day), What.READING, float(value))


class _Periods:
    """A measure over calendar periods."""

    def __init__(self, engagement: Engagement, seen: Seen) -> None:
        self._measure = str(engagement.measure)
        self._every, self._over = engagement.every, engagement.over
        self._days = seen.days
        self._columns = dict(zip(needs_of(engagement), seen.columns, strict=True))

    def readings(self, opened: date, today: date) -> Iterator[Entry]:
        """Yield a reading for each period that has ended since the opening, save for repetitions."""
        calendar = CALENDARS[self._every]
        first, end = calendar.number(opened) + 1, calendar.number(today)
        if first > end:
            return
        for number in sorted({first, *(each for each in self._changing(first) if each <= end)}):
            day = _first_day(self._every, number)
            yield Entry(date.fromordinal(day), What.READING, self._value(number, day))

    def _changing(self, first: int) -> set[int]:
        """Return the periods from `first` on whose reading may differ from the one before."""
        found: set[int] = set()
        calendar, row = CALENDARS[self._every], 0
        while row < len(self._days):
            number = calendar.number(date.fromordinal(self._days[row]))
            found.update(range(max(first, number + 1), number + self._over + 2))
            following = max(number + 1, first - self._over - 1)
            row = bisect_left(self._days, _first_day(self._every, following), row)
        return found

    def _value(self, number: int, day: int) -> float:
        begin = _first_day(self._every, number - self._over)
        rows = slice(bisect_left(self._days, begin), bisect_left(self._days, day))
        if rows.start == rows.stop:
            return 0.0
        return _measured(self._measure, {need: column[rows] for need, column in self._columns.items()})


def _measured(measure: str, columns: Mapping[Need, Sequence[Any]]) -> float:
    """Return a measure over the rows of some periods, of which there is at least one."""
    match measure:
        case "exists":
            return 1.0
        case "first" | "last":
            ((need, stamped),) = columns.items()
            return float(FOLD[need](stamped)[3])
        case "avg":
            numbers = sum(columns["numbers"])
            return sum(columns["sum"]) / numbers if numbers else 0.0
        case "sum":
            return float(sum(columns["sum"]))
    (need, column), *_ = columns.items()
    value = FOLD[need](column)
    return 0.0 if value is None else float(value)
