"""Literals: their text into values."""

from __future__ import annotations

import math
import re
from datetime import date, datetime

from tilltal.core.time import utc_naive
from tilltal.rules.tree import Call, Literal, Node
from tilltal.rules.types import LARGEST_INTEGER, SMALLEST_INTEGER, Type

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_TIMESTAMP = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:\d{2})?)?\Z", re.ASCII
)


class BadLiteralError(ValueError):
    """A literal that stands for no value; `hint` says what would."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def literal_of(kind: str, text: str) -> Node | None:
    """Return the literal of a kind (`number`, `text`, `date`, `timestamp`, `true`, `false`); None for `null`.

    Raises:
        BadLiteralError: if there is no such value.
    """
    match kind:
        case "number":
            return _number(text)
        case "text":
            return _text(text)
        case "date":
            return _date(text)
        case "timestamp":
            return _timestamp(text)
        case "null":
            return None
    return Literal(Type.BOOLEAN, kind == "true")


def _number(text: str) -> Literal:
    if text.lstrip("-").isdigit():
        if len(text) > 20 or not SMALLEST_INTEGER <= int(text) <= LARGEST_INTEGER:
            raise BadLiteralError("The integer needs more than 64 bits.", "Write a number such as 1e20.")
        return Literal(Type.INTEGER, int(text))
    if not math.isfinite(float(text)):
        raise BadLiteralError("The number is too large; 1.7e308 is about the most.")
    return Literal(Type.NUMBER, float(text))


def _text(text: str) -> Literal:
    if "\0" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)):
        raise BadLiteralError("The text holds a character that no text may hold.")
    return Literal(Type.TEXT, text)


def _date(text: str) -> Literal:
    try:
        if not _DATE.match(text):
            raise ValueError
        return Literal(Type.DATE, date.fromisoformat(text))
    except ValueError:
        raise BadLiteralError(
            f"'{text}' is no date.", "Write year, month and day: DATE '2026-05-04'."
        ) from None


def _timestamp(text: str) -> Node:
    """Without an offset it is a clock time of the workspace's zone, known only with the clock."""
    try:
        if not _TIMESTAMP.match(text):
            raise ValueError
        moment = datetime.fromisoformat(text)
        if moment.tzinfo:
            return Literal(Type.TIMESTAMP, utc_naive(moment))
    except (ValueError, OverflowError):
        raise BadLiteralError(
            f"'{text}' is no point in time.",
            "Write TIMESTAMP '2026-05-04 09:30:00', in the workspace's zone, or with an offset such as "
            "+02:00.",
        ) from None
    return Call(Type.TIMESTAMP, "LOCAL", (Literal(Type.TIMESTAMP, moment),))
