"""The lifecycle kept live, split and in any order, equals the batch SQL, and holds for as long as it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties.test_live_facts_parity import (
    FIRST,
    NOWS,
    PRODUCTS,
    SPAN_DAYS,
    STAMPS,
    ZONE,
    holding_state,
    holdings,
    known,
    register_holdings,
    run,
    states_of,
    typed,
)

from tilltal.core.names import quote
from tilltal.core.time import local_date, utc_naive
from tilltal.customers.lifecycle.plan import lifecycle_steps
from tilltal.customers.live.facts.holding_facts import HoldingFact, HoldingPlan, HoldingState
from tilltal.customers.live.relation.plan import LifecyclePlan, LiveStanding
from tilltal.customers.live.relation.tracks import lifecycle_families
from tilltal.customers.live.traits.buckets import TraitState
from tilltal.customers.live.traits.live_traits import LiveTraits
from tilltal.customers.traits.online import Event
from tilltal.customers.traits.schema import EventType
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Measure
from tilltal.workspace.definitions.segments import Engagement, Lifecycle, Moments

KINDS = ("buy", "login", "leave", "stay", "score")
FIELDS = {
    "amount": Type.NUMBER,  # money
    "points": Type.NUMBER,
    "pieces": Type.INTEGER,
    "shop": Type.TEXT,
    "anything": Type.ANY,
    "due": Type.DATE,
}
SCHEMAS = {kind: EventType(fields=FIELDS, money={"amount": 100}) for kind in KINDS}
CONDITIONS = (None, None, None, "amount > 2", "shop = 'a'", "due <= TODAY()", "anything = 1")
MEASURES: tuple[Measure | None, ...] = (
    None,
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "first",
    "last",
    "distinct",
    "exists",
)
OF_NUMBER = ("amount", "points", "pieces", "anything")
KIND_LISTS = st.lists(st.sampled_from(KINDS), min_size=1, max_size=2, unique=True).map(tuple)


def moments(origins: Sequence[str]) -> st.SearchStrategy[Moments]:
    """Draw moments of one of some origins."""
    condition = st.sampled_from(CONDITIONS)
    held = st.sampled_from((("any",), ("card",), ("loan", "fund")))
    made = {
        "events": st.builds(Moments, events=KIND_LISTS, where=condition),
        "first_event": st.builds(Moments, first_event=KIND_LISTS, where=condition),
        "holding": st.builds(Moments, holding=held),
        "silence": st.builds(
            Moments, silence=KIND_LISTS, where=condition, days=st.sampled_from((1, 10, 45, 90))
        ),
    }
    return st.one_of([made[origin] for origin in origins])


@st.composite
def engagements(draw: st.DrawFn) -> Engagement:
    measure = draw(st.sampled_from(MEASURES))
    of: str | None = draw(st.sampled_from(OF_NUMBER))
    if measure in ("count", "exists", "distinct"):
        of = draw(st.sampled_from((*FIELDS, *([] if measure == "distinct" else [None]))))
    return Engagement(
        from_=draw(KIND_LISTS),
        measure=measure,
        of=of,
        where=draw(st.sampled_from(CONDITIONS)),
        every=draw(st.sampled_from(("week", "month", "quarter"))),
        over=draw(st.integers(1, 4)),
    )


@st.composite
def lifecycles(draw: st.DrawFn) -> Lifecycle:
    """Draw any lifecycle that makes sense, so that all features meet each other."""
    opened = draw(moments(("events", "first_event", "first_event", "holding")))
    closed = draw(st.none() | moments(("events", "first_event", "holding", "silence", "silence")))
    if closed and closed.silence and opened.first_event:
        watched = tuple(dict.fromkeys((*opened.first_event, *draw(st.sampled_from(((), closed.silence))))))
        where = draw(st.sampled_from((None, opened.where)))
        closed = msgspec.structs.replace(closed, silence=watched, where=where)
    notice = draw(st.none() | moments(("events", "first_event", "holding", "silence")))
    return Lifecycle(
        new_days=draw(st.sampled_from((1, 20, 90))),
        trend_days=draw(st.sampled_from((1, 40, 90))),
        tolerance=draw(st.sampled_from((0.0, 0.1, 0.3))),
        opened=opened,
        closed=closed,
        notice=notice,
        notice_withdrawn=draw(st.none() | moments(("events", "first_event", "holding"))),
        engagement=draw(st.none() | engagements()),
    )


def events(number: int, chance: Random) -> list[Event]:
    made: list[Event] = []
    begin, span = chance.randrange(SPAN_DAYS), chance.choice((3, 60, SPAN_DAYS))
    for index in range(chance.choice((0, 2, 6, 14))):
        at = FIRST + timedelta(hours=(begin + chance.randrange(span)) % SPAN_DAYS * 24)
        at += timedelta(seconds=chance.choice((0, 0, 7199, 7200, 50_000, 79_200)))
        kind = chance.choice((*KINDS, "buy", "buy", "score"))
        if made and chance.random() < 0.25:
            at = made[-1].at
            kind = chance.choice((kind, made[-1].type))
        fields = {
            "amount": chance.choice((None, 0, 100, 250, 1000)),
            "points": chance.choice((None, 1.0, 2.0, 7.5)),
            "pieces": chance.choice((None, -1, 3)),
            "shop": chance.choice((None, "a", "b", "c")),
            "anything": chance.choice((None, 1, 1.0, 2.5, "1", True)),
            "due": chance.choice((None, at.date() + timedelta(days=chance.choice((0, 1, 40))))),
        }
        made.append(
            Event(
                type=kind,
                at=at,
                received=at + timedelta(hours=chance.choice((0, 0, 2, 5, 1000))),
                event_id=str(UUID(int=chance.getrandbits(64) << 32 | number << 16 | index)),
                fields=fields,
            )
        )
    return made


def register_events(engine: DuckDBEngine, made: Sequence[Sequence[Event]], now: datetime) -> None:
    kinds = {"amount": pa.int64(), "points": pa.float64(), "pieces": pa.int64(), "shop": pa.string()}
    kinds |= {"anything": pa.string(), "due": pa.date32()}
    for kind in KINDS:
        rows = [
            {"profile": number, "event_id": one.event_id, "at": utc_naive(one.at)}
            | {"received": utc_naive(one.received), **one.fields, "anything": _json(one.fields["anything"])}
            for number, each in enumerate(made)
            for one in each
            if one.type == kind
        ]
        run(engine, f"all.{kind}", rows, {"profile": pa.int64(), **STAMPS, **kinds})
        engine.run(
            f"CREATE OR REPLACE VIEW {quote(f'event.{kind}')} AS "
            "SELECT * REPLACE (CAST(event_id AS UUID) AS event_id) "
            f"FROM {quote(f'all.{kind}')} WHERE {known(now)}"
        )


def _json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


LIFECYCLE_KINDS = ("lifecycle.stage", "lifecycle.since", "lifecycle.days", "lifecycle.opened")


def batch_lifecycle(
    engine: DuckDBEngine, lifecycle: Lifecycle, clock: Clock, customers: int
) -> list[dict[str, object]]:
    steps = lifecycle_steps(lifecycle, SCHEMAS, clock)
    for step in steps:
        engine.run(f"CREATE OR REPLACE TEMP TABLE {quote(step.name)} AS {step.sql}")
    run(engine, "spine", [{"profile": number} for number in range(customers)], {"profile": pa.int64()})
    listed = ", ".join(map(quote, LIFECYCLE_KINDS))
    found = engine.rows(
        f"SELECT {listed} FROM spine LEFT JOIN lifecycle USING (profile) ORDER BY spine.profile"
    )
    for step in steps:
        engine.run(f"DROP TABLE {quote(step.name)}")
    return [dict(zip(LIFECYCLE_KINDS, row, strict=True)) for row in found]


class Living:
    """One lifecycle kept live."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.traits = LiveTraits([], SCHEMAS, ZONE, lifecycle_families(lifecycle, SCHEMAS))
        self.plan = LifecyclePlan(lifecycle, SCHEMAS, ZONE, self.traits.families)
        self.held = HoldingPlan(PRODUCTS)

    def state(self, facts: Sequence[Event], chance: Random) -> TraitState:
        mixed = chance.sample(list(facts), len(facts))
        fragments = [self.traits.empty() for _ in range(3)]
        for event, fragment in zip(mixed, states_of(len(mixed), chance), strict=True):
            self.traits.add(fragments[fragment], event)
        back = [self.traits.decode(self.traits.encode(fragment)) for fragment in fragments]
        return self.traits.merged(back)


def compare_lifecycle(
    engine: DuckDBEngine, lifecycle: Lifecycle, seed: int, now: datetime, customers: int
) -> int:
    chance, clock, living = Random(seed), Clock(now, ZONE), Living(lifecycle)
    made = [events(number, chance) for number in range(customers)]
    held = [holdings(chance) for _ in range(customers)]
    register_events(engine, made, now)
    register_holdings(engine, held, now)
    batch = batch_lifecycle(engine, lifecycle, clock, customers)
    for each, own, expected in zip(made, held, batch, strict=True):
        happened = [event for event in each if event.at <= now and event.received <= now]
        state = living.state(happened, chance)
        standing = living.plan.standing(state, holding_state(living.held, own, chance), clock)
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(standing), type=LiveStanding)
        assert typed(living.plan.values(again, clock)) == typed(expected), (each, own)
    return len(LIFECYCLE_KINDS) * customers


# --- what holds while time passes ----------------------------------------------------------------------


class Watched:
    """One customer whose standing is told anew only when `until` or `may_change` asks for it."""

    def __init__(self, living: Living, clock: Clock) -> None:
        self.living, self.holdings, self.traits = living, HoldingState(), living.traits.empty()
        self.standing = self.fresh(clock)

    def fresh(self, clock: Clock) -> LiveStanding:
        return self.living.plan.standing(self.traits, self.holdings, clock)

    def pass_to(self, clock: Clock) -> None:
        until = self.standing.until
        if until is not None and until <= clock.today.toordinal():
            self.standing = self.fresh(clock)

    def take(self, fact: Event | HoldingFact, clock: Clock) -> None:
        self.pass_to(clock)
        if isinstance(fact, HoldingFact):
            changed = self.living.held.add(self.holdings, fact) and self.living.plan.reads_holdings
        else:
            mask = self.living.traits.add(self.traits, fact)
            day, today = local_date(fact.at, ZONE).toordinal(), clock.today.toordinal()
            changed = self.living.plan.may_change(self.standing, mask, day, today)
        if changed:
            self.standing = self.fresh(clock)


def watch(lifecycle: Lifecycle, seed: int, customers: int) -> int:
    chance, living, checks = Random(seed), Living(lifecycle), 0
    for number in range(customers):
        facts: list[Event | HoldingFact | None] = [*events(number, chance), *holdings(chance)]
        days = [FIRST + timedelta(hours=chance.randrange(24 * 600)) for _ in range(25)]
        early = timedelta(days=chance.choice((0, 0, 30)))  # a holding may be stated before it counts
        told = [
            (fact.received - early if isinstance(fact, HoldingFact) else fact.received, fact)
            for fact in facts
            if fact
        ]
        watched = Watched(living, Clock(FIRST - timedelta(days=1), ZONE))
        checked: list[tuple[datetime, Event | HoldingFact | None]] = [(day, None) for day in days]
        for now, fact in sorted((*told, *checked), key=lambda one: one[0]):
            clock = Clock(now, ZONE)
            if fact:
                watched.take(fact, clock)
            watched.pass_to(clock)
            values = living.plan.values(watched.standing, clock)
            assert values == living.plan.values(watched.fresh(clock), clock), (now, facts)
            checks += 1
    return checks


@settings(max_examples=25, deadline=None, derandomize=True)
@given(lifecycle=lifecycles(), seed=st.integers(0, 10**9))
def test_a_standing_holds_until_its_day_and_through_events_that_do_not_bear_on_it(
    lifecycle: Lifecycle, seed: int
) -> None:
    assert watch(lifecycle, seed, 6)


# --- the tests -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as opened:
        yield opened


SEEDS = st.integers(0, 10**9)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(lifecycle=lifecycles(), seed=SEEDS, now=st.sampled_from(NOWS))
def test_lifecycle_live_equals_batch(
    engine: DuckDBEngine, lifecycle: Lifecycle, seed: int, now: datetime
) -> None:
    assert compare_lifecycle(engine, lifecycle, seed, now, 30)


@pytest.mark.slow
def test_lifecycle_live_equals_batch_in_many_cells(engine: DuckDBEngine) -> None:
    cells = 0

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(lifecycle=lifecycles(), seed=SEEDS, now=st.sampled_from(NOWS))
    def many(lifecycle: Lifecycle, seed: int, now: datetime) -> None:
        nonlocal cells
        cells += compare_lifecycle(engine, lifecycle, seed, now, 150)

    many()
    assert cells > 100_000
