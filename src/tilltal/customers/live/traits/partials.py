"""Partial aggregates: how each begins with one occurrence, how two become one, how many are read at once.

All are commutative and associative, so neither the order of events nor their split over fragments matters.
They are what MessagePack holds: dates are ordinals and instants microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from operator import add
from typing import Any, cast

import msgspec

from tilltal.core.instants import instant_of, micros
from tilltal.customers.live.traits.families import Family, Need
from tilltal.customers.traits.values import numbers_in
from tilltal.rules.types import LARGEST_INTEGER, SMALLEST_INTEGER, Type

QUARTER = 900_000_000
"""A quarter of an hour in microseconds."""
Lift = Callable[[Any, int, int, str], Any]  # of a flat value, at, received and event id


class Stamped(msgspec.Struct, frozen=True):
    """The value of one event, with what orders events: instants in microseconds."""

    at: int
    received: int
    event_id: str
    value: object


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one day; what the family does not need is 0, None or empty.

    `count` counts events, or values where a field is measured; `numbers` those that are numbers, which `sum`,
    `least` and `most` are taken of (money in minor units); `latest` is an instant; `keys` tell values apart.
    `quarters` are the quarters of an hour, counted from 1970 UTC, in which anything happened.
    """

    count: int = 0
    numbers: int = 0
    sum: float = 0
    least: float | None = None
    most: float | None = None
    first: Stamped | None = None
    last: Stamped | None = None
    latest: int | None = None
    keys: frozenset[object] = frozenset()
    quarters: frozenset[int] = frozenset()


def flat(value: object) -> object:
    """Return a field's value as state holds it."""
    if isinstance(value, datetime):
        return micros(value)
    if isinstance(value, date):
        return value.toordinal()
    if type(value) is int and not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        return float(value)
    return value


def restored(value: object, kind: Type | None) -> object:
    """Return the field's value of a flat one."""
    if kind is Type.DATE and isinstance(value, int):
        return date.fromordinal(value)
    if kind is Type.TIMESTAMP and isinstance(value, int):
        return instant_of(value).replace(tzinfo=None)
    return value


def key_of_any(value: object) -> object:
    """Return a text or number that tells JSON scalars apart: 1 and 1.0 are one, 1, true and '1' are three."""
    if isinstance(value, str):
        return f"'{value}"
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return value


def lift_words(family: Family) -> tuple[str, ...]:
    """Return how each need of a family begins with one occurrence, as Python's words.

    They know its `value`, `at`, `received` and `event_id`, and what `WORDS_SCOPE` holds.
    """
    words = {**_LIFT, **_LIFT_ANY} if family.of_type is Type.ANY else _LIFT
    return tuple(words[need] for need in family.needs)


def lifts_of(family: Family) -> tuple[Lift, ...]:
    """Return the functions that `lift_words` tells."""
    return tuple(_lift(words) for words in lift_words(family))


@cache
def _lift(words: str) -> Lift:
    text = f"lambda value, at, received, event_id: {words}"
    return cast("Lift", eval(text, dict(WORDS_SCOPE)))  # noqa: S307  # words of this file


def _numbers(value: object) -> list[float]:
    return numbers_in((value,), as_floats=True)


WORDS_SCOPE: Mapping[str, object] = {"QUARTER": QUARTER, "numbers": _numbers, "key_of_any": key_of_any}
_LIFT: Mapping[Need, str] = {
    "count": "1",
    "numbers": "1",
    "sum": "value",
    "least": "value",
    "most": "value",
    "first": "[at, received, event_id, value]",
    "last": "[at, received, event_id, value]",
    "latest": "at",
    "keys": "{value: None}",
    "quarters": "{at // QUARTER: None}",
}
_LIFT_ANY: Mapping[Need, str] = {
    "numbers": "len(numbers(value))",
    "sum": "sum(numbers(value))",
    "least": "next(iter(numbers(value)), None)",
    "most": "next(iter(numbers(value)), None)",
    "keys": "{key_of_any(value): None}",
}


def _added(one: float, other: float) -> float:
    total = one + other
    if type(total) is int and not SMALLEST_INTEGER <= total <= LARGEST_INTEGER:
        return float(total)
    return total


def _least(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


def _most(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)


def _united(one: Mapping[object, None], other: Mapping[object, None]) -> Mapping[object, None]:
    return one if other.keys() <= one.keys() else {**one, **other}


MERGE: Mapping[Need, Callable[[Any, Any], Any]] = {
    "count": add,
    "numbers": add,
    "sum": _added,
    "least": _least,
    "most": _most,
    "first": min,
    "last": max,
    "latest": max,
    "keys": _united,
    "quarters": _united,
}


def _chosen(choose: Callable[[list[float]], float]) -> Callable[[Sequence[float | None]], float | None]:
    def chosen(column: Sequence[float | None]) -> float | None:
        numbers = [number for number in column if number is not None]
        return choose(numbers) if numbers else None

    return chosen


def _different(column: Sequence[Mapping[object, None]]) -> int:
    return len(column[0]) if len(column) == 1 else len(set().union(*column))


# What a column of at least one partial aggregate says together; of keys and quarters, how many there are.
FOLD: Mapping[Need, Callable[[Sequence[Any]], Any]] = {
    "count": sum,
    "numbers": sum,
    "sum": sum,
    "least": _chosen(min),
    "most": _chosen(max),
    "first": min,
    "last": max,
    "latest": max,
    "keys": _different,
    "quarters": _different,
}


def partial_of(family: Family, parts: Mapping[Need, Any]) -> Partial:
    """Return one day's partial aggregates by name."""

    def stamped(need: Need) -> Stamped | None:
        if need not in parts:
            return None
        at, received, event_id, value = parts[need]
        return Stamped(at, received, event_id, restored(value, family.of_type))

    return Partial(
        count=parts.get("count", 0),
        numbers=parts.get("numbers", 0),
        sum=parts.get("sum", 0),
        least=parts.get("least"),
        most=parts.get("most"),
        first=stamped("first"),
        last=stamped("last"),
        latest=parts.get("latest"),
        keys=frozenset(parts.get("keys", ())),
        quarters=frozenset(parts.get("quarters", ())),
    )
