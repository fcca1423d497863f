"""What the lifecycle keeps of events, when it must be told anew, and what it tells."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tilltal.core.errors import WorkspaceError
from tilltal.core.time import local_date
from tilltal.customers.lifecycle.stage import Stage
from tilltal.customers.live.facts.holding_facts import HoldingFact, HoldingPlan, HoldingState
from tilltal.customers.live.relation.plan import LifecyclePlan, LiveStanding
from tilltal.customers.live.relation.tracks import lifecycle_families
from tilltal.customers.live.traits.buckets import TraitState
from tilltal.customers.live.traits.families import Family, family_of
from tilltal.customers.live.traits.live_traits import LiveTraits
from tilltal.customers.traits.compiled import compile_trait
from tilltal.customers.traits.online import Event
from tilltal.customers.traits.schema import EventType
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Measure, Trait
from tilltal.workspace.definitions.segments import Engagement, Lifecycle, Moments, StageNames

ZONE = ZoneInfo("Europe/Stockholm")
SCHEMAS = {
    kind: EventType(fields={"amount": Type.NUMBER, "due": Type.DATE, "note": Type.ANY}, money={"amount": 100})
    for kind in ("buy", "login", "leave", "stay")
}
BUYS = Moments(first_event=("buy",))
SHOP = Lifecycle(
    opened=BUYS,
    closed=Moments(silence=("buy",), days=60),
    engagement=Engagement(from_=("buy",), measure="count", every="month", over=1),
    new_days=30,
    names=StageNames(new="Ny"),
)
HELD = Lifecycle(opened=Moments(holding=("any",)), closed=Moments(holding=("any",)))


def clock(text: str) -> Clock:
    return Clock(datetime.fromisoformat(text).replace(hour=12, tzinfo=UTC), ZONE)


def event(kind: str, day: str, **fields: object) -> Event:
    at = clock(day).now
    return Event(type=kind, at=at, received=at, event_id=f"{kind} {day}", fields=fields)


class Customer:
    def __init__(self, lifecycle: Lifecycle) -> None:
        self.traits = LiveTraits([], SCHEMAS, ZONE, lifecycle_families(lifecycle, SCHEMAS))
        self.plan = LifecyclePlan(lifecycle, SCHEMAS, ZONE, self.traits.families)
        self.state: TraitState = self.traits.empty()
        self.holdings = HoldingState()

    def happened(self, *events: Event) -> int:
        mask = 0
        for each in events:
            mask |= self.traits.add(self.state, each)
        return mask

    def standing(self, day: str) -> LiveStanding:
        return self.plan.standing(self.state, self.holdings, clock(day))

    def values(self, day: str) -> dict[str, object]:
        return self.plan.values(self.standing(day), clock(day))

    def until(self, day: str) -> date | None:
        until = self.standing(day).until
        return None if until is None else date.fromordinal(until)

    def is_touched(self, day: str, by: Event) -> bool:
        """Say whether an event of the day bears on the standing of that day."""
        standing = self.standing(day)
        happened, today = local_date(by.at, ZONE).toordinal(), clock(day).today.toordinal()
        return self.plan.may_change(standing, self.happened(by), happened, today)


def shopper(*days: str) -> Customer:
    customer = Customer(SHOP)
    customer.happened(*(event("buy", day) for day in days))
    return customer


def test_the_names_and_the_days_of_a_new_customer() -> None:
    assert shopper("2026-03-02").values("2026-03-04") == {
        "lifecycle.stage": "Ny",
        "lifecycle.since": date(2026, 3, 2),
        "lifecycle.days": 3,
        "lifecycle.opened": date(2026, 3, 2),
    }


def test_without_a_relation_every_name_is_null_and_nothing_changes_by_itself() -> None:
    customer = shopper()
    assert set(customer.values("2026-03-04").values()) == {None}
    assert customer.until("2026-03-04") is None


def test_a_new_customer_is_looked_at_again_when_no_longer_new() -> None:
    assert shopper("2026-03-02").until("2026-03-04") == date(2026, 4, 1)


def test_a_silence_to_come_is_foreseen() -> None:
    customer = shopper("2026-03-02", "2026-03-30")
    assert customer.until("2026-05-05") == date(2026, 5, 30)
    assert customer.standing("2026-05-29").stage is Stage.RETAIN
    assert customer.standing("2026-05-30").stage is Stage.REGAIN


@pytest.mark.parametrize(("again", "stage"), [("2026-05-01", Stage.RETAIN), ("2026-05-02", Stage.COMEBACK)])
def test_a_silence_is_over_after_so_many_whole_days(again: str, stage: Stage) -> None:
    assert shopper("2026-03-02", again).standing("2026-05-02").stage is stage


def test_a_measured_reading_comes_with_the_next_period() -> None:
    customer = shopper("2026-03-02", "2026-04-20")
    assert customer.until("2026-04-21") == date(2026, 5, 1)


def holder(closed: date | None) -> Customer:
    customer = Customer(HELD)
    fact = HoldingFact(
        source="core",
        product="card",
        opened=date(2026, 3, 10),
        closed=closed,
        received=clock("2026-03-01").now,
    )
    HoldingPlan(("card",)).add(customer.holdings, fact)
    return customer


def test_a_holding_that_goes_on_foretells_no_end() -> None:
    assert holder(None).until("2026-03-20") == date(2026, 6, 8), "no longer new"
    assert holder(None).until("2026-06-08") is None


def test_a_holding_that_opens_or_closes_later_is_foreseen() -> None:
    customer = holder(date(2026, 3, 20))
    assert customer.until("2026-03-02") == date(2026, 3, 10)
    assert customer.until("2026-03-10") == date(2026, 3, 20)
    assert customer.values("2026-03-20")["lifecycle.stage"] == "Regain"
    assert customer.plan.reads_holdings
    assert not customer.plan.mask


def test_readings_cover_what_the_customer_did_before_the_relation() -> None:
    engagement = Engagement(from_=("buy",), measure="count", every="month", over=3)
    customer = Customer(Lifecycle(opened=Moments(events=("login",)), engagement=engagement, new_days=1))
    customer.happened(event("buy", "2025-12-15"), event("buy", "2026-02-15"), event("login", "2026-03-10"))
    assert customer.standing("2026-05-31").stage is Stage.LOYAL
    assert customer.standing("2026-06-01").stage is Stage.RETAIN


def test_an_event_of_today_that_goes_on_as_before_changes_nothing() -> None:
    customer = shopper("2026-03-02", "2026-04-20")
    assert not customer.is_touched("2026-04-21", event("buy", "2026-04-21"))
    assert not customer.is_touched("2026-04-21", event("login", "2026-04-21")), "nothing looks at logins"


def test_a_late_event_and_one_that_opens_bear_on_the_stage() -> None:
    assert shopper("2026-03-02").is_touched("2026-04-21", event("buy", "2026-03-30"))
    assert shopper().is_touched("2026-04-21", event("buy", "2026-04-21"))
    assert shopper("2025-03-02").is_touched("2026-04-21", event("buy", "2026-04-21"))


def test_notices_always_bear_on_the_stage_and_withdrawals_where_they_could_take_one_back() -> None:
    watchful = Lifecycle(
        opened=BUYS,
        notice=Moments(silence=("buy",), days=20),
        notice_withdrawn=Moments(events=("stay",)),
        closed=Moments(events=("leave",)),
    )
    customer = Customer(watchful)
    customer.happened(event("buy", "2026-03-02"))
    assert not customer.is_touched("2026-03-05", event("stay", "2026-03-05"))
    assert customer.is_touched("2026-03-25", event("stay", "2026-03-25"))
    assert customer.is_touched("2026-03-25", event("leave", "2026-03-25"))


def test_a_condition_that_reads_the_clock_is_asked_again_every_day() -> None:
    customer = Customer(Lifecycle(opened=Moments(events=("buy",), where="due <= TODAY()")))
    customer.happened(event("buy", "2026-03-02", due=date(2026, 3, 9)))
    assert customer.standing("2026-03-08").stage is None
    assert customer.until("2026-03-08") == date(2026, 3, 9)
    assert customer.standing("2026-03-09").opened == date(2026, 3, 2).toordinal()
    assert not customer.plan.reads_now


def test_a_condition_that_reads_the_instant_is_told() -> None:
    assert Customer(Lifecycle(opened=Moments(events=("buy",), where="NOW() > NOW()"))).plan.reads_now


def kept(lifecycle: Lifecycle) -> tuple[Family, ...]:
    return lifecycle_families(lifecycle, SCHEMAS)


def test_days_are_enough_for_silence_first_events_and_counts() -> None:
    assert {(family.types, family.is_daily, family.has_occurrences) for family in kept(SHOP)} == {
        (("buy",), True, False)
    }


def test_instants_are_kept_where_the_order_within_a_day_decides() -> None:
    opened, closed = kept(Lifecycle(opened=BUYS, closed=Moments(events=("leave",))))
    assert (opened.is_whole, closed.is_whole) == (True, True)


@pytest.mark.parametrize("measure", ["first", None, "sum"])
@pytest.mark.parametrize(("of", "is_whole"), [("amount", False), ("note", True)])
def test_single_values_are_kept_where_a_field_is_of_any_type(
    measure: Measure | None, of: str, is_whole: bool
) -> None:
    engagement = Engagement(from_=("buy",), measure=measure, of=of)
    (family,) = kept(Lifecycle(opened=Moments(holding=("any",)), engagement=engagement))
    assert family.is_whole is is_whole


def test_a_lifecycle_and_a_trait_share_a_family() -> None:
    trait = compile_trait("buys", Trait(measure="count", from_=("buy",), window="30 days"), SCHEMAS)
    traits = LiveTraits([trait], SCHEMAS, ZONE, kept(SHOP))
    assert len(traits.families) == 1
    assert LifecyclePlan(SHOP, SCHEMAS, ZONE, traits.families).mask == 1


def test_pruning_forgets_nothing_of_the_relation() -> None:
    trait = compile_trait("buys", Trait(measure="count", from_=("buy",), window="30 days"), SCHEMAS)
    traits = LiveTraits([trait], SCHEMAS, ZONE, kept(SHOP))
    plan, state = LifecyclePlan(SHOP, SCHEMAS, ZONE, traits.families), traits.empty()
    for weeks in range(30):
        day = clock("2025-09-01").now + timedelta(weeks=weeks)
        traits.add(state, Event(type="buy", at=day, received=day, event_id=str(weeks)))
    now = clock("2026-04-21")
    before = plan.standing(state, HoldingState(), now)
    traits.prune(state, now)
    assert plan.standing(state, HoldingState(), now) == before
    assert before.opened == date(2025, 9, 1).toordinal()


def test_a_lifecycle_that_is_not_kept_is_refused() -> None:
    other = family_of(compile_trait("n", Trait(measure="count", from_=("login",)), SCHEMAS))
    with pytest.raises(KeyError):
        LifecyclePlan(SHOP, SCHEMAS, ZONE, [other])


def test_a_faulty_condition_is_a_fault_of_the_workspace() -> None:
    with pytest.raises(WorkspaceError, match="D203"):
        kept(Lifecycle(opened=Moments(events=("buy",), where="amout > 1")))
