"""JSON values that need no reading: of the right type, and what most messages hold.

Each function gives the value that the slow way would give, or None for whatever has to go that way.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from math import inf
from typing import TypeAlias

from tilltal.core.money import minor_per_major
from tilltal.sources.casts import Context
from tilltal.sources.inputs import Input
from tilltal.sources.online import clock, numbers
from tilltal.sources.online.cells import SPACES

Quick: TypeAlias = Callable[[object], object]

_DATE_LETTERS = len("2026-05-04")


def quick(one: Input, context: Context) -> Quick | None:
    """Return what takes JSON values that need no reading, and gives None for all others."""
    if one.map or one.values:
        return _closed(one) if one.type in ("text", "any") else None
    match one.type:
        case "integer":
            return _bounded(numbers.plain_integer, *bounds(one, 1))
        case "number" if one.decimal == ".":
            return _bounded(numbers.plain_number, *bounds(one, 1))
        case "money" if one.decimal == ".":
            minor = minor_per_major(context.currency)
            read = numbers.plain_integer if one.unit == "minor" else numbers.plain_amount(minor)
            return _bounded(read, *bounds(one, minor))
        case "boolean":
            return lambda raw: raw if type(raw) is bool else None
        case "timestamp" if one.format is None:
            return clock.quick_instant
        case "text" | "any":
            return text_cell
        case _:
            return None


def _closed(one: Input) -> Quick:
    """Return what takes the texts that `map` and `values` name."""
    known = {text: one.map.get(text, text) for text in (*one.values, *one.map) if text.strip(SPACES) == text}
    taken = {text: value for text, value in known.items() if text and (not one.values or value in one.values)}
    return lambda raw: taken.get(raw) if type(raw) is str else None


def _bounded(quick: Callable[[object], float | None], low: float, high: float) -> Quick:
    if low == -inf and high == inf:
        return quick

    def read(raw: object) -> object:
        value = quick(raw)
        return value if value is not None and low <= value <= high else None

    return read


def iso_date(raw: object) -> date | None:
    """Return the date of a text such as 2026-05-04."""
    if type(raw) is not str or len(raw) != _DATE_LETTERS or raw[4] != "-" or raw[7] != "-":
        return None
    try:
        return date.fromisoformat(raw)
    except ValueError:
        return None


def text_cell(raw: object) -> str | None:
    """Return the cell of a text of ASCII letters."""
    return raw.strip(SPACES) or None if type(raw) is str and raw.isascii() else None


def bounds(one: Input, scale: int) -> tuple[float, float]:
    """Return the limits of an input in stored units, `scale` to one of the definition's."""
    low = -inf if one.minimum is None else one.minimum * scale
    return low, inf if one.maximum is None else one.maximum * scale
