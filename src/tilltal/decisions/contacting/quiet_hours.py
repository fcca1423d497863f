"""Quiet hours: local times of day at which nobody is contacted, and when they are over.

What counts is the clock on the customer's wall: where it jumps, an hour may be quiet twice or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from tilltal.core.time import parse_time_of_day
from tilltal.workspace.definitions.contact import QuietHours

_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_MOST_STEPS = 64  # ends of quiet hours and changes of the clock within a few days


class Hours(msgspec.Struct, frozen=True):
    """Quiet from a local time until, not including, another; over midnight if `start` is the later."""

    start: time
    end: time

    def has(self, local: time) -> bool:
        """True if a local time is quiet."""
        if self.start <= self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end


def hours_of(rule: QuietHours) -> Hours:
    """Read a rule of the policy.

    Raises:
        ValueError: if a time of day cannot be read.
    """
    return Hours(parse_time_of_day(rule.from_), parse_time_of_day(rule.to))


def first_open(hours: Sequence[Hours], now: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the first instant from `now` on at which none of several quiet hours holds, in UTC.

    None if they leave no hour of the day open.
    """
    now = now.astimezone(UTC)
    for _ in range(_MOST_STEPS):
        local = now.astimezone(zone).time()
        holding = next((each for each in hours if each.has(local)), None)
        if holding is None:
            return now
        now = _end(holding, now, zone)
    return None


def _end(hours: Hours, now: datetime, zone: ZoneInfo) -> datetime:
    """Return the end of quiet hours that hold, or the change of the clock that comes before it."""
    local = now.astimezone(zone)
    left = (datetime.combine(local, hours.end) - datetime.combine(local, local.time())) % _DAY
    end = now + left
    if _offset(end, zone) == _offset(now, zone):
        return end
    return min(end, _change(now, end, zone))


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant with another offset from UTC than `before` has."""
    offset = _offset(before, zone)
    while after - before > _MICROSECOND:
        middle = before + (after - before) // 2
        if _offset(middle, zone) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()
