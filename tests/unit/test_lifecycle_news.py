"""What arrived last about a product opened on a day decides over the relation, in both forms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pytest

from tilltal.core.names import quote
from tilltal.core.time import utc_naive
from tilltal.customers.lifecycle.plan import lifecycle_steps
from tilltal.customers.live.facts.holding_facts import HoldingFact, HoldingPlan, HoldingState
from tilltal.customers.live.relation.plan import LifecyclePlan
from tilltal.customers.live.relation.tracks import lifecycle_families
from tilltal.customers.live.traits.live_traits import LiveTraits
from tilltal.customers.traits.online import Event
from tilltal.customers.traits.schema import EventType
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import Engagement, Lifecycle, Moments

ZONE = ZoneInfo("Europe/Stockholm")
KINDS = ("score", "leave", "stay")
SCHEMAS = {kind: EventType(fields={"points": Type.NUMBER}) for kind in KINDS}
HELD = Lifecycle(opened=Moments(holding=("any",)), closed=Moments(holding=("any",)))
SCORED = msgspec.structs.replace(HELD, engagement=Engagement(from_=("score",), of="points"))
LAST = msgspec.structs.replace(
    HELD, engagement=Engagement(from_=("score",), of="points", measure="last", every="month", over=1)
)
Change = tuple[date, str | None, str]


def at(day: str, hour: int = 12) -> datetime:
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC)


def told(received: str, opened: str, closed: str | None = None, product: str = "loan") -> HoldingFact:
    return HoldingFact(
        source="core",
        product=product,
        opened=date.fromisoformat(opened),
        closed=date.fromisoformat(closed) if closed else None,
        received=at(received),
    )


def moment(kind: str, day: str) -> Event:
    instant, text = at(day), f"00000000-0000-0000-0001-{KINDS.index(kind):012d}"
    return Event(type=kind, at=instant, received=instant, event_id=text, fields={"points": None})


def score(day: str, points: float, received: datetime, event_id: int) -> Event:
    text = f"00000000-0000-0000-0000-{event_id:012d}"
    return Event(type="score", at=at(day), received=received, event_id=text, fields={"points": points})


class Told:
    """What the lifecycle says of one customer as of noon of a day, in SQL and live."""

    def __init__(
        self,
        day: str,
        facts: Sequence[HoldingFact],
        events: Sequence[Event] = (),
        lifecycle: Lifecycle = HELD,
    ) -> None:
        clock = Clock(at(day), ZONE)
        facts = [fact for fact in facts if fact.received <= clock.now]
        self.live = _live(lifecycle, clock, facts, events)
        with DuckDBEngine(threads=1) as engine:
            _register(engine, facts, events)
            for step in lifecycle_steps(lifecycle, SCHEMAS, clock):
                engine.run(f"CREATE TABLE {quote(step.name)} AS {step.sql}")
            names = ("stage", "since", "days", "opened")
            listed = ", ".join(quote(f"lifecycle.{name}") for name in names)
            self.sql = engine.rows(f"SELECT {listed} FROM lifecycle")
            self.changes = engine.rows("SELECT date, from_stage, to_stage FROM transitions ORDER BY date")
            self.relations = engine.rows("SELECT opened, closed FROM relations ORDER BY opened")

    @property
    def stage(self) -> str | None:
        """The stage, which both forms must agree on."""
        assert self.live == (self.sql[0] if self.sql else (None,) * 4)
        return self.sql[0][0] if self.sql else None


def _live(
    lifecycle: Lifecycle, clock: Clock, facts: Sequence[HoldingFact], events: Sequence[Event]
) -> tuple[object, ...]:
    traits = LiveTraits([], SCHEMAS, ZONE, lifecycle_families(lifecycle, SCHEMAS))
    plan, held = LifecyclePlan(lifecycle, SCHEMAS, ZONE, traits.families), HoldingPlan(())
    state, holdings = traits.empty(), HoldingState()
    for fact in facts:
        held.add(holdings, fact)
    for event in events:
        traits.add(state, event)
    return tuple(plan.values(plan.standing(state, holdings, clock), clock).values())


def _register(engine: DuckDBEngine, facts: Sequence[HoldingFact], events: Sequence[Event]) -> None:
    holdings = {
        "profile": pa.array([1 for _ in facts], pa.int64()),
        "product": pa.array([fact.product for fact in facts], pa.string()),
        "opened": pa.array([fact.opened for fact in facts], pa.date32()),
        "closed": pa.array([fact.closed for fact in facts], pa.date32()),
        "received": pa.array([utc_naive(fact.received) for fact in facts], pa.timestamp("us")),
    }
    engine.register("holdings", pa.table(holdings))
    for kind in KINDS:
        own = [event for event in events if event.type == kind]
        table = {
            "profile": pa.array([1 for _ in own], pa.int64()),
            "event_id": pa.array([event.event_id for event in own], pa.string()),
            "at": pa.array([utc_naive(event.at) for event in own], pa.timestamp("us")),
            "received": pa.array([utc_naive(event.received) for event in own], pa.timestamp("us")),
            "points": pa.array([event.fields["points"] for event in own], pa.float64()),
        }
        engine.register(f"event.{kind}", pa.table(table))


OPEN = told("2026-01-10", "2026-01-10")
CLOSED = told("2026-05-20", "2026-01-10", "2026-05-01")
BEGINNING: list[Change] = [(date(2026, 1, 10), None, "New"), (date(2026, 4, 10), "New", "Loyal")]


def test_a_closing_told_in_a_later_file_ends_the_relation_on_its_day() -> None:
    found = Told("2026-06-30", [OPEN, CLOSED])
    assert found.stage == "Regain"
    assert found.sql == [("Regain", date(2026, 5, 1), 61, date(2026, 1, 10))]
    assert found.changes == [*BEGINNING, (date(2026, 5, 1), "Loyal", "Regain")]
    assert found.relations == [(date(2026, 1, 10), date(2026, 5, 1))]


def test_seen_from_before_its_arrival_a_closing_has_not_happened() -> None:
    found = Told("2026-05-19", [OPEN, CLOSED])
    assert found.stage == "Loyal"
    assert found.changes == BEGINNING
    assert found.relations == [(date(2026, 1, 10), None)]


def test_a_closing_taken_back_never_happened() -> None:
    found = Told("2026-06-30", [CLOSED, told("2026-06-01", "2026-01-10")])
    assert found.stage == "Loyal"
    assert found.changes == BEGINNING


def test_a_closing_moved_to_an_earlier_day_counts_from_there() -> None:
    found = Told("2026-06-30", [OPEN, CLOSED, told("2026-06-01", "2026-01-10", "2026-03-01")])
    assert found.stage == "Regain"
    assert found.relations == [(date(2026, 1, 10), date(2026, 3, 1))]


def test_a_product_said_to_have_closed_before_it_opened_was_never_held() -> None:
    found = Told("2026-06-30", [OPEN, told("2026-06-01", "2026-01-10", "2026-01-10")])
    assert found.stage is None
    assert (found.changes, found.relations) == ([], [])


@pytest.mark.parametrize("turn", [1, -1])
def test_of_equal_arrivals_the_one_that_says_it_is_held_decides(turn: int) -> None:
    open_again = told("2026-05-20", "2026-01-10")
    assert Told("2026-06-30", [CLOSED, open_again][::turn]).stage == "Loyal"


def test_every_product_and_opening_has_its_own_news() -> None:
    card = told("2026-04-20", "2026-04-20", product="card")
    found = Told("2026-06-30", [OPEN, card, CLOSED])
    assert found.stage == "Loyal", "the card goes on"
    again = told("2026-06-10", "2026-06-10")
    found = Told("2026-06-30", [OPEN, CLOSED, again])
    assert found.stage == "New comeback"
    assert found.relations == [(date(2026, 1, 10), date(2026, 5, 1)), (date(2026, 6, 10), None)]


@pytest.mark.parametrize(("lifecycle", "day"), [(SCORED, "2026-04-16"), (LAST, "2026-05-01")])
@pytest.mark.parametrize("is_fallen", [True, False])
def test_of_readings_at_one_instant_the_one_that_arrived_last_counts(
    lifecycle: Lifecycle, day: str, *, is_fallen: bool
) -> None:
    early, late = at("2026-04-15", 13), at("2026-04-15", 14)
    least, most = (late, early) if is_fallen else (early, late)
    events = [
        score("2026-01-20", 100.0, at("2026-01-20"), 1),
        score("2026-02-20", 100.0, at("2026-02-20"), 2),
        score("2026-04-15", 1.0, least, 3 if is_fallen else 4),
        score("2026-04-15", 100.0, most, 4 if is_fallen else 3),
    ]
    opened = told("2026-01-10", "2026-01-10")
    assert Told(day, [opened], events, lifecycle).stage == ("Retain" if is_fallen else "Loyal")


def test_a_withdrawal_at_the_instant_of_its_notice_takes_it_back() -> None:
    lifecycle = msgspec.structs.replace(
        HELD, notice=Moments(events=("leave",)), notice_withdrawn=Moments(events=("stay",))
    )
    leave, stay = moment("leave", "2026-02-10"), moment("stay", "2026-02-10")
    assert Told("2026-02-20", [OPEN], [leave], lifecycle).stage == "Regain"
    assert Told("2026-02-20", [OPEN], [stay, leave], lifecycle).stage == "New"
