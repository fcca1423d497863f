"""Local days of instants and the reach of calendar windows, remembered: a zone is slow to ask.

An instant is an integer, microseconds since 1970 UTC; a day is its date's proleptic ordinal.
"""

from __future__ import annotations

import calendar
from bisect import bisect_right
from datetime import date
from functools import lru_cache
from zoneinfo import ZoneInfo

from tilltal.core.instants import EPOCH, micros
from tilltal.core.time import Unit, Window, day_start, months_before

_EPOCH_DAY = EPOCH.toordinal()
_DAY_US = 86_400_000_000
_LAST_DAY = date.max.toordinal() - 1


def elapsed_us(window: Window) -> int:
    """Return the length of a window of elapsed time in microseconds."""
    return window.count * window.unit.seconds * 1_000_000


class LocalDays:
    """The days of one zone. A day begins at its first instant, as windows see it."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self._starts = lru_cache(maxsize=8192)(self._starts_around)
        self.start = lru_cache(maxsize=8192)(self._start)
        self.first_day = lru_cache(maxsize=1024)(self._first_day)
        self._last = (0, 0, 0)  # a day's first instant, its end, and the day: most are asked of the same

    def day(self, at: int) -> int:
        """Return the day of an instant."""
        first, end, day = self._last
        if first <= at < end:
            return day
        near = at // _DAY_US
        starts = self._starts(near)
        place = bisect_right(starts, at)
        day = near + _EPOCH_DAY - 2 + place
        if 0 < place < len(starts):
            self._last = starts[place - 1], starts[place], day
        return day

    def _starts_around(self, near: int) -> tuple[int, ...]:
        """Return the starts of the local days that may share an instant with a day of UTC."""
        return tuple(self.start(near + _EPOCH_DAY + shift) for shift in (-1, 0, 1, 2))

    def _start(self, day: int) -> int:
        """Return the first instant of a day."""
        return micros(day_start(date.fromordinal(min(max(day, 2), _LAST_DAY)), self.zone))

    def _first_day(self, window: Window, today: int) -> int:
        """Return the first day inside a window of days or months that ends on `today`."""
        if window.unit is Unit.DAYS:
            return max(today - window.count + 1, 2)
        return months_before(date.fromordinal(today), window.count).toordinal() + 1


def leaves(window: Window, day: int) -> int:
    """Return the first day on which a day lies no longer inside a window of days or months."""
    if window.unit is Unit.DAYS:
        return day + window.count
    seen = date.fromordinal(day)
    year, month = divmod(seen.year * 12 + seen.month - 1 + window.count, 12)
    last = calendar.monthrange(year, month + 1)[1]
    if seen.day <= last:
        return date(year, month + 1, seen.day).toordinal()
    return date(year, month + 1, last).toordinal() + 1
