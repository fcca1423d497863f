"""From a message's value to what history keeps, and what can be wrong with it: `casts` in Python.

Every input becomes two functions. JSON values of the right type take a short way (`quick`); for all else the
short way gives None, and it is read as text, as the batch reads JSON: by a function of the value and of a
list, to which it adds what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import TypeAlias

from tilltal.core.money import minor_per_major
from tilltal.core.time import zone_of
from tilltal.sources.casts import Context, is_untyped
from tilltal.sources.inputs import Input
from tilltal.sources.online import clock, numbers
from tilltal.sources.online.cells import cell, texts
from tilltal.sources.online.quick import Quick, bounds, iso_date, quick, text_cell
from tilltal.sources.online.times import DAY, EPOCH_DAY, SECOND
from tilltal.sources.reasons import SHOWN_LETTERS, Reason

Cast: TypeAlias = Callable[[object, list[Reason]], object]
Ways: TypeAlias = tuple[Quick, Cast]
Read: TypeAlias = Callable[[str, list[str]], object]

LAST_DAY = date.max.toordinal()
FIRST_INSTANT = (2 - EPOCH_DAY) * DAY
LAST_INSTANT = (LAST_DAY + 1 - EPOCH_DAY) * DAY - SECOND


def reader(one: Input, context: Context) -> Ways:
    """Return how to read an input: dates as ordinals, instants as microseconds, money in minor units."""
    return quick(one, context) or _nothing, _slow(one, context)


def field_reader(one: Input, context: Context) -> Ways:
    """Return how to read a field as history keeps it: dates, naive UTC times and untyped values as such."""
    short, slow = reader(one, context)
    if is_untyped(one):
        return short, _untyped(slow)
    if one.type == "date":
        is_usual = one.format is None and not one.map and not one.values
        return iso_date if is_usual else _nothing, lambda raw, reasons: _date(slow(raw, reasons))
    if one.type == "timestamp":
        return _nothing, _timestamp(short, slow)
    return short, slow


def cell_reader(one: Input) -> Ways:
    """Return how to read an input as nothing but text."""
    read = texts(one.map)
    return _nothing if one.map else text_cell, lambda raw, reasons: read(raw)


def _nothing(raw: object) -> object:
    """What is read as text in any case."""
    return None


def _untyped(slow: Cast) -> Cast:
    """Return what leaves texts texts, and takes numbers and booleans for such."""

    def value(raw: object, reasons: list[Reason]) -> object:
        text = slow(raw, reasons)
        return text if type(raw) is str or not isinstance(text, str) else numbers.scalar(text)

    return value


def _timestamp(short: Quick, slow: Cast) -> Cast:
    """Return what gives None, and no reason, for a time beyond the calendar."""

    def time(raw: object, reasons: list[Reason]) -> object:
        instant = short(raw)
        return _time(slow(raw, reasons) if instant is None else instant)

    return time


def reason(code: str, one: Input, text: str | None) -> Reason:
    """Return a reason that quotes the cell, unless the value says who somebody is."""
    shown = "(hidden)" if "identity" in one.labels else (text or "")[: SHOWN_LETTERS + 1]
    return Reason(code=code, role=one.name, value=shown, type=one.type if code == "S332" else "")


def as_text(value: object) -> str:
    """Write a value as SQL does when it casts it to text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        text = value.isoformat(" ")
        return text.rstrip("0") if value.microsecond else text
    return str(value)


def _date(ordinal: object) -> date | None:
    return date.fromordinal(ordinal) if isinstance(ordinal, int) and 1 <= ordinal <= LAST_DAY else None


def _time(instant: object) -> datetime | None:
    if isinstance(instant, int) and FIRST_INSTANT <= instant <= LAST_INSTANT:
        return clock.naive(instant)
    return None


def _slow(one: Input, context: Context) -> Cast:
    cell_of = texts(one.map) if one.map else cell
    read, allowed = _read(one, context), frozenset(one.values)

    def cast(raw: object, reasons: list[Reason]) -> object:
        text = cell_of(raw)
        if text is None:
            if one.is_required:
                reasons.append(Reason(code="S331", role=one.name))
            return None
        codes: list[str] = []
        value = read(text, codes)
        if allowed and text not in allowed:
            codes.append("S336")
        reasons += [reason(code, one, text) for code in codes]
        return value

    return cast


def _read(one: Input, context: Context) -> Read:
    zone = zone_of(one.time_zone) if one.time_zone else context.zone
    match one.type:
        case "integer":
            return _integer(one, 1)
        case "number":
            return _number(one)
        case "money":
            minor = minor_per_major(context.currency)
            return _integer(one, minor) if one.unit == "minor" else _money(one, minor)
        case "boolean":
            return lambda text, codes: _known(numbers.boolean(text), codes)
        case "date":
            return _within(clock.day(one.format, zone), 1, LAST_DAY)
        case "timestamp":
            return _within(clock.timestamp(one.format, zone), FIRST_INSTANT, LAST_INSTANT)
        case _:
            return lambda text, codes: text


def _known(value: object, codes: list[str]) -> object:
    if value is None:
        codes.append("S332")
    return value


def _within(read_text: Callable[[str], int | None], first: int, last: int) -> Read:
    def read(text: str, codes: list[str]) -> int | None:
        value = read_text(text)
        if value is None or not first <= value <= last:
            codes.append("S332" if value is None else "S339")
        return value

    return read


def _integer(one: Input, scale: int) -> Read:
    plain, (low, high) = numbers.plain(one.decimal), bounds(one, scale)

    def read(text: str, codes: list[str]) -> int | None:
        value = numbers.integer(plain(text))
        if value is None:
            codes.append(_no_number(text))
        elif not low <= value <= high:
            codes.append("S335")
        return value

    return read


def _number(one: Input) -> Read:
    plain, (low, high) = numbers.plain(one.decimal), bounds(one, 1)

    def read(text: str, codes: list[str]) -> float | None:
        value = numbers.number(plain(text))
        if value is None:
            codes.append(_no_number(text))
            return None
        if not isfinite(value):
            codes.append("S333")
        if not low <= value <= high:
            codes.append("S335")
        return value

    return read


def _money(one: Input, minor: int) -> Read:
    plain = numbers.plain(one.decimal)
    low, high = (Decimal(repr(bound)) * numbers.PART for bound in bounds(one, minor))

    def read(text: str, codes: list[str]) -> int | None:
        parts = numbers.amount(plain(text), minor)
        if parts is None:
            codes.append(_no_number(text))
            return None
        value = numbers.whole(parts)
        if not numbers.LEAST <= value <= numbers.MOST:
            codes.append("S335")
        if parts % numbers.PART:
            codes.append("S334")
        if not low <= parts <= high:
            codes.append("S335")
        return value

    return read


def _no_number(text: str) -> str:
    return "S333" if numbers.is_infinite(text) else "S332"
