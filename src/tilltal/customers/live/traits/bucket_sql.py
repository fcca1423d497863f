"""States of many fragments at once: SQL over all events gives the columns of every family's buckets.

What windows cannot reach as of the clock is left out or folded, as pruned states have it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from tilltal.core.names import quote
from tilltal.core.time import Unit, sql_timestamp
from tilltal.customers.lifecycle.days import local_day_sql
from tilltal.customers.live.traits.buckets import (
    BEFORE,
    BEGINNING,
    Layout,
    TraitState,
    encoded_buckets,
    reach_of,
)
from tilltal.customers.live.traits.event_routes import condition_of
from tilltal.customers.live.traits.families import Family, Need
from tilltal.customers.live.traits.live_traits import LiveTraits
from tilltal.customers.live.traits.local_days import LocalDays, instant_of, micros
from tilltal.customers.live.traits.partials import QUARTER, flat, key_of_any
from tilltal.customers.traits.columns import FieldReader
from tilltal.customers.traits.compiled import CompiledTrait
from tilltal.customers.traits.schema import Schemas, field_type
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression
from tilltal.rules.types import Type

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_STAMPED = "{'at': instant, 'received': received, 'id': id, 'value': value}"
_NUMERIC = frozenset(("numbers", "sum", "least", "most"))
_Read = Callable[[Any], Any]
_TAKE: Mapping[Need, str] = {
    "count": "COUNT(*)",
    "numbers": "COUNT(number)",
    "sum": "COALESCE(SUM(number), 0)",
    "least": "MIN(number)",
    "most": "MAX(number)",
    "first": f"MIN({_STAMPED})",
    "last": f"MAX({_STAMPED})",
    "latest": "MAX(instant)",
    "keys": "LIST(DISTINCT value)",
    "quarters": f"LIST(DISTINCT instant // {QUARTER})",
}


class BucketQuery(msgspec.Struct, frozen=True):
    """One `SELECT` of a family: the key, then lists of equal length, a column of buckets each.

    `family` is its index; the lists are its days and their parts, or its occurrences and what goes with them.
    """

    family: int
    is_of_days: bool
    sql: str


def bucket_sql(
    live: LiveTraits, schemas: Schemas, clock: Clock, key: str, where: str = "TRUE"
) -> tuple[BucketQuery, ...]:
    """Return what fills the states of many fragments, over the views `"event.<type>"`.

    Args:
        live: The traits.
        schemas: The event types.
        clock: An instant not before any event of the views.
        key: The integer column that tells fragments apart.
        where: A condition that takes some keys only, so that `packed` need not hold all at once.
    """
    days, now = LocalDays(clock.zone), micros(clock.now)
    queries = []
    for index, family in enumerate(live.families):
        source = _Source(family, schemas, clock, f"{quote(key)} AS key", where)
        first_day, first_at = reach_of(family, now, days)
        if family.has_days:
            queries.append(BucketQuery(index, True, source.of_days(first_day, days)))
        if family.has_occurrences:
            queries.append(BucketQuery(index, False, source.of_occurrences(first_at)))
    return tuple(queries)


def packed(
    live: LiveTraits, schemas: Schemas, answers: Iterable[tuple[BucketQuery, Iterable[Sequence[Any]]]]
) -> dict[int, bytes]:
    """Return the encoded state of every key, given the rows of all queries."""
    layouts = [Layout(family) for family in live.families]
    states: dict[int, TraitState] = {}
    for query, rows in answers:
        fill = _Filling(layouts[query.family], schemas, query)
        for key, index, *columns in rows:
            state = states.get(key)
            if state is None:
                states[key] = state = live.empty()
            fill(state, index, columns)
    return {key: live.encode(state) for key, state in states.items()}


class _Filling:
    """Puts the rows of one query into states: as bytes at once, for millions of lists are slow to keep."""

    def __init__(self, layout: Layout, schemas: Schemas, query: BucketQuery) -> None:
        self._layout, self._query = layout, query
        self._read = _columns(layout, schemas, is_of_days=query.is_of_days)

    def __call__(self, state: TraitState, index: list[int], columns: Sequence[list[Any]]) -> None:
        """Fill a family's days or its occurrences."""
        family = self._query.family
        buckets = self._layout.opened(state, family)
        filled = [read(column) for read, column in zip(self._read, columns, strict=True)]
        if self._query.is_of_days:
            buckets.days, buckets.parts = index, filled
        else:
            buckets.ats, buckets.kept = index, filled
        state.slots[family] = encoded_buckets(buckets)


class _Source:
    """One family's events in SQL: key, instants in microseconds, day, id and what is measured."""

    def __init__(self, family: Family, schemas: Schemas, clock: Clock, key: str, where: str) -> None:
        self._family, self._schemas, self._clock = family, schemas, clock
        self._key, self._where = key, where
        condition = condition_of(family, schemas)
        self._trait = CompiledTrait(
            name="",
            measure="count",
            types=family.types,
            of=family.of,
            of_type=family.of_type,
            divisor=family.divisor,
            where=None if _reads_clock(condition) else condition,
            where_text=family.where,
            window=None,
            unit=Unit.DAYS,
            type=Type.INTEGER,
        )

    def of_days(self, first_day: int, days: LocalDays) -> str:
        """Return a family's days, from a first one on; all before is one where all of time is read."""
        family = self._family
        local = f"{local_day_sql(quote('at'), self._clock.zone, self._clock.now)} + {_EPOCH_DAY}"
        since = "TRUE"
        if not family.is_daily:
            local = str(BEFORE)
        elif first_day != BEFORE:
            since = f"{quote('at')} >= {sql_timestamp(instant_of(days.start(first_day)))}"
            if family.is_endless:
                local, since = f"CASE WHEN {since} THEN {local} ELSE {BEFORE} END", "TRUE"
        taken = ", ".join(f"{_TAKE[need]} AS n{place}" for place, need in enumerate(family.needs))
        lists = ", ".join(f"LIST(n{place} ORDER BY day)" for place in range(len(family.needs)))
        events = self._events(since, f"{local} AS day")
        return (
            f"SELECT key, LIST(day ORDER BY day), {lists} FROM ("
            f"SELECT key, day, {taken} FROM ({events}) AS events GROUP BY key, day) AS days GROUP BY key"
        )

    def of_occurrences(self, first_at: int) -> str:
        """Return a family's occurrences from an instant on, in the order of events."""
        family = self._family
        since = f"{quote('at')} >= {sql_timestamp(instant_of(first_at))}" if first_at != BEGINNING else "TRUE"
        names = ["received", "id"] if family.has_stamps else []
        names += ["value"] if family.of is not None else []
        names += [f"f{place}" for place in range(len(family.fields))]
        lists = "".join(f", LIST({name} ORDER BY instant, received, id)" for name in names)
        return (
            f"SELECT key, LIST(instant ORDER BY instant, received, id){lists} "
            f"FROM ({self._events(since)}) AS events GROUP BY key"
        )

    def _events(self, since: str, *columns: str) -> str:
        return " UNION ALL ".join(self._of_type(name, since, columns) for name in self._family.types)

    def _of_type(self, event_type: str, since: str, columns: Sequence[str]) -> str:
        family, reader = self._family, FieldReader(self._trait, event_type, self._schemas)
        conditions = [self._where, since, reader.condition(self._clock)]
        taken = [
            self._key,
            f"EPOCH_US({quote('at')}) AS instant",
            "EPOCH_US(received) AS received",
            "CAST(event_id AS VARCHAR) AS id",
            *columns,
        ]
        if family.of is not None:
            conditions.append(f"{reader.value()} IS NOT NULL")
            kind = Type.INTEGER if family.divisor is not None else family.of_type
            taken.append(f"{_flat(reader.value(), kind)} AS value")
            if not _NUMERIC.isdisjoint(family.needs):
                taken.append(f"{reader.number()} AS number")
        taken += [f"{each} AS f{place}" for place, each in enumerate(self._fields(event_type))]
        stated = " AND ".join(f"({condition})" for condition in conditions if condition)
        return f"SELECT {', '.join(taken)} FROM {quote('event.' + event_type)} WHERE {stated}"

    def _fields(self, event_type: str) -> Iterator[str]:
        """Yield how each kept field is seen, as state holds it."""
        types = [self._schemas[name] for name in self._family.types]
        for name in self._family.fields:
            kind = field_type(name, types)
            trait = msgspec.structs.replace(self._trait, of=name, of_type=kind, divisor=None)
            yield _flat(FieldReader(trait, event_type, self._schemas).value(), kind)


def _reads_clock(condition: Expression | None) -> bool:
    return condition is not None and bool(condition.functions & {"NOW", "TODAY"})


def _flat(value: str, kind: Type | None) -> str:
    """Return SQL for a value as state holds it; JSON scalars are read in Python."""
    if kind is Type.DATE:
        return f"(CAST({value} - DATE '1970-01-01' AS INTEGER) + {_EPOCH_DAY})"
    return f"EPOCH_US({value})" if kind is Type.TIMESTAMP else value


def _columns(layout: Layout, schemas: Schemas, *, is_of_days: bool) -> list[_Read]:
    """Return how each list of a query's rows becomes a column of buckets."""
    family = layout.family
    read = _read_json if family.of_type is Type.ANY else _as_is
    if is_of_days:
        return [_of_need(need, family, read) for need in family.needs]
    types = [schemas[name] for name in family.types]
    kinds = [field_type(name, types) for name in family.fields]
    plain: list[_Read] = [_as_is] * layout.fields
    if layout.values is not None and family.of_type is Type.ANY:
        plain[layout.values] = _each(_read_json)
    return [*plain, *(_each(_read_json) if kind is Type.ANY else _as_is for kind in kinds)]


def _of_need(need: Need, family: Family, read: _Read) -> _Read:
    match need:
        case "first" | "last":
            return _each(lambda each: [each["at"], each["received"], each["id"], read(each["value"])])
        case "keys" if family.of_type is Type.ANY:
            return _each(lambda values: dict.fromkeys(key_of_any(read(value)) for value in values))
        case "keys" | "quarters":
            return _each(dict.fromkeys)
        case "sum" if family.of_type is Type.INTEGER or family.divisor is not None:
            return _each(flat)  # may exceed 64 bits
    return _as_is


def _as_is(value: Any) -> Any:
    return value


def _each(read: _Read) -> _Read:
    return lambda column: [read(value) for value in column]


def _read_json(text: str | None) -> object:
    return None if text is None else flat(json.loads(text))
