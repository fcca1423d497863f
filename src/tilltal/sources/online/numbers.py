"""Numbers in text, as the SQL of `numbers` reads them; nothing is rounded on the way.

Amounts are whole numbers of `PART`: a million-millionth of a minor unit, the decimals that the SQL keeps.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from math import isfinite

from tilltal.sources.numbers import JSON_NUMBER

PART = 10**12
LEAST, MOST = -(2**63), 2**63 - 1
TRUE = frozenset(("true", "t", "yes", "y", "1"))
FALSE = frozenset(("false", "f", "no", "n", "0"))
_JSON_NUMBER = re.compile(JSON_NUMBER, re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]+(?:\.0*)?")
_NUMBER = re.compile(r"([+-]?)(?:([0-9]+)\.?([0-9]*)|\.([0-9]+))(?:[eE]([+-]?[0-9]+))?")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:[ \u00a0\u202f][0-9]{3})+(?:[.,][0-9]*)?")
_SPACES = re.compile(r"[ \u00a0\u202f]")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)")
_LONGEST = 1000  # digits; no value that can be kept needs more
_WHOLE_DIGITS, _DECIMALS = 18, 12  # of DECIMAL(30, 12)
_POWERS = range(-(2**15), 2**15)  # exponents of DECIMAL
_EXACT = Context(prec=2 * _LONGEST)
_SURE_CENTS = 10**15  # below it 15 digits name one binary float each


def integer(text: str) -> int | None:
    """Return a whole number that fits 64 bits."""
    if not _INTEGER.fullmatch(text):
        return None
    digits = text.partition(".")[0].lstrip("+")
    value = int(digits) if len(digits) <= _LONGEST else MOST + 1
    return value if LEAST <= value <= MOST else None


def number(text: str) -> float | None:
    """Return a binary float, infinite where a text names more than it can hold."""
    return float(text) if _NUMBER.fullmatch(text) else None


def scalar(text: str) -> str | float | bool:
    """Return what a text says as JSON: a finite number, a boolean, or else itself.

    >>> scalar("12"), scalar("1.50"), scalar("true"), scalar("012"), scalar("1e999")
    (12, 1.5, True, '012', '1e999')
    """
    if text in ("true", "false"):
        return text == "true"
    found = _JSON_NUMBER.fullmatch(text)
    if found is None:
        return text
    if found[2] is found[3] is None and len(text) <= _LONGEST and LEAST <= int(text) <= MOST:
        return int(text)
    value = float(text)
    return value if isfinite(value) else text


def amount(text: str, minor: int) -> int | None:
    """Return an amount of major units as parts of minor units, with `minor` of them to a major unit.

    What is too large for DECIMAL(30, 12) is none; digits that an exponent moves over the point do not count.
    """
    found = _NUMBER.fullmatch(text)
    if found is None or len(text) > _LONGEST:
        return None
    power = int(found[5] or 0)
    if power not in _POWERS:
        return None
    value, decimals = Decimal(text), len(found[3] or found[4] or "")
    moved = max(power - max(decimals - _DECIMALS, 0), 0) if value else 0
    if len((found[2] or "").lstrip("0")) + moved > _WHOLE_DIGITS:
        return None
    parts = int(value.scaleb(_DECIMALS, _EXACT).to_integral_value(ROUND_HALF_UP, _EXACT))
    return parts * minor if power > 0 or abs(parts) < 10**_WHOLE_DIGITS * PART else None


def whole(parts: int) -> int:
    """Return an amount in whole minor units, a half away from zero."""
    units = (2 * abs(parts) + PART) // (2 * PART)
    return -units if parts < 0 else units


def boolean(text: str) -> bool | None:
    """Return True or False for the words that mean it."""
    word = text.lower()
    return True if word in TRUE else False if word in FALSE else None


def is_infinite(text: str) -> bool:
    """True for the words of what is no finite number."""
    return _NOT_FINITE.fullmatch(text.replace("İ", "i").lower()) is not None


def plain(decimal: str) -> Callable[[str], str]:
    """Return what writes a number's text with a point for its decimals, without spaces between thousands."""
    if decimal == ".":
        return _together
    return lambda text: _together(text).replace(".", "?").replace(",", ".")


def _together(text: str) -> str:
    if (" " in text or "\u00a0" in text or "\u202f" in text) and _GROUPED.fullmatch(text):
        return _SPACES.sub("", text)
    return text


def plain_integer(raw: object) -> int | None:
    """Return a JSON integer that fits 64 bits; None for anything that has to be read as text."""
    return raw if type(raw) is int and LEAST <= raw <= MOST else None


def plain_number(raw: object) -> float | None:
    """Return a JSON number as a float; None for anything that has to be read as text."""
    if type(raw) is float:
        return raw if isfinite(raw) else None
    return float(raw) if type(raw) is int and LEAST <= raw <= MOST else None


def plain_amount(minor: int) -> Callable[[object], int | None]:
    """Return what makes minor units of a JSON number of major units; None if it has to be read as text.

    A float is exactly the amount whose decimals it was written with, if that amount gives the float back.
    """
    most = 10**_WHOLE_DIGITS // max(minor, 10)

    def read(raw: object) -> int | None:
        if type(raw) is float:
            if not -1e13 < raw < 1e13:
                return None
            cents = round(raw * minor)
            return cents if cents / minor == raw and -_SURE_CENTS < cents < _SURE_CENTS else None
        return raw * minor if type(raw) is int and -most < raw < most else None

    return read
