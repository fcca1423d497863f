"""Attributes, consents and holdings kept live, split and in any order, equal the batch SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Literal, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilltal.core.names import quote
from tilltal.core.time import sql_timestamp, utc_naive
from tilltal.customers.consents import consents_sql
from tilltal.customers.holdings import holdings_sql
from tilltal.customers.live.facts.consent_answers import ConsentFact, ConsentPlan, ConsentState
from tilltal.customers.live.facts.holding_facts import HoldingFact, HoldingPlan, HoldingState
from tilltal.customers.live.facts.records import RecordFact, RecordPlan, RecordState
from tilltal.customers.profiles import RecordSource, attributes_sql
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.policies import Purpose
from tilltal.workspace.definitions.profile import Attribute, Profile

ZONE = ZoneInfo("Europe/Stockholm")
FIRST = datetime(2024, 9, 20, tzinfo=UTC)
SPAN_DAYS = 490
# Plain days, the first of a month, a Monday, and the days around both changes of the clocks.
NOWS = (
    datetime(2025, 1, 31, 23, 30, tzinfo=UTC),
    datetime(2025, 3, 30, 0, 59, 59, 999_999, tzinfo=UTC),
    datetime(2025, 10, 26, 23, 30, tzinfo=UTC),
    datetime(2026, 1, 31, 22, 30, tzinfo=UTC),
)


State = TypeVar("State")


def states_of(facts: int, chance: Random) -> list[int]:
    """Return a fragment for each fact."""
    fragments = chance.choice((1, 2, 3))
    return [chance.randrange(fragments) for _ in range(facts)]


def stored(state: State, kind: type[State]) -> State:
    """Return a state as it comes back from the store."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=kind)


def run(
    engine: DuckDBEngine, name: str, rows: Sequence[Mapping[str, object]], kinds: Mapping[str, pa.DataType]
) -> None:
    engine.register(
        name, pa.Table.from_pylist([dict(row) for row in rows], schema=pa.schema(list(kinds.items())))
    )


def answers(engine: DuckDBEngine, sql: str, customers: int) -> list[dict[str, object]]:
    run(engine, "spine", [{"profile": number} for number in range(customers)], {"profile": pa.int64()})
    relation = engine.connection.sql(f"SELECT * FROM ({sql}) ORDER BY profile")
    return [dict(zip(relation.columns[1:], row[1:], strict=True)) for row in relation.fetchall()]


def typed(values: Mapping[str, object]) -> dict[str, tuple[type, object]]:
    """Keep True, 1 and 1.0 apart."""
    return {name: (type(value), value) for name, value in values.items()}


def known(now: datetime, *, at: bool = True) -> str:
    moment = sql_timestamp(now)
    return f"received <= {moment}" + (f' AND "at" <= {moment}' if at else "")


# --- attributes ----------------------------------------------------------------------------------------

SOURCES = (
    RecordSource(name="crm", fields={"city": "text", "income": "money", "age": "integer", "since": "date"}),
    RecordSource(name="app", fields={"city": "text", "age": "number", "since": "date", "is_on": "boolean"}),
    RecordSource(
        name="web", fields={"city": "text", "income": "money", "seen": "timestamp", "age": "integer"}
    ),
)
RECORD_KINDS = {
    "text": pa.string(),
    "money": pa.int64(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
STAMPS = {"event_id": pa.string(), "at": pa.timestamp("us"), "received": pa.timestamp("us")}


def instants(chance: Random) -> tuple[datetime, datetime]:
    at = FIRST + timedelta(hours=chance.randrange(6) * 12)
    return at, at + timedelta(hours=chance.choice((0, 0, 1, 24)))


def value_of(kind: str, chance: Random) -> object:
    if chance.random() < 0.3:
        return None
    number = chance.randrange(-3, 4)
    match kind:
        case "text":
            return chance.choice(("Umeå", "Lund", ""))
        case "number":
            return number / 4
        case "boolean":
            return number > 0
        case "date":
            return date(1990, 5, 8) + timedelta(days=number)
        case "timestamp":
            return datetime(1969, 12, 31, 23, 59, 59, 999_999) + timedelta(days=number)
        case _:
            return number * 101


def records(chance: Random) -> list[RecordFact]:
    made = []
    for _ in range(chance.choice((0, 1, 3, 8))):
        source, (at, received) = chance.choice(SOURCES), instants(chance)
        fields = {name: value_of(kind, chance) for name, kind in source.fields.items()}
        event_id = str(UUID(int=chance.getrandbits(128)))
        made.append(
            RecordFact(source=source.name, at=at, received=received, event_id=event_id, fields=fields)
        )
    return made


def sources_of(chance: Random) -> tuple[RecordSource, ...]:
    """Return the sources, some of them partial."""
    return tuple(
        RecordSource(name=one.name, fields=one.fields, is_partial=chance.random() < 0.5) for one in SOURCES
    )


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    attributes = {}
    for name in ("city", "income", "age", "since"):
        holders = [source.name for source in SOURCES if name in source.fields]
        if draw(st.booleans()):
            listed = draw(st.permutations(holders))[: draw(st.integers(0, len(holders)))]
            policies: tuple[Literal["latest", "precedence"], ...] = ("latest", "precedence")
            policy = draw(st.sampled_from(policies))
            attributes[name] = Attribute(policy=policy, sources=tuple(listed))
    return Profile(attributes=attributes)


def compare_records(engine: DuckDBEngine, profile: Profile, seed: int, customers: int) -> int:
    chance, now = Random(seed), FIRST + timedelta(hours=12 * (seed % 7))
    sources = sources_of(chance)
    plan = RecordPlan(sources, profile, "SEK")
    made = [records(chance) for _ in range(customers)]
    for source in SOURCES:
        rows = [
            {"profile": number, "event_id": one.event_id, "at": utc_naive(one.at)}
            | {"received": utc_naive(one.received), **one.fields}
            for number, each in enumerate(made)
            for one in each
            if one.source == source.name
        ]
        fields = {name: RECORD_KINDS[kind] for name, kind in source.fields.items()}
        run(engine, "given", rows, {"profile": pa.int64(), **STAMPS, **fields})
        engine.run(
            f"CREATE OR REPLACE TABLE {quote('record.' + source.name)} AS "
            "SELECT * REPLACE (CAST(event_id AS UUID) AS event_id) FROM given"
        )
    batch = answers(engine, attributes_sql(sources, profile, "SEK", as_of=now), customers)
    for each, expected in zip(made, batch, strict=True):
        facts = [fact for fact in each if fact.at <= now and fact.received <= now]
        chance.shuffle(facts)
        fragments = [RecordState() for _ in range(3)]
        for fact, fragment in zip(facts, states_of(len(facts), chance), strict=True):
            plan.add(fragments[fragment], fact)
        state = plan.merged([stored(fragment, RecordState) for fragment in fragments])
        assert typed(plan.values(state)) == typed(expected)
    return len(plan.types) * customers


# --- consents ------------------------------------------------------------------------------------------

PURPOSES = {"marketing": Purpose(), "advice": Purpose(), "service": Purpose(consent="not_required")}
CHANNELS = ("email", "sms")


def compare_consents(engine: DuckDBEngine, seed: int, customers: int) -> int:
    chance, now = Random(seed), FIRST + timedelta(hours=12 * (seed % 7))
    made = []
    for _ in range(customers):
        each = []
        for _ in range(chance.choice((0, 1, 3, 9))):
            at, received = instants(chance)
            purpose = chance.choice((*PURPOSES, *["marketing"] * 4, "other"))
            channel = chance.choice((*CHANNELS, *["email", "*"] * 2, "push"))
            granted = chance.random() < 0.6
            each.append(
                ConsentFact(purpose=purpose, channel=channel, granted=granted, at=at, received=received)
            )
        made.append(each)
    rows = [
        {"profile": number, "purpose": one.purpose, "channel": one.channel, "granted": one.granted}
        | {"at": utc_naive(one.at), "received": utc_naive(one.received)}
        for number, each in enumerate(made)
        for one in each
    ]
    kinds = {"purpose": pa.string(), "channel": pa.string(), "granted": pa.bool_()}
    moments = {"at": pa.timestamp("us"), "received": pa.timestamp("us")}
    run(engine, "consents", rows, {"profile": pa.int64(), **kinds, **moments})
    plan = ConsentPlan(PURPOSES, CHANNELS)
    batch = answers(engine, consents_sql(PURPOSES, CHANNELS, as_of=now), customers)
    for each, expected in zip(made, batch, strict=True):
        facts = [fact for fact in each if fact.at <= now and fact.received <= now]
        chance.shuffle(facts)
        fragments = [ConsentState() for _ in range(3)]
        for fact, fragment in zip(facts, states_of(len(facts), chance), strict=True):
            plan.add(fragments[fragment], fact)
        state = plan.merged([stored(fragment, ConsentState) for fragment in fragments])
        assert typed(plan.values(state)) == typed(expected)
    return len(PURPOSES) * len(CHANNELS) * customers


# --- holdings ------------------------------------------------------------------------------------------

PRODUCTS = ("loan", "card", "fund")


def holdings(chance: Random) -> list[HoldingFact]:
    """Holdings that are stated up to twice each, some of them before they open."""
    made = []
    for _ in range(chance.randrange(5)):
        opened = FIRST.date() + timedelta(days=chance.randrange(SPAN_DAYS))
        product = chance.choice((*PRODUCTS, "gift"))
        for _ in range(chance.choice((1, 1, 2))):
            length = chance.choice((None, -1, 0, 1, 30, 30, 200))
            shift = timedelta(days=chance.choice((-20, 0, 0, 0, 1, 40)))
            made.append(
                HoldingFact(
                    source="core",
                    product=product,
                    opened=opened,
                    closed=None if length is None else opened + timedelta(days=length),
                    received=datetime.combine(opened, datetime.min.time(), ZONE) + shift,
                )
            )
    return made


def register_holdings(engine: DuckDBEngine, made: Sequence[Sequence[HoldingFact]], now: datetime) -> None:
    rows = [
        {"profile": number, "source": one.source, "product": one.product, "opened": one.opened}
        | {"closed": one.closed, "received": utc_naive(one.received)}
        for number, each in enumerate(made)
        for one in each
    ]
    texts = {"profile": pa.int64(), "source": pa.string(), "product": pa.string()}
    times = {"opened": pa.date32(), "closed": pa.date32(), "received": pa.timestamp("us")}
    run(engine, "all_holdings", rows, {**texts, **times})
    engine.run(f"CREATE OR REPLACE VIEW holdings AS SELECT * FROM all_holdings WHERE {known(now, at=False)}")


def holding_state(plan: HoldingPlan, facts: Sequence[HoldingFact], chance: Random) -> HoldingState:
    mixed = chance.sample(list(facts), len(facts))
    fragments = [HoldingState() for _ in range(3)]
    for fact, fragment in zip(mixed, states_of(len(mixed), chance), strict=True):
        plan.add(fragments[fragment], fact)
    return plan.merged([stored(fragment, HoldingState) for fragment in fragments])


def compare_holdings(engine: DuckDBEngine, seed: int, now: datetime, customers: int) -> int:
    chance, clock = Random(seed), Clock(now, ZONE)
    first = chance.choice(((), ("card",), ("gift", "card")))
    made = [holdings(chance) for _ in range(customers)]
    register_holdings(engine, made, now)
    batch = answers(engine, holdings_sql(PRODUCTS, clock, order=first), customers)
    ranked = engine.rows(
        f"SELECT product FROM ({_held_sql(clock)}) GROUP BY product ORDER BY count(*), product"
    )
    order = {product: place for place, (product,) in enumerate(ranked)}
    plan = HoldingPlan(PRODUCTS, first=first)
    for each, expected in zip(made, batch, strict=True):
        values = plan.values(holding_state(plan, each, chance), clock, order)
        assert typed(values) == typed(expected)
    return (len(PRODUCTS) + 2) * customers


def _held_sql(clock: Clock) -> str:
    """Return who holds which product, in the plainest words."""
    today = f"DATE '{clock.today}'"
    return f"""
      SELECT DISTINCT profile, product FROM (
        SELECT * FROM holdings
        QUALIFY received = MAX(received) OVER (PARTITION BY profile, product, opened))
      WHERE opened <= {today} AND (closed IS NULL OR closed > {today})"""


# --- the tests -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as opened:
        yield opened


SEEDS = st.integers(0, 10**9)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(profile=profiles(), seed=SEEDS)
def test_attributes_live_equal_batch(engine: DuckDBEngine, profile: Profile, seed: int) -> None:
    assert compare_records(engine, profile, seed, 30)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_consents_live_equal_batch(engine: DuckDBEngine, seed: int) -> None:
    assert compare_consents(engine, seed, 40)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=SEEDS, now=st.sampled_from(NOWS))
def test_holdings_live_equal_batch(engine: DuckDBEngine, seed: int, now: datetime) -> None:
    assert compare_holdings(engine, seed, now, 40)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**9))
def test_holdings_stay_as_they_are_until_their_next_change(seed: int) -> None:
    plan, chance = HoldingPlan(PRODUCTS), Random(seed)
    state = holding_state(plan, holdings(chance), chance)
    begin = datetime.combine(FIRST.date(), datetime.min.time(), ZONE)
    clocks = [Clock(begin + timedelta(days=day), ZONE) for day in range(-30, SPAN_DAYS + 260)]
    values, until = plan.values(state, clocks[0], {}), plan.next_change(state, clocks[0])
    for clock in clocks[1:]:
        fresh = plan.values(state, clock, {})
        if until is not None and until <= clock.today:
            values, until = fresh, plan.next_change(state, clock)
        assert values == fresh


@pytest.mark.slow
def test_facts_live_equal_batch_in_many_cells(engine: DuckDBEngine) -> None:
    cells = 0

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(profile=profiles(), seed=SEEDS, now=st.sampled_from(NOWS))
    def many(profile: Profile, seed: int, now: datetime) -> None:
        nonlocal cells
        cells += compare_records(engine, profile, seed, 60)
        cells += compare_consents(engine, seed, 60)
        cells += compare_holdings(engine, seed, now, 60)

    many()
    assert cells > 150_000
