"""Traits in SQL and in Python agree, for random traits over random histories of many customers at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilltal.core.names import quote
from tilltal.core.time import sql_timestamp, utc_naive
from tilltal.customers.traits.batch import trait_plan
from tilltal.customers.traits.compiled import CompiledTrait, compile_traits
from tilltal.customers.traits.online import Evaluator, Event
from tilltal.customers.traits.schema import EventType
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Measure, Trait

ZONE = ZoneInfo("Europe/Stockholm")
FIELDS = {
    "amount": Type.NUMBER,  # money
    "price": Type.NUMBER,
    "pieces": Type.INTEGER,
    "city": Type.TEXT,
    "is_open": Type.BOOLEAN,
    "due": Type.DATE,
    "seen": Type.TIMESTAMP,
    "anything": Type.ANY,
}
SCHEMAS = {
    "buy": EventType(FIELDS, {"amount": 100}),
    "look": EventType(FIELDS, {"amount": 100}),
    "call": EventType({"pieces": Type.NUMBER, "city": Type.TEXT, "amount": Type.NUMBER}),
}
STORED = {
    Type.NUMBER: pa.float64(),
    Type.INTEGER: pa.int64(),
    Type.TEXT: pa.string(),
    Type.BOOLEAN: pa.bool_(),
    Type.DATE: pa.date32(),
    Type.TIMESTAMP: pa.timestamp("us"),
    Type.ANY: pa.string(),
}
Unit = Literal["seconds", "minutes", "hours", "days"]
MEASURES: tuple[Measure, ...] = (
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "first",
    "last",
    "distinct",
    "recency",
    "exists",
)
NUMERIC = ("amount", "price", "pieces", "anything")
CONDITIONS = (
    None,
    "amount > 2.5",
    "amount >= 1 AND city = 'Umeå'",
    "city NOT IN ('Oslo', 'umeå')",
    "NOT (pieces > 1)",
    "city LIKE 'U%' OR amount / pieces < 1",
    "amount IS NULL OR pieces BETWEEN 1 AND 2",
)
OWN_CONDITIONS = (
    "anything > 1",
    "anything = 'x' OR is_open",
    "due < TODAY()",
    "seen <= NOW() AND price > 0",
)  # fields that calls lack
# Days of 23 and 25 hours, the year's change, a plain afternoon, and midnight itself.
NOWS = (
    datetime(2026, 3, 29, 10, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 22, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 10, 26, 0, 30, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 0, tzinfo=UTC),
    datetime(2026, 6, 17, 13, 45, 12, 345_678, tzinfo=UTC),
)
WINDOWS = ("30 seconds", "5 minutes", "1 hour", "25 hours", "1 day", "2 days", "7 days", "1 month", "2 weeks")


@st.composite
def _traits(draw: st.DrawFn) -> dict[str, Trait]:
    """Draw related traits: families over shared fields, each in several windows."""
    made: dict[str, Trait] = {}
    for number in range(draw(st.integers(1, 5))):
        from_ = tuple(draw(st.lists(st.sampled_from(sorted(SCHEMAS)), min_size=1, max_size=3, unique=True)))
        measure = draw(st.sampled_from(MEASURES))
        shared = [name for name in FIELDS if all(name in SCHEMAS[kind].fields for kind in from_)]
        names = [name for name in shared if name != "amount" or "call" not in from_ or from_ == ("call",)]
        usable = (
            [name for name in names if name in NUMERIC] if measure in ("sum", "avg", "min", "max") else names
        )
        needs_field = measure not in ("count", "exists", "recency")
        of = draw(st.sampled_from(usable)) if needs_field or draw(st.booleans()) else None
        conditions = CONDITIONS if "call" in from_ else CONDITIONS + OWN_CONDITIONS
        base = Trait(
            measure=measure,
            of=of,
            from_=from_,
            where=draw(st.sampled_from(conditions)),
            unit=draw(st.sampled_from(("seconds", "minutes", "hours", "days"))),
        )
        for index, window in enumerate(
            draw(st.lists(st.sampled_from((None, *WINDOWS)), min_size=1, max_size=4))
        ):
            made[f"t{number}_{index}"] = msgspec.structs.replace(base, window=window)
    return made


def _bounds(now: datetime) -> list[datetime]:
    """Return the instants where windows begin, where mistakes would show."""
    midnight = datetime.combine(now.astimezone(ZONE).date(), datetime.min.time(), ZONE)
    days = [midnight.replace(tzinfo=None) - timedelta(days=days) for days in (0, 1, 2, 6, 13, 27, 30)]
    elapsed = [now - timedelta(seconds=seconds) for seconds in (0, 30, 300, 3600, 25 * 3600)]
    return elapsed + [day.replace(tzinfo=ZONE).astimezone(UTC) for day in days]


def _event(random: Random, now: datetime, number: int) -> Event:
    near = random.choice(_bounds(now)) + timedelta(microseconds=random.choice((-1, 0, 0, 1)))
    at = near if random.random() < 0.6 else now - timedelta(seconds=random.randrange(-7200, 40 * 86400))
    late = timedelta(seconds=random.choice((0, 0, 0, 1, 3600, 90_000)))
    kind = random.choice(sorted(SCHEMAS))
    values: Mapping[str, object] = {
        "amount": random.randrange(-200, 1000) if kind != "call" else random.randrange(-8, 40) / 4,
        "price": random.randrange(-8, 40) / 4,
        "pieces": random.randrange(-1, 4),
        "city": random.choice(("Umeå", "umeå", "Oslo", "")),
        "is_open": random.random() < 0.5,
        "due": (now + timedelta(days=random.randrange(-2, 3))).date(),
        "seen": utc_naive(near),
        "anything": random.choice((1, 1.0, 2.5, -3, "1", "x", "true", True, False, 0, "")),
    }
    known = {name: value for name, value in values.items() if name in SCHEMAS[kind].fields}
    if kind == "call":
        known["pieces"] = float(str(known["pieces"]))
    return Event(
        type=kind,
        at=at,
        received=at + late,
        event_id=str(UUID(int=number)),
        fields={name: value for name, value in known.items() if random.random() < 0.8},
    )


def _histories(seed: int, now: datetime, customers: int) -> list[list[Event]]:
    random = Random(seed)
    histories = []
    for customer in range(customers):
        events = [
            _event(random, now, customer * 1000 + number) for number in range(random.choice((0, 1, 3, 10)))
        ]
        twins = [event for event in events if random.random() < 0.3]
        for number, event in enumerate(twins):  # the same instant, other values
            other = _event(random, now, customer * 1000 + 500 + number)
            events.append(msgspec.structs.replace(other, at=event.at, received=event.received))
        random.shuffle(events)
        histories.append(events)
    return histories


def _stored(value: object, kind: Type) -> object:
    return json.dumps(value, ensure_ascii=False) if kind is Type.ANY and value is not None else value


def _table(histories: list[list[Event]], name: str) -> pa.Table:
    rows = [
        (number, event) for number, events in enumerate(histories) for event in events if event.type == name
    ]
    arrays = {
        "profile": pa.array([number for number, _ in rows], pa.int64()),
        "event_id": pa.array([event.event_id for _, event in rows], pa.string()),
        "at": pa.array([utc_naive(event.at) for _, event in rows], pa.timestamp("us")),
        "received": pa.array([utc_naive(event.received) for _, event in rows], pa.timestamp("us")),
    }
    for field, kind in SCHEMAS[name].fields.items():
        stored = pa.int64() if field in SCHEMAS[name].money else STORED[kind]
        arrays[field] = pa.array([_stored(event.fields.get(field), kind) for _, event in rows], stored)
    return pa.table(arrays)


def _in_sql(
    engine: DuckDBEngine, traits: tuple[CompiledTrait, ...], histories: list[list[Event]], clock: Clock
) -> list[dict[str, object]]:
    now = sql_timestamp(clock.now)
    engine.register("spine", pa.table({"profile": pa.array(range(len(histories)), pa.int64())}))
    for name in SCHEMAS:
        engine.register(f"all.{name}", _table(histories, name))
        engine.run(
            f"CREATE OR REPLACE VIEW {quote(f'event.{name}')} AS "
            f"SELECT * REPLACE (event_id::UUID AS event_id) "
            f'FROM {quote(f"all.{name}")} WHERE received <= {now} AND "at" <= {now}'
        )
    plan = trait_plan(traits, SCHEMAS, clock)
    for step in plan.steps:
        engine.run(f"CREATE OR REPLACE TEMP TABLE {quote(step.name)} AS {step.sql}")
    rows = engine.rows(f"SELECT * FROM ({plan.select}) ORDER BY profile")
    for step in plan.steps:
        engine.run(f"DROP TABLE {quote(step.name)}")
    return [
        {trait.name: _read(value, trait.type) for trait, value in zip(traits, row[1:], strict=True)}
        for row in rows
    ]


def _read(value: object, kind: Type) -> object:
    return json.loads(value) if kind is Type.ANY and isinstance(value, str) else value


def _typed(values: Mapping[str, object]) -> dict[str, tuple[type, object]]:
    """Keep True, 1 and 1.0 apart."""
    return {name: (type(value), value) for name, value in values.items()}


def compare(
    engine: DuckDBEngine, traits: Mapping[str, Trait], seed: int, now: datetime, customers: int
) -> int:
    """Evaluate both ways; return the number of cells compared."""
    compiled, clock = compile_traits(traits, SCHEMAS), Clock(now, ZONE)
    histories = _histories(seed, now, customers)
    evaluator = Evaluator(compiled, SCHEMAS)
    in_sql = _in_sql(engine, compiled, histories, clock)
    for events, values in zip(histories, in_sql, strict=True):
        assert _typed(values) == _typed(evaluator.evaluate(events, clock))
    return len(in_sql) * len(compiled)


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as opened:
        yield opened


def _every_trait() -> dict[str, Trait]:
    """Each measure of each field that fits it, in all windows, under conditions in turn."""
    fields = {
        measure: NUMERIC if measure in ("sum", "avg", "min", "max") else tuple(FIELDS) for measure in MEASURES
    }
    optional: dict[Measure, tuple[None, ...]] = {"count": (None,), "exists": (None,), "recency": (None,)}
    units: tuple[Unit, ...] = ("seconds", "minutes", "hours", "days")
    made: dict[str, Trait] = {}
    for measure in MEASURES:
        for number, of in enumerate((*optional.get(measure, ()), *fields[measure])):
            conditions = CONDITIONS + OWN_CONDITIONS
            for index, window in enumerate((None, *WINDOWS)):
                made[f"{measure}_{of}_{index}"] = Trait(
                    measure=measure,
                    of=of,
                    from_=("buy", "look") if number % 2 else ("buy",),
                    where=conditions[number % len(conditions)],
                    window=window,
                    unit=units[index % len(units)],
                )
    return made


@pytest.mark.parametrize("now", NOWS)
def test_every_measure_field_and_window_in_sql_equals_python(engine: DuckDBEngine, now: datetime) -> None:
    assert compare(engine, _every_trait(), seed=7, now=now, customers=25)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(traits=_traits(), seed=st.integers(0, 10**6), now=st.sampled_from(NOWS))
def test_sql_equals_python(engine: DuckDBEngine, traits: dict[str, Trait], seed: int, now: datetime) -> None:
    assert compare(engine, traits, seed, now, customers=60)


@pytest.mark.slow
def test_sql_equals_python_in_half_a_million_cells(engine: DuckDBEngine) -> None:
    cells = 0

    @settings(max_examples=250, deadline=None, derandomize=True)
    @given(traits=_traits(), seed=st.integers(0, 10**9), now=st.sampled_from(NOWS))
    def many(traits: dict[str, Trait], seed: int, now: datetime) -> None:
        nonlocal cells
        cells += compare(engine, traits, seed, now, customers=400)

    many()
    assert cells > 500_000
