"""National identity numbers of the Nordic countries: one way of writing each, if its check sum is right.

Sweden: 12 digits, check digit by Luhn's sum (Skatteverket, SKV 704). Norway: 11 digits, two check digits
modulo 11 (Skatteetaten). Finland: with its century sign, check letter modulo 31 (DVV).
"""

from __future__ import annotations

import re
from datetime import date

_SWEDISH = re.compile(r"(\d{2})?(\d{2})(\d{2})(\d{2})([-+]?)(\d{4})\Z")
_NORWEGIAN = re.compile(r"(\d{6})[ -]?(\d{5})\Z")
_FINNISH = re.compile(r"(\d{6})([-+ABCDEFYXWVU])(\d{3})([0-9A-Y])\Z")
_FINNISH_CHECKS = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_FIRST_WEIGHTS = (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)
_SECOND_WEIGHTS = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)
_COORDINATION_DAYS = 60  # a Swedish number of somebody not registered has 60 added to its day


def canonical(text: str, region: str | None, today: date) -> str | None:
    """Return the number in its one form, or None where it is no valid number of the region.

    `today` decides the century of a Swedish number written with ten digits.

    >>> canonical("121212-1212", "SE", date(2026, 5, 4))
    '201212121212'
    """
    if region == "SE":
        return _swedish(text, today)
    if region == "NO":
        return _norwegian(text)
    if region == "FI":
        return _finnish(text)
    return None


def _swedish(text: str, today: date) -> str | None:
    found = _SWEDISH.match(text.replace(" ", ""))
    if not found:
        return None
    century, year, month, day, sign, last = found.groups()
    ten = year + month + day + last
    if not _luhn(ten):
        return None
    born_day = int(day) - _COORDINATION_DAYS if int(day) > _COORDINATION_DAYS else int(day)
    centuries = [int(century)] if century else _centuries(today, older=sign == "+")
    for candidate in centuries:
        born = _date(candidate * 100 + int(year), int(month), born_day)
        if born and (century or born <= _years_before(today, 100 if sign == "+" else 0)):
            return f"{candidate:02d}{ten}"
    return None


def _centuries(today: date, *, older: bool) -> list[int]:
    """Centuries to try, latest first; the sign `+` says that the person has turned a hundred."""
    latest = today.year // 100
    return [latest - 1, latest - 2] if older else [latest, latest - 1]


def _years_before(day: date, years: int) -> date:
    is_leap_day = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year - years, day=28 if is_leap_day else day.day)


def _norwegian(text: str) -> str | None:
    found = _NORWEGIAN.match(text)
    if not found:
        return None
    number = found[1] + found[2]
    digits = [int(letter) for letter in number]
    sums = (
        sum(weight * digit for weight, digit in zip(_FIRST_WEIGHTS, digits, strict=False)),
        sum(weight * digit for weight, digit in zip(_SECOND_WEIGHTS, digits, strict=True)),
    )
    return number if all(total % 11 == 0 for total in sums) else None


def _finnish(text: str) -> str | None:
    found = _FINNISH.match(text.upper())
    if not found:
        return None
    birth, sign, number, check = found.groups()
    return f"{birth}{sign}{number}{check}" if _FINNISH_CHECKS[int(birth + number) % 31] == check else None


def _luhn(digits: str) -> bool:
    doubled = [int(digit) * (2 - position % 2) for position, digit in enumerate(digits)]
    return sum(value // 10 + value % 10 for value in doubled) % 10 == 0


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
