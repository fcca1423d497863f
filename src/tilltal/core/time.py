"""Instants, local days and windows.

An instant is an aware `datetime`; stores hold it as a naive UTC timestamp of microseconds. A local day
may have 23 or 25 hours: its bounds are always computed through the zone, never by adding hours.
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec


class Unit(StrEnum):
    """A unit of a window or a recency. Seconds to hours are elapsed; days and months follow the calendar."""

    SECONDS = "seconds"
    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"
    MONTHS = "months"

    @property
    def is_elapsed(self) -> bool:
        """True for units of elapsed time, False for units of the local calendar."""
        return self not in (Unit.DAYS, Unit.MONTHS)

    @property
    def seconds(self) -> int:
        """Length in seconds of an elapsed unit.

        Raises:
            ValueError: for a calendar unit, whose length varies.
        """
        lengths = {Unit.SECONDS: 1, Unit.MINUTES: 60, Unit.HOURS: 3600}
        if self not in lengths:
            raise ValueError(f"{self} has no fixed length")
        return lengths[self]


_SUFFIXES = {Unit.SECONDS: "s", Unit.MINUTES: "min", Unit.HOURS: "h", Unit.DAYS: "d", Unit.MONTHS: "mo"}


class Window(msgspec.Struct, frozen=True, order=True):
    """A span that ends now: `30 minutes`, `7 days` (today and the six days before), `12 months`."""

    count: int
    unit: Unit

    def __str__(self) -> str:
        return f"{self.count} {self.unit}"

    @property
    def suffix(self) -> str:
        """A short ending for names: `7d`, `24h`, `30min`, `12mo`."""
        return f"{self.count}{_SUFFIXES[self.unit]}"

    def start(self, now: datetime, zone: ZoneInfo) -> datetime:
        """Return the window's lower bound in UTC as seen at `now`.

        For elapsed units the bound itself is outside (`at > start`), for calendar units it is inside
        (`at >= start`): see `is_start_inside`. A window that reaches before year 1 starts at year 1.
        """
        if self.unit.is_elapsed:
            return now.astimezone(UTC) - timedelta(seconds=self.count * self.unit.seconds)
        today = local_date(now, zone)
        if self.unit is Unit.DAYS:
            ordinal = max(today.toordinal() - self.count + 1, 2)
            return day_start(date.fromordinal(ordinal), zone)
        return day_start(months_before(today, self.count) + timedelta(days=1), zone)

    @property
    def is_start_inside(self) -> bool:
        """True where an event exactly at `start` counts."""
        return not self.unit.is_elapsed


_WINDOW = re.compile(r"\s*(\d+)\s*(second|minute|hour|day|week|month|year)s?\s*\Z", re.IGNORECASE)
_ISO = re.compile(r"P(?:(\d+)W|(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?)\Z")

_TIME_OF_DAY = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d)?\Z")


def parse_window(text: str) -> Window:
    """Read `30 minutes`, `7 days`, `2 weeks` (= 14 days), `12 months`, `1 year` (= 12 months).

    >>> str(parse_window("2 weeks"))
    '14 days'

    Raises:
        ValueError: with what would be valid.
    """
    found = _WINDOW.match(text)
    if not found or int(found[1]) == 0:
        raise ValueError(
            f"{text!r} is no window; write a number above 0 and a unit, "
            "such as '30 minutes', '7 days', '12 months'"
        )
    count, unit = int(found[1]), found[2].lower()
    if unit == "week":
        return Window(count * 7, Unit.DAYS)
    if unit == "year":
        return Window(count * 12, Unit.MONTHS)
    return Window(count, Unit(unit + "s"))


def parse_duration(text: str) -> timedelta:
    """Read an elapsed duration, ISO 8601 (`P7D`, `PT15M`, `P2W`) or in words (`7 days`).

    Raises:
        ValueError: with what would be valid; months have no fixed length and are refused.
    """
    found = _ISO.match(text)
    if found and any(found.groups()):
        weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    window = parse_window(text)
    if window.unit is Unit.MONTHS:
        raise ValueError(f"{text!r} has no fixed length; write days, such as '30 days' or 'P30D'")
    if window.unit is Unit.DAYS:
        return timedelta(days=window.count)
    return timedelta(seconds=window.count * window.unit.seconds)


def parse_instant(text: str, zone: ZoneInfo) -> datetime:
    """Read an ISO 8601 instant; without an offset it is local time in `zone`; a bare date is its midnight.

    Raises:
        ValueError: if the text is no ISO 8601 date or time.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def parse_clock(text: str, zone: ZoneInfo) -> datetime:
    """Read the instant of a refresh as `parse_instant` does; windows and periods need room around it.

    Raises:
        ValueError: if the text is none, or none of the years 1900 to 2199.
    """
    moment = parse_instant(text, zone)
    if not 1900 <= moment.year < 2200:
        raise ValueError(f"{text!r} is not within the years 1900 to 2199")
    return moment


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of an IANA name.

    Raises:
        ValueError: if there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no IANA time zone; write one such as 'Europe/Stockholm'") from error


@cache
def known_zone(name: str) -> ZoneInfo | None:
    """Return the time zone of an IANA name as data hold it; None where there is no such zone."""
    return ZoneInfo(name) if name in _zone_names() else None


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def parse_time_of_day(text: str) -> time:
    """Read a local time of day: `21:00` or `21:00:30`.

    Raises:
        ValueError: with what would be valid.
    """
    if _TIME_OF_DAY.match(text):
        return time.fromisoformat(text)
    raise ValueError(f"{text!r} is no time of day; write one from '00:00' to '23:59'")


def local_date(instant: datetime, zone: ZoneInfo) -> date:
    """Return the calendar date of an instant in `zone`."""
    return instant.astimezone(zone).date()


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a local day, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def months_before(day: date, months: int) -> date:
    """Return the same date `months` earlier, or that month's last day where it has no such date.

    >>> months_before(date(2028, 2, 29), 12)
    datetime.date(2027, 2, 28)
    """
    index = max(day.year * 12 + day.month - 1 - months, 12)
    year, month = divmod(index, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def utc_naive(instant: datetime) -> datetime:
    """Return an instant as stores hold it: UTC without an offset."""
    return instant.astimezone(UTC).replace(tzinfo=None)


def sql_timestamp(instant: datetime) -> str:
    """Return a SQL literal for an instant as stores hold it: `TIMESTAMP '2026-05-04 10:00:00'`."""
    return f"TIMESTAMP '{utc_naive(instant).isoformat(sep=' ')}'"
