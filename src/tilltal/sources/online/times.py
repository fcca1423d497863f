"""What a text says of a time: local microseconds since 1970 and the offset stated, by ISO 8601 or a format.

Numbers rather than `datetime`, because a text may name the year 0 or the end of the year 9999, which
a contract has to turn away in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import TypeAlias

Told: TypeAlias = tuple[int, int | None]

SECOND = 1_000_000
DAY = 86_400 * SECOND
EPOCH_DAY = date(1970, 1, 1).toordinal()
CYCLE_YEARS, CYCLE_DAYS = 400, 146_097  # after which the calendar, weekdays too, repeats itself
_DATE = r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
_TIME = r"(?:[T ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?)"
_OFFSET = r"(?:Z|([+-])([0-9]{2})(?::?([0-9]{2}))?)"
_ISO = re.compile(f"{_DATE}(?:{_TIME}(?P<offset>{_OFFSET})?)?")
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_SPACE = r"[ \t\n\v\f\r]"
_DIRECTIVES = {
    "Y": "(?P<Y>[0-9]{1,4}+)",
    "y": "(?P<y>[0-9]{1,2}+)",
    "m": "(?P<m>[0-9]{1,2}+)",
    "d": "(?P<d>[0-9]{1,2}+)",
    "H": "(?P<H>[0-9]{1,2}+)",
    "M": "(?P<M>[0-9]{1,2}+)",
    "S": "(?P<S>[0-9]{1,2}+)",
    "f": "(?P<f>[0-9]{1,6}+)",
    "b": f"(?P<b>{'|'.join(name[:3] for name in _MONTHS)})",
    "B": f"(?P<B>{'|'.join(_MONTHS)})",
    "z": "(?P<sign>[+-])(?P<hours>[0-9]{2})(?::?(?P<minutes>[0-9]{2}))?",
    "%": "%",
}
_DIRECTIVE = re.compile(r"%-?(.)", re.DOTALL)
_CENTURY_TURN = 69  # two digits of a year below it belong to this century


def iso(text: str) -> Told | None:
    """Return local microseconds since 1970 and the offset that the text states."""
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    year, month, of_month, hour, minute, second, fraction = found.group(1, 2, 3, 4, 5, 6, 7)
    ordinal = _ordinal(int(year), int(month), int(of_month))
    time = _of_day(int(hour or 0), int(minute or 0), int(second or 0), fraction or "", has_24=True)
    if ordinal is None or time is None:
        return None
    offset = _offset(found[9], found[10], found[11]) if found["offset"] else None
    return (ordinal - EPOCH_DAY) * DAY + time, offset


def _ordinal(year: int, month: int, of_month: int) -> int | None:
    try:
        if year == 0:
            return date(CYCLE_YEARS, month, of_month).toordinal() - CYCLE_DAYS
        return date(year, month, of_month).toordinal()
    except ValueError:
        return None


def _of_day(hour: int, minute: int, second: int, fraction: str, *, has_24: bool = False) -> int | None:
    """Return microseconds since midnight; what is finer is cut off. ISO 8601 has 24:00, the day's end."""
    finer = int(fraction[:6].ljust(6, "0"))
    seconds = (hour * 60 + minute) * 60 + second
    is_end = has_24 and hour == 24 and not (minute or second or finer)
    if (hour > 23 and not is_end) or minute > 59 or second > 59:
        return None
    return seconds * SECOND + finer


def _offset(sign: str | None, hours: str | None, minutes: str | None) -> int:
    size = (int(hours or 0) * 60 + int(minutes or 0)) * 60 * SECOND
    return -size if sign == "-" else size


def by_format(form: str) -> Callable[[str], Told | None]:
    """Return what reads a text by a strptime format as DuckDB does, of `COLLECTOR_DIRECTIVES`."""
    pattern = _pattern(form)

    def read(text: str) -> Told | None:
        found = pattern.fullmatch(text)
        if found is None:
            return None
        parts = found.groupdict()
        ordinal = _ordinal(_year(parts), _month(parts), int(parts.get("d") or 1))
        hour, minute, second = (int(parts.get(letter) or 0) for letter in "HMS")
        time = _of_day(hour, minute, second, parts.get("f") or "")
        if ordinal is None or time is None:
            return None
        offset = _offset(parts["sign"], parts["hours"], parts["minutes"]) if "sign" in parts else None
        return (ordinal - EPOCH_DAY) * DAY + time, offset

    return read


def _pattern(form: str) -> re.Pattern[str]:
    """Return a strptime format as a regular expression; runs of spaces fit runs of spaces."""
    written, end = [], 0
    for found in _DIRECTIVE.finditer(form):
        written += [_literal(form[end : found.start()]), _DIRECTIVES[found[1]]]
        end = found.end()
    body = "".join((*written, _literal(form[end:])))
    return re.compile(f"{_SPACE}*{body}{_SPACE}*", re.IGNORECASE | re.ASCII)


def _literal(text: str) -> str:
    runs = re.split(f"({_SPACE}+)", text)
    return "".join(f"{_SPACE}+" if n % 2 else f"(?-i:{re.escape(run)})" for n, run in enumerate(runs) if run)


def _year(parts: dict[str, str | None]) -> int:
    if short := parts.get("y"):
        return int(short) + (2000 if int(short) < _CENTURY_TURN else 1900)
    return int(parts.get("Y") or 1900)


def _month(parts: dict[str, str | None]) -> int:
    name = parts.get("b") or parts.get("B")
    if name:
        return 1 + next(n for n, month in enumerate(_MONTHS) if month.startswith(name.lower()))
    return int(parts.get("m") or 1)
