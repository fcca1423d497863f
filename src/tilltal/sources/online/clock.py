"""Times in text, as the SQL of `clock` reads them: ISO 8601 or a stated format, in the source's zone, to UTC.

Instants are microseconds since 1970 in UTC, days are ordinals (1 January of year 1 is 1).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

from tilltal.core.instants import micros
from tilltal.sources.online.times import CYCLE_DAYS, DAY, EPOCH_DAY, by_format, iso

Read: TypeAlias = Callable[[str], int | None]

_EPOCH = datetime(1970, 1, 1)
_USUAL = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_USUAL_LETTERS = tuple(
    map(len, ("2026-05-04T10:00:00Z", "2026-05-04T10:00:00.000Z", "2026-05-04T10:00:00.000000Z"))
)


def quick_instant(raw: object) -> int | None:
    """Return the instant of an aware datetime, or of a time in UTC as programs write it; else None."""
    if isinstance(raw, datetime):
        return micros(raw) if raw.tzinfo else None
    if type(raw) is not str or raw[-1:] != "Z" or len(raw) not in _USUAL_LETTERS:
        return None
    if raw[4] != "-" or raw[7] != "-" or raw[10] not in "T " or raw[19] not in ".Z":
        return None  # a week's number, say, which Python takes too
    try:
        return micros(datetime.fromisoformat(raw))
    except (ValueError, OverflowError):
        return None


def naive(instant: int) -> datetime:
    """Return an instant within the years 1 to 9999 as stores hold it: UTC without an offset."""
    return _EPOCH + timedelta(microseconds=instant)


def midnight(day: int, zone: ZoneInfo) -> int:
    """Return the instant at which a local day begins, given its ordinal."""
    return to_utc((day - EPOCH_DAY) * DAY, zone)


def to_utc(local: int, zone: ZoneInfo) -> int:
    """Return the instant of a local time, the first of two where it is ambiguous."""
    shift = _into_calendar(local)
    offset = naive(local + shift).replace(tzinfo=zone).utcoffset() or timedelta()
    return local - offset // timedelta(microseconds=1)


def timestamp(form: str | None, zone: ZoneInfo) -> Read:
    """Return what reads a text as an instant; it gives None for what is no time."""
    if form is None:
        return lambda text: _usual(text) if _USUAL.fullmatch(text) else _iso_instant(text, zone)
    read = by_format(form)

    def instant(text: str) -> int | None:
        found = read(text)
        if found is None:
            return None
        local, offset = found
        return to_utc(local, zone) if offset is None else local - offset

    return instant


def day(form: str | None, zone: ZoneInfo) -> Read:
    """Return what reads a text as a local day's ordinal; it gives None for what is neither date nor time."""
    read = iso if form is None else by_format(form)

    def ordinal(text: str) -> int | None:
        found = read(text)
        if found is None:
            return None
        local, offset = found
        if offset is not None:
            local = _to_local(local - offset, zone)
        return local // DAY + EPOCH_DAY

    return ordinal


def _usual(text: str) -> int | None:
    """Read the form that nearly all messages have, quickly."""
    try:
        return micros(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        found = iso(text)
        return None if found is None or found[1] is None else found[0] - found[1]


def _iso_instant(text: str, zone: ZoneInfo) -> int | None:
    found = iso(text)
    if found is None:
        return None
    local, offset = found
    return to_utc(local, zone) if offset is None else local - offset


def _to_local(instant: int, zone: ZoneInfo) -> int:
    shift = _into_calendar(instant)
    moment = naive(instant + shift).replace(tzinfo=UTC).astimezone(zone)
    return instant + (moment.utcoffset() or timedelta()) // timedelta(microseconds=1)


def _into_calendar(instant: int) -> int:
    """Return by how much to move an instant so that `datetime` can hold it and the days around it."""
    if instant < _LEAST:
        return CYCLE_DAYS * DAY
    return -CYCLE_DAYS * DAY if instant > _MOST else 0


_LEAST = (3 - EPOCH_DAY) * DAY
_MOST = (date.max.toordinal() - 2 - EPOCH_DAY) * DAY
