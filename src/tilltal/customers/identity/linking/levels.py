"""Levels of agreement of two values, once as SQL for Splink on DuckDB and once as Python for single records.

A level is a number: 0 is the first, the values are the same; the last is that they differ. A missing value is
no evidence and has no level. Both forms must give the same level for any two values; tests hold them so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from tilltal.customers.identity.linking.similarity import is_within_one_slip, jaro_winkler
from tilltal.workspace.definitions.identity import Comparison

# Similarities are fractions of small whole numbers: a hair below .92 and .8, no rounding can matter.
_CLOSE, _ALIKE = 0.9199999, 0.7999999
_BEGINNING = 3
_MONTH, _DAY, _DATE = 4, 6, 8  # where month and day begin in YYYYMMDD, and its length

Alike = Callable[[str, str], bool]


class Level(msgspec.Struct, frozen=True):
    """One level: its name, its condition over `a` and `b` in SQL, and the same in Python."""

    name: str
    sql: str
    test: Alike


def levels_of(kind: Comparison) -> tuple[Level, ...]:
    """Return the levels between `same` and `different` of a kind of comparison, best first."""
    return _BETWEEN[kind]


def level_names(kind: Comparison) -> tuple[str, ...]:
    """Return the names of all levels, `same` first, `different` last."""
    return ("same", *(level.name for level in _BETWEEN[kind]), "different")


def level(kind: Comparison, a: str, b: str) -> int:
    """Return the level of two values that are not missing."""
    if a == b:
        return 0
    between = _BETWEEN[kind]
    for number, one in enumerate(between, start=1):
        if one.test(a, b):
            return number
    return len(between) + 1


def _is_close(a: str, b: str) -> bool:
    return jaro_winkler(a, b) >= _CLOSE


def _is_alike(a: str, b: str) -> bool:
    return jaro_winkler(a, b) >= _ALIKE


def _is_same_beginning(a: str, b: str) -> bool:
    return a[:_BEGINNING] == b[:_BEGINNING]


def _is_same_mailbox(a: str, b: str) -> bool:
    return a.partition("@")[0] == b.partition("@")[0]


def _is_same_in_parts(a: str, b: str) -> bool:
    """True for dates with two of year, month and day the same, or with day and month swapped."""
    if len(a) != _DATE or len(b) != _DATE:
        return False
    year, month, day = a[:_MONTH] == b[:_MONTH], a[_MONTH:_DAY] == b[_MONTH:_DAY], a[_DAY:] == b[_DAY:]
    is_swapped = year and a[_MONTH:_DAY] == b[_DAY:] and a[_DAY:] == b[_MONTH:_DAY]
    return is_swapped or year + month + day > 1


_PARTS_SQL = (
    "length(a) = 8 AND length(b) = 8 AND ("
    "(left(a, 4) = left(b, 4) AND substr(a, 5, 2) = substr(b, 7, 2) AND substr(a, 7, 2) = substr(b, 5, 2))"
    " OR CAST(left(a, 4) = left(b, 4) AS INTEGER) + CAST(substr(a, 5, 2) = substr(b, 5, 2) AS INTEGER)"
    " + CAST(substr(a, 7, 2) = substr(b, 7, 2) AS INTEGER) > 1)"
)
_SLIP = Level("one slip", "damerau_levenshtein(a, b) <= 1", is_within_one_slip)
_CLOSELY = Level("close", f"jaro_winkler_similarity(a, b) >= {_CLOSE}", _is_close)

_BETWEEN: Mapping[Comparison, tuple[Level, ...]] = {
    "name": (_CLOSELY, Level("alike", f"jaro_winkler_similarity(a, b) >= {_ALIKE}", _is_alike)),
    "date": (_SLIP, Level("parts", _PARTS_SQL, _is_same_in_parts)),
    "number": (_SLIP,),
    "postcode": (
        _SLIP,
        Level("same beginning", f"left(a, {_BEGINNING}) = left(b, {_BEGINNING})", _is_same_beginning),
    ),
    "email": (
        Level("same mailbox", "split_part(a, '@', 1) = split_part(b, '@', 1)", _is_same_mailbox),
        _CLOSELY,
    ),
    "exact": (),
}
