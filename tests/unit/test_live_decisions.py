"""The compiled decider at its edges: near ties, numbers beyond the floats, channels, counters, groups."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilltal.decisions.arbitration import factors_of
from tilltal.decisions.live.decider import LiveDecider, LiveDecision
from tilltal.decisions.live.factors import bare
from tilltal.decisions.live.funnel import Members
from tilltal.decisions.live.ranking import is_certain, nearest
from tilltal.decisions.plan import DecisionPlan, Policies, plan_decisions
from tilltal.decisions.single import decide
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.actions import Action, Adaptive, Condition, Learned
from tilltal.workspace.definitions.contact import Cap, Contact
from tilltal.workspace.definitions.policies import Arbitration, Consent, Factors, Levers, Purpose

CLOCK = Clock(datetime(2026, 5, 4, 10, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
SCHEMA = {
    "age": Type.INTEGER,
    "spend": Type.NUMBER,
    "consent.marketing.email": Type.BOOLEAN,
    "consent.marketing.push": Type.BOOLEAN,
}


def action(propensity: Any = 0.5, value: float | str = 1.0, **more: Any) -> Action:
    given = {"title": "An action", "group": "cards", "purpose": "service"} | more
    return Action(propensity=propensity, value=value, **given)


def plan_of(
    actions: dict[str, Action],
    policy: Arbitration | None = None,
    caps: tuple[Cap, ...] = (),
    channels: tuple[str, ...] = ("email",),
) -> DecisionPlan:
    purposes = {"service": Purpose(consent="not_required"), "marketing": Purpose()}
    policies = Policies(
        arbitration=policy or Arbitration(), consent=Consent(purposes=purposes), contact=Contact(caps=caps)
    )
    return plan_decisions(actions, dict.fromkeys(actions, channels), SCHEMA, policies, CLOCK)


def decided(plan: DecisionPlan, row: Mapping[str, object] | None = None, **asked: Any) -> LiveDecision:
    decider = LiveDecider(plan)
    return decider.decide(decider.values_of(row or {}), CLOCK, {}, **asked)


def names(decision: LiveDecision) -> list[str]:
    return [each.action for each in decision.shown]


def assert_exact(plan: DecisionPlan, row: dict[str, object] | None = None) -> None:
    exact = decide(plan, row or {}, CLOCK, {})
    shown = decided(plan, row)
    assert names(shown) == [each.action for each in exact.ranking.ranked]
    assert [each.priority for each in shown.shown] == [float(each.priority) for each in exact.ranking.ranked]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0.1, 3.0), (0.3, 1.0)),  # floats: 0.30000000000000004 and 0.3
        ((1 / 3, 1e8), (1.0, 33333333.33333333)),
        ((0.1, 3e8), (0.3, 1e8)),
        ((0.7, 123456789.1), (0.1, 864197523.7)),
        ((0.5, 1e-9), (0.25, 2e-9)),
        ((0.1, 1e300), (1.0, 1e299)),
        ((0.0, -5.0), (0.0, 5.0)),
    ],
)
def test_rounding_of_floats_decides_nothing(first: tuple[float, float], second: tuple[float, float]) -> None:
    for one, other in ((first, second), (second, first)):
        for policy in (Arbitration(), Arbitration(offer_only_positive=True), Arbitration(slots=2)):
            assert_exact(plan_of({"a": action(*one), "b": action(*other)}, policy))


def test_numbers_beyond_the_floats_are_ranked() -> None:
    policy = Arbitration(levers=Levers(action={"b": 1e300}))
    assert_exact(plan_of({"a": action(1.0, 1e300), "b": action(1.0, 1e299)}, policy))


@pytest.mark.parametrize("on", [True, False])
def test_an_infinite_value_removes_its_action_alone(on: bool) -> None:
    policy = Arbitration(slots=3, factors=Factors(V=on))
    plan = plan_of({"a": action(0.5, "spend"), "b": action(0.1, 2.0)}, policy)
    shown = decided(plan, {"spend": float("inf")})
    assert names(shown) == ["b"]
    assert shown.explain().ranking.lost[0].reason == "invalid_value"


def test_only_the_channel_that_is_asked_for_is_used() -> None:
    plan = plan_of({"a": action(purpose="marketing")}, channels=("email", "push"))
    row = dict.fromkeys(("consent.marketing.email", "consent.marketing.push"), True)
    assert decided(plan, row).shown[0].channel == "email"
    assert decided(plan, row, channel="push").shown[0].channel == "push"
    assert decided(plan, row | {"consent.marketing.email": None}).shown[0].channel == "push"
    silent = decided(plan, {"consent.marketing.email": True}, channel="push")
    assert silent.shown == ()
    assert silent.explain().ranking.lost[0].reason == "contact_policy:no_consent:marketing/push"
    assert (
        decided(plan, row, channel="pigeon").explain().ranking.lost[0].reason == "contact_policy:no_channel"
    )


def test_a_counter_per_action_removes_that_action_alone() -> None:
    cap = Cap(name="each", limit=2, rolling="P7D", each=("action",))
    plan = plan_of({name: action() for name in "abcdef"}, Arbitration(slots=9), (cap,))
    counter = plan.actions[2].channels[0].checks[0].name
    assert names(decided(plan, {counter: 1})) == list("abcdef")
    assert names(decided(plan, {counter: 2})) == list("abdef")


def test_rates_replace_the_base_rate_of_the_channel_used() -> None:
    learned = Learned(adaptive=Adaptive(base_rate=0.1))
    plan = plan_of({"a": action(learned), "b": action(0.2)}, channels=("email", "push"))
    decider = LiveDecider(plan)
    assert decider.adaptive == (("a", "email"), ("a", "push"))
    values = decider.values_of({})
    assert decider.decide(values, CLOCK, {}).shown[0].action == "b"
    raised = decider.decide(values, CLOCK, {}, rates=np.array([0.3, 0.0]))
    assert (raised.shown[0].action, raised.shown[0].P, raised.shown[0].pair) == ("a", 0.3, 0)
    lowered = decider.decide(values, CLOCK, {}, rates=[0.3, 0.0], channel="push")
    assert (lowered.shown[0].action, lowered.shown[0].pair) == ("b", -1)


def test_lives_begin_and_end_at_their_instants() -> None:
    plan = plan_of({"a": action(starts="2026-05-04T12:00"), "b": action(ends="2026-05-04T12:00")})
    decider = LiveDecider(plan)
    for seconds, wanted in ((-1, "b"), (0, "a"), (1, "a")):
        clock = Clock(CLOCK.now + timedelta(seconds=seconds), CLOCK.zone)
        assert decider.decide([], clock, {}).shown[0].action == wanted


def test_limited_groups_are_filled_from_far_below() -> None:
    rng = random.Random(1)
    actions = {
        f"a{number:03d}": action(0.5, float(1000 - number + rng.random()), group="big")
        for number in range(150)
    }
    actions |= {f"z{number}": action(0.5, float(number + 1), group=f"small_{number}") for number in range(6)}
    policy = Arbitration(slots=5, max_per_group=1)
    plan = plan_of(actions, policy)
    assert names(decided(plan)) == ["a000", "z5", "z4", "z3", "z2"]
    assert_exact(plan)


def test_nothing_to_decide() -> None:
    assert decided(plan_of({})).shown == ()
    nobody = plan_of({"a": action(eligibility=(Condition(name="adult", when="age >= 18"),))})
    assert decided(nobody).shown == ()
    assert decided(nobody).eligible == 0
    assert names(decided(nobody, {"age": 18})) == ["a"]


@given(st.sets(st.integers(0, 299)))
@settings(max_examples=50, deadline=None)
def test_members_of_a_mask(numbers: set[int]) -> None:
    mask = sum(1 << number for number in numbers)
    assert Members(300).of(mask).tolist() == sorted(numbers)


@settings(max_examples=300, deadline=None)
@given(
    st.floats(0, 1),
    st.floats(-1e7, 1e7),
    st.floats(-200, 1000, width=16),
    st.floats(-200, 1000, width=16),
)
def test_a_certain_product_rounds_as_the_exact_one(p: float, v: float, c: float, pull: float) -> None:
    policy = Arbitration(levers=Levers(action={"a": pull}, group={"cards": c}))
    plan = plan_of({"a": action()}, policy)
    factored = factors_of(msgspec.structs.replace(bare(plan.actions[0]), propensity=p, value=v), policy, {})
    product = float(factored.L * factored.C) * p * v
    if is_certain(product):
        assert Decimal(repr(nearest(product))) == factored.priority


@settings(max_examples=300, deadline=None)
@given(
    st.floats(0.01, 1),
    st.decimals(-1, 1, places=10),
    st.one_of(st.floats(0, 1e3), st.floats(0, 1e12)),
)
def test_what_is_left_after_a_cost_rounds_as_the_exact_rest_where_that_is_certain(
    p: float, left: Decimal, cost: float
) -> None:
    v = float((left + Decimal(repr(cost))) / Decimal(repr(p)))
    plan = plan_of({"a": action()})
    given_ = msgspec.structs.replace(bare(plan.actions[0]), propensity=p, value=v, cost=cost)
    rest = p * v - cost
    if is_certain(rest, cost):
        assert Decimal(repr(nearest(rest))) == factors_of(given_, Arbitration(), {}).priority


@settings(max_examples=1000, deadline=None)
@given(st.one_of(st.floats(-4e6, 4e6), st.floats(-1e-8, 1e-8), st.decimals(-99, 99, places=10).map(float)))
def test_a_certain_number_is_rounded_as_python_rounds(product: float) -> None:
    if is_certain(product):
        assert repr(nearest(product)) == repr(round(product, 9))


def test_an_uplift_below_zero_is_a_probability_of_zero_alone_and_compiled() -> None:
    made = plan_decisions(
        {"mail": action(propensity="mail", value=-5.0), "card": action(propensity="card", value=100.0)},
        {"mail": ("email",), "card": ("email",)},
        SCHEMA | {"score.mail": Type.NUMBER, "score.card": Type.NUMBER},
        Policies(
            arbitration=Arbitration(slots=2, offer_only_positive=True),
            consent=Consent(purposes={"service": Purpose(consent="not_required")}),
        ),
        CLOCK,
        uplifts={"mail", "card"},
    )
    for effect, shown in ((0.03, ["card"]), (-0.03, []), (None, ["card"])):
        row = {"score.mail": -0.2, "score.card": effect}
        alone, compiled = decide(made, row, CLOCK, {}), decided(made, row)
        assert [one.action for one in alone.ranking.ranked] == shown
        assert [one.action for one in compiled.shown] == shown
        # a loss times a negative effect would be a gain
        assert {one.reason for one in alone.ranking.lost} == {"not_positive"}
