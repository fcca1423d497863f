"""A timeline's changes lead to the membership found at any other instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from tilltal.customers.audiences import Membership, compile_audiences
from tilltal.customers.traits.compiled import compile_traits
from tilltal.customers.traits.online import Evaluator, Event
from tilltal.customers.traits.schema import EventType
from tilltal.customers.traits.timeline import changes, moments_of, reads_now
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Trait

ZONE = ZoneInfo("Europe/Stockholm")
SCHEMAS = {
    "buy": EventType({"amount": Type.NUMBER, "due": Type.TIMESTAMP}, {"amount": 100}),
    "look": EventType({}),
}
TRAITS = compile_traits(
    {
        "bought": Trait(measure="sum", of="amount", from_=("buy",), window="2 days"),
        "looked": Trait(measure="count", from_=("look", "buy"), window="95 minutes"),
        "quiet": Trait(measure="recency", from_=("look",), unit="hours"),
        "days": Trait(measure="recency", from_=("buy",), unit="days"),
        "due": Trait(measure="last", of="due", from_=("buy",)),
    },
    SCHEMAS,
)
SCHEMA = {trait.name: trait.type for trait in TRAITS}
AUDIENCES = compile_audiences(
    {
        "spender": "bought > 8",
        "browsing": "looked >= 1 AND NOT COALESCE(bought > 12, FALSE)",
        "silent": "quiet % 5 = 3",
        "fading": "days BETWEEN 1 AND 2 OR audience.silent",
        "weekend": "DAY_OF_WEEK(TODAY()) > 5",
    },
    SCHEMA,
)
OVERDUE = compile_audiences({"overdue": "due < NOW()"}, SCHEMA)
AFTER, UNTIL = datetime(2026, 3, 27, 9, tzinfo=UTC), datetime(2026, 3, 31, 21, 30, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def _history(random: Random) -> list[Event]:
    events = []
    for number in range(random.randrange(12)):
        at = AFTER + timedelta(seconds=random.randrange(-2 * 86400, 4 * 86400))
        due = (at + timedelta(seconds=random.randrange(3 * 86400))).replace(tzinfo=None)
        kind = random.choice(("buy", "look"))
        events.append(
            Event(
                type=kind,
                at=at,
                received=at + timedelta(seconds=random.choice((0, 0, -60, 5000))),
                event_id=str(UUID(int=number)),
                fields={"amount": random.randrange(1500), "due": due} if kind == "buy" else {},
            )
        )
    return events


@pytest.mark.parametrize("seed", range(15))
def test_changes_lead_to_the_membership_at_any_instant(seed: int) -> None:
    random = Random(seed)
    events = _history(random)
    evaluator, membership = Evaluator(TRAITS, SCHEMAS), Membership(AUDIENCES)

    def members(at: datetime) -> frozenset[str]:
        clock = Clock(at, ZONE)
        return membership.of(evaluator.evaluate(events, clock), clock)

    found = changes(members, moments_of(TRAITS, events, AFTER, UNTIL, ZONE), AFTER, UNTIL)
    probes = [
        AFTER + timedelta(seconds=random.uniform(0, (UNTIL - AFTER).total_seconds())) for _ in range(150)
    ]
    probes += [moment for change in found for moment in (change.at - TICK, change.at)]
    for probe in probes:
        now = set(members(AFTER))
        for change in found:
            if change.at <= probe:
                assert (change.audience in now) != change.is_entry
                now ^= {change.audience}
        assert now == members(probe)


@pytest.mark.parametrize("seed", range(5))
def test_a_condition_that_reads_the_clock_changes_at_its_microsecond(seed: int) -> None:
    random = Random(seed)
    events = [event for event in _history(random) if event.type == "buy"]
    evaluator, membership = Evaluator(TRAITS, SCHEMAS), Membership(OVERDUE)

    def members(at: datetime) -> frozenset[str]:
        clock = Clock(at, ZONE)
        return membership.of(evaluator.evaluate(events, clock), clock)

    assert reads_now(TRAITS, OVERDUE)
    found = changes(members, moments_of(TRAITS, events, AFTER, UNTIL, ZONE), AFTER, UNTIL, is_moving=True)
    for change in found:
        assert ("overdue" in members(change.at - TICK), "overdue" in members(change.at)) == (
            not change.is_entry,
            change.is_entry,
        )
    probes = [
        AFTER + timedelta(seconds=random.uniform(0, (UNTIL - AFTER).total_seconds())) for _ in range(100)
    ]
    for probe in probes:
        entered = sum(1 if change.is_entry else -1 for change in found if change.at <= probe)
        assert entered + ("overdue" in members(AFTER)) == ("overdue" in members(probe))
