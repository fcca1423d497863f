"""Partial aggregates: how each begins with one occurrence, how two become one, how many are read at once.

All are commutative and associative, so neither the order of events nor their split over fragments matters.
They are what MessagePack holds: dates are ordinals and instants microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from operator import add
from typing import Any

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


def lifts_of(family: Family) -> tuple[Lift, ...]:
    """Return how each need of a family begins with one occurrence."""
    lifts = {**_LIFT, **_LIFT_ANY} if family.of_type is Type.ANY else _LIFT
    return tuple(lifts[need] for need in family.needs)


def _one(value: object, at: int, received: int, event_id: str) -> int:
    return 1


def _itself(value: Any, at: int, received: int, event_id: str) -> Any:
    return value


def _stamped(value: object, at: int, received: int, event_id: str) -> list[object]:
    return [at, received, event_id, value]


def _at(value: object, at: int, received: int, event_id: str) -> int:
    return at


def _key(value: object, at: int, received: int, event_id: str) -> dict[object, None]:
    return {value: None}


def _quarter(value: object, at: int, received: int, event_id: str) -> dict[int, None]:
    return {at // QUARTER: None}


def _number(value: object, at: int, received: int, event_id: str) -> float | None:
    return next(iter(numbers_in((value,), as_floats=True)), None)


def _one_number(value: object, at: int, received: int, event_id: str) -> int:
    return len(numbers_in((value,), as_floats=True))


def _number_or_0(value: object, at: int, received: int, event_id: str) -> float:
    return sum(numbers_in((value,), as_floats=True))


def _key_of_any(value: object, at: int, received: int, event_id: str) -> dict[object, None]:
    return {key_of_any(value): None}


_LIFT: Mapping[Need, Lift] = {
    "count": _one,
    "numbers": _one,
    "sum": _itself,
    "least": _itself,
    "most": _itself,
    "first": _stamped,
    "last": _stamped,
    "latest": _at,
    "keys": _key,
    "quarters": _quarter,
}
_LIFT_ANY: Mapping[Need, Lift] = {
    "numbers": _one_number,
    "sum": _number_or_0,
    "least": _number,
    "most": _number,
    "keys": _key_of_any,
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
