"""Values that came when their field had another type: what today's type makes of them.

As SQL's `TRY_CAST` of the value's text: what cannot be read is NULL.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

from tilltal.workspace.definitions.sources import FieldType

_BEYOND = 2**63  # no integer of a column
_CLASSES: Mapping[FieldType, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "money": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "date": (date,),
    "timestamp": (datetime,),
}
_TRUTHS = {"true": True, "t": True, "1": True, "yes": True, "y": True} | dict.fromkeys(
    ("false", "f", "0", "no", "n"), False
)


def is_of(value: object, kind: FieldType) -> bool:
    """True if a value is of a type, so that no reading is needed; a flag is no number."""
    return type(value) in _CLASSES[kind] and (
        type(value) is not int or kind == "number" or -_BEYOND <= value < _BEYOND
    )


def text_of(value: object) -> str | None:
    """Return a value as text from which whatever type is declared later can be read."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def iso_date(text: str) -> date:
    """Return a date written with dashes, as SQL wants it: eight digits are a number.

    Raises:
        ValueError: if it is none.
    """
    return date.fromisoformat(_with_dashes(text))


def iso_instant(text: str) -> datetime:
    """Return an instant in UTC, naive, written with dashes.

    Raises:
        ValueError: if it is none.
    """
    found = datetime.fromisoformat(_with_dashes(text))
    return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)


def _with_dashes(text: str) -> str:
    if text[4:5] != "-":
        raise ValueError(text)
    return text


def fitting(kind: FieldType) -> Callable[[object], object]:
    """Return what reads a stored value as a type.

    >>> fitting("integer")(3), fitting("integer")("3"), fitting("integer")("x"), fitting("text")(3)
    (3, 3, None, '3')
    """
    if kind == "any":
        return lambda value: value
    if kind == "text":
        return text_of
    classes, read = _CLASSES[kind], _READ[kind]

    def fitted(value: object) -> object:
        if value is None or type(value) in classes:
            return value
        try:
            return read(value if isinstance(value, str) else json.dumps(value))
        except (ValueError, OverflowError):
            return None

    return fitted


def _integer(text: str) -> int | None:
    try:
        found = int(text)
    except ValueError:
        found = int(float(text) + (0.5 if float(text) >= 0 else -0.5))  # halves go away from zero
    return found if -_BEYOND <= found < _BEYOND else None


def _date(text: str) -> date:
    try:
        return iso_date(text)
    except ValueError:
        return iso_instant(text).date()


_READ: Mapping[FieldType, Callable[[str], object]] = {
    "integer": _integer,
    "money": _integer,
    "number": float,
    "boolean": lambda text: _TRUTHS.get(text.strip().lower()),
    "date": _date,
    "timestamp": iso_instant,
}
