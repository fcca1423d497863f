"""Local days in SQL, exactly as Python's time zones see them and without a call per row.

A day is the number of days since 1970-01-01. An offset of the zone holds between two of its clock changes, so
a `CASE` over the changes, latest first, finds nearly every row's offset in its first branch.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from tilltal.core.time import sql_timestamp

EPOCH = date(1970, 1, 1)
_DAY_US = 86_400_000_000
_SHIFT_DAYS = 1_000_000  # makes every instant positive, so that integer division rounds down
_FIRST = datetime(1845, 1, 1, tzinfo=UTC)  # before any zone had a clock change


def day_number(day: date) -> int:
    """Return a date as the days since 1970-01-01."""
    return (day - EPOCH).days


def to_date(day: str) -> str:
    """Return SQL that turns a day number into a DATE."""
    return f"(DATE '1970-01-01' + CAST({day} AS INTEGER))"


def of_date(value: str) -> str:
    """Return SQL that turns a DATE into its day number."""
    return f"CAST({value} - DATE '1970-01-01' AS INTEGER)"


def local_day_sql(instant: str, zone: ZoneInfo, last: datetime) -> str:
    """Return SQL for the local day number of a UTC timestamp that lies at or before `last`."""
    base, changes = _changes(zone, last.astimezone(UTC).year + 1)
    cases = "".join(
        f" WHEN {instant} >= {sql_timestamp(moment)} THEN {_shifted(offset)}"
        for moment, offset in reversed(changes)
    )
    shift = f"CASE{cases} ELSE {_shifted(base)} END" if cases else str(_shifted(base))
    return f"(CAST((EPOCH_US({instant}) + {shift}) // {_DAY_US} AS INTEGER) - {_SHIFT_DAYS})"


def _shifted(offset: timedelta) -> int:
    """Return an offset in microseconds, and so much more that no instant stays negative."""
    return offset // timedelta(microseconds=1) + _SHIFT_DAYS * _DAY_US


@cache
def _changes(zone: ZoneInfo, until_year: int) -> tuple[timedelta, list[tuple[datetime, timedelta]]]:
    """Return the zone's first offset, and each clock change with the offset from then on."""
    end = datetime(min(until_year, 9998) + 1, 1, 1, tzinfo=UTC)
    found: list[tuple[datetime, timedelta]] = []
    base = before = _offset(_FIRST, zone)
    moment = _FIRST
    while moment < end:
        following = moment + timedelta(days=1)
        offset = _offset(following, zone)
        if offset != before:
            found.append((_change(moment, following, zone), offset))
            before = offset
        moment = following
    return base, found


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _change(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """Return the first second in (low, high] at which the offset is that of `high`."""
    target = _offset(high, zone)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low).total_seconds() // 2)
        low, high = (low, middle) if _offset(middle, zone) == target else (middle, high)
    return high
