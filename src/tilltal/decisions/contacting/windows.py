"""Windows of caps: which span of time a cap looks at. Instants are microseconds since 1970 in UTC."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from tilltal.core.instants import instant_of, micros
from tilltal.core.time import day_start, parse_duration
from tilltal.workspace.definitions.contact import Cap

Unit = Literal["day", "week", "month"]
Calendar = dict[tuple[str, Unit], "Span"]

FOREVER = 1 << 62
_MICROSECOND = timedelta(microseconds=1)


class Span(msgspec.Struct, frozen=True, gc=False):
    """A span of time: `first` is the first instant inside, `end` the first one after it."""

    first: int
    end: int


def duration_micros(text: str) -> int:
    """Read a duration, in microseconds.

    Raises:
        ValueError: with what would be valid.
    """
    return parse_duration(text) // _MICROSECOND


def window(cap: Cap, now: int, zone: ZoneInfo) -> Span:
    """Return the contacts' instants that count against a cap.

    A rolling window of length W holds what is later than now - W. A calendar window is the local day, week or
    month around now.
    """
    if cap.rolling is not None:
        return Span(now - duration_micros(cap.rolling) + 1, FOREVER)
    return calendar_span(cap.calendar or "day", now, zone)


def calendar_span(unit: Unit, now: int, zone: ZoneInfo) -> Span:
    """Return the local day, week (from Monday) or month that an instant lies in."""
    today = instant_of(now).astimezone(zone).date()
    if unit == "month":
        first = today.replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
    else:
        first = today - timedelta(days=today.weekday() if unit == "week" else 0)
        after = first + timedelta(days=7 if unit == "week" else 1)
    return Span(_midnight(first, zone), _midnight(after, zone))


def _midnight(day: date, zone: ZoneInfo) -> int:
    return micros(day_start(day, zone))
