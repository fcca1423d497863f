"""What the Python side of the dialect needs beyond Python's own operators; each mirrors a form of `catalog`.

Arguments are never None except where said. Instants are naive UTC.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tilltal.rules.types import LARGEST_INTEGER, SMALLEST_INTEGER

EPOCH = datetime.fromisoformat("1970-01-01")
FIRST_INSTANT = datetime.fromisoformat("0001-01-02")
LAST_INSTANT = datetime.fromisoformat("9999-12-31")  # the first that is too late

_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(?:\.[0-9]{1,300})?\Z")


def whole(value: float) -> int | None:
    """Return an integral value as an integer, None outside 64 bits."""
    return int(value) if SMALLEST_INTEGER <= value <= LARGEST_INTEGER else None


def remainder(value: int, divisor: int) -> int | None:
    """Return the remainder with the sign of the value, None for a zero divisor."""
    if divisor == 0:
        return None
    rest = abs(value) % abs(divisor)
    return -rest if value < 0 else rest


def rounded(value: float) -> float:
    """Return the nearest integral number, halves away from zero, as C's `round`."""
    if not math.isfinite(value):
        return value
    size = abs(value)
    floor = math.floor(size)
    return math.copysign(floor + (size - floor >= 0.5), value)


def power(base: float, exponent: float) -> float | None:
    """Return base to the exponent, None where that is undefined or too large."""
    try:
        return math.pow(base, exponent)
    except (ValueError, OverflowError):
        return None


def exponential(exponent: float) -> float | None:
    """Return e to the exponent, None where that is too large."""
    try:
        return math.exp(exponent)
    except OverflowError:
        return None


def number_in(value: object) -> float | None:
    """Return an untyped value as a number if it is one."""
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            return None
    return None


def number_of(text: str) -> float | None:
    """Return the number that a text writes in plain digits, None if it is none."""
    return float(text) if _NUMBER.match(text) else None


def _by_letter(change: Callable[[str], str], odd: dict[str, str]) -> Callable[[str], str]:
    """Make a case conversion that maps single characters to single characters and leaves the others."""

    def letter(character: str) -> str:
        changed = change(character)
        return changed if len(changed) == 1 else odd.get(character, character)

    def convert(text: str) -> str:
        return change(text) if text.isascii() else "".join(map(letter, text))

    return convert


# The characters whose one-letter partner Python's own conversion does not give.
UPPER_ODD = "ßᾀᾁᾂᾃᾄᾅᾆᾇᾐᾑᾒᾓᾔᾕᾖᾗᾠᾡᾢᾣᾤᾥᾦᾧᾳῃῳ"
UPPER_EVEN = "ẞᾈᾉᾊᾋᾌᾍᾎᾏᾘᾙᾚᾛᾜᾝᾞᾟᾨᾩᾪᾫᾬᾭᾮᾯᾼῌῼ"

lower = _by_letter(str.lower, {"İ": "i"})
upper = _by_letter(str.upper, dict(zip(UPPER_ODD, UPPER_EVEN, strict=True)))


def concat(*texts: str | None) -> str:
    """Join the texts that are there (not None)."""
    return "".join([text for text in texts if text is not None])


def least(*values: Any) -> Any:
    """Return the smallest of the values that are there, None if none is."""
    return min([value for value in values if value is not None], default=None)


def greatest(*values: Any) -> Any:
    """Return the greatest of the values that are there, None if none is."""
    return max([value for value in values if value is not None], default=None)


def split_part(text: str, separator: str, position: int) -> str:
    """Return the part at a position from 1, the empty text beyond the last."""
    parts = text.split(separator)
    return parts[position - 1] if position <= len(parts) else ""


def months_between(start: date, end: date) -> int:
    """Return complete months, rounded down."""
    return (end.year - start.year) * 12 + end.month - start.month - (end.day < start.day)


def years_between(start: date, end: date) -> int:
    """Return complete years, rounded down."""
    return end.year - start.year - ((end.month, end.day) < (start.month, start.day))


def add_days(day: date, days: int) -> date | None:
    """Return a later or earlier date, None outside the calendar."""
    try:
        return date.fromordinal(day.toordinal() + days)
    except (ValueError, OverflowError):
        return None


def local_time(instant: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the clock time in a zone, None on the calendar's first and last day.

    Before 1970 the offset of 1 January 1970 holds: further back, zone databases differ.
    """
    if not FIRST_INSTANT <= instant < LAST_INSTANT:
        return None
    return instant + offset(max(instant, EPOCH), zone)


def offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    """Return what to add to an instant to get the clock time in a zone."""
    return instant.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()
