"""One value of a message as the text that a line of a JSON Lines file would give for it.

What the batch reads from JSON, it reads as text (`reading.json_table`): a number as JSON writes it, an object
as JSON without spaces. Everything here writes the same letters, so that the same casts follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeAlias

Document: TypeAlias = Mapping[str, object]
Find: TypeAlias = Callable[[Document], object]

# What SQL's trim takes away: all space separators of Unicode, but neither tabs nor line ends.
SPACES = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_LONGEST = 8192  # bits of a number; more than any type holds, fewer than Python refuses to write
_FIXED_FROM, _FIXED_BELOW = -6, 21  # decimal exponents that are written without `e`
_ESCAPES = {
    **{n: f"\\u{n:04X}" for n in range(32)},
    **str.maketrans(
        {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
    ),
}


def finder(column: str) -> Find:
    """Return what finds a column in a message: a key of that name or, where there is none, a path."""
    steps = column.split(".")
    if len(steps) == 1:
        return lambda document: document.get(column)
    head, *rest = steps
    if len(rest) > 1:
        return lambda document: _own_or_deep(document, column, head, rest)
    last = rest[0]

    def find(document: Document) -> object:
        found = document.get(column)
        if found is not None:
            return found
        inner = document.get(head)
        return inner.get(last) if type(inner) is dict else step_into(inner, last)

    return find


def _own_or_deep(document: Document, column: str, head: str, rest: list[str]) -> object:
    found = document.get(column)
    if found is not None:
        return found
    found = document.get(head)
    for step in rest:
        found = found.get(step) if type(found) is dict else step_into(found, step)
    return found


def step_into(found: object, step: str) -> object:
    """Take one step of a JSON pointer (RFC 6901): into an object by key, into an array by position."""
    if isinstance(found, Mapping):
        return found.get(step)
    is_position = step.isascii() and step.isdigit() and (step == "0" or step[0] != "0")
    if isinstance(found, list | tuple) and is_position and int(step) < len(found):
        return found[int(step)]
    return None


def texts(values: Mapping[str, str]) -> Callable[[object], str | None]:
    """Return what makes a value's cell: its text, trimmed, None if blank, and replaced as a `map` says."""
    if not values:
        return cell
    return lambda raw: None if (text := cell(raw)) is None else values.get(text, text)


def cell(raw: object) -> str | None:
    """Return a JSON value as trimmed text, None for null and blanks.

    Raises:
        UnicodeEncodeError: for half a surrogate pair, which is no text.
        ValueError, RecursionError: for numbers and nesting beyond what a JSON decoder gives.
    """
    if type(raw) is str and raw.isascii():
        return raw.strip(SPACES) or None
    if raw is None:
        return None
    text = raw if isinstance(raw, str) else as_json(raw)
    if not text.isascii():
        text.encode()
    return text.strip(SPACES) or None


def number_text(value: float) -> str:
    """Write a binary float as JSON does: the shortest decimals that give it back.

    >>> number_text(1e16), number_text(1.5e-7)
    ('10000000000000000.0', '1.5e-7')
    """
    text = repr(value)
    mantissa, is_scientific, power = text.partition("e")
    if not is_scientific:
        return text
    exponent = int(power)
    if not _FIXED_FROM <= exponent < _FIXED_BELOW:
        return f"{mantissa}e{exponent}"
    sign, digits = "-" * (value < 0), mantissa.lstrip("-").replace(".", "")
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    return f"{sign}{digits.ljust(exponent + 1, '0')}.0"


def as_json(raw: object) -> str:
    """Write a JSON value without spaces, as DuckDB does."""
    if raw is None:
        return "null"
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int):
        return str(raw) if raw.bit_length() < _LONGEST else "Infinity"
    if isinstance(raw, float):
        return number_text(raw)
    if isinstance(raw, Mapping):
        return "{" + ",".join(f"{_quoted(str(key))}:{as_json(value)}" for key, value in raw.items()) + "}"
    if isinstance(raw, list | tuple):
        return "[" + ",".join(map(as_json, raw)) + "]"
    return raw.isoformat() if isinstance(raw, datetime) else _quoted(str(raw))


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'
