"""Exploration within decisions: draws for what competes, exact replay, and probabilities of selection."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from tests.first_chances import chances_of_first

from tilltal.decisions.live.decider import LiveDecider, LiveDecision
from tilltal.decisions.live.exploring import Chance, Selection, selections
from tilltal.decisions.live.reasons import narrowed
from tilltal.decisions.plan import Policies, opening_name, plan_decisions
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.runtime.live.answers.exploring import Exploring
from tilltal.runtime.live.answers.learning import Learning
from tilltal.workspace.definitions.actions import Action, Adaptive, Condition, Learned
from tilltal.workspace.definitions.policies import Arbitration, Consent, Exploration, Purpose

CLOCK = Clock(datetime(2026, 5, 4, 10, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
RATES = np.array([0.10, 0.12, 0.08, 0.5])
EVIDENCE = np.array([50.0, 20.0, 200.0, 5.0])


def learned(**more: Any) -> Action:
    return Action(
        title="",
        group=more.pop("group", "cards"),
        purpose="service",
        propensity=Learned(adaptive=Adaptive(base_rate=0.1)),
        value=more.pop("value", 10.0),
        **more,
    )


def decider_of(policy: Arbitration, **actions: Action) -> LiveDecider:
    policies = Policies(
        arbitration=policy, consent=Consent(purposes={"service": Purpose(consent="not_required")})
    )
    schema = {"age": Type.INTEGER}
    return LiveDecider(plan_decisions(actions, dict.fromkeys(actions, ("email",)), schema, policies, CLOCK))


ADULT = (Condition(name="adult", when="age >= 18"),)
FOUR = {"a": learned(), "b": learned(), "c": learned(value=14.0), "d": learned(eligibility=ADULT)}


def decide(decider: LiveDecider, seed: int = 1, age: int = 17, **asked: Any) -> LiveDecision:
    chance = Chance(EVIDENCE, seed.to_bytes(16, "big"))
    values = decider.values_of({"age": age})
    return decider.decide(values, CLOCK, {}, rates=RATES, chance=chance, **asked)


def selected(decider: LiveDecider, decision: LiveDecision, count: int) -> dict[str, Selection]:
    pairs = {pair: number for number, pair in enumerate(decider.adaptive)}
    plan = narrowed(decider.plan, count, None)
    return selections(plan, decision.explain(), pairs, decision.explored, b"decision")


def test_only_what_competes_is_drawn_and_what_was_known_is_kept() -> None:
    decision = decide(decider_of(Arbitration(), **FOUR))
    assert decision.explored is not None
    assert decision.explored.known() == {0: (0.10, 50.0), 1: (0.12, 20.0), 2: (0.08, 200.0)}
    rates = np.asarray(decision.moment.rates)
    assert rates[3] == RATES[3]
    assert (rates[:3] != RATES[:3]).all()


def test_a_decision_with_the_draws_for_rates_is_the_same_without_exploring() -> None:
    decider = decider_of(Arbitration(slots=2), **FOUR)
    for seed in range(50):
        first = decide(decider, seed, age=30)
        again = decider.decide(decider.values_of({"age": 30}), CLOCK, {}, rates=first.moment.rates)
        assert again.shown == first.shown
        assert again.explain() == first.explain()
        assert decide(decider, seed, age=30).shown == first.shown


def test_other_candidates_do_not_change_a_draw() -> None:
    decider = decider_of(Arbitration(), **FOUR)
    young, old = (np.asarray(decide(decider, 7, age).moment.rates) for age in (17, 30))
    assert (young[:3] == old[:3]).all()
    assert young[3] != old[3]


def test_probabilities_of_selection_are_those_of_the_integral() -> None:
    decider = decider_of(Arbitration(), **FOUR)
    found = selected(decider, decide(decider), 1)
    exact = chances_of_first(RATES[:3], EVIDENCE[:3], np.array([10.0, 10.0, 14.0]))
    assert [found[name].first for name in "abc"] == pytest.approx(exact.tolist(), abs=4 * 0.0078)
    assert sum(one.first for one in found.values()) == pytest.approx(1)
    assert all(one.first == one.shown for one in found.values())


def test_probabilities_of_selection_are_how_often_it_happens() -> None:
    """Limits, a mandatory action and saying nothing included; 4 standard errors of 1,500 decisions."""
    policy = Arbitration(slots=2, max_per_group=1)
    fixed = Action(title="", group="fixed", purpose="service", propensity=0.1, value=11.0)
    decider = decider_of(policy, a=learned(), b=learned(), c=learned(value=14.0, group="loans"), e=fixed)
    evidence, rates = EVIDENCE[:3], RATES[:3]
    times, count = Counter[str](), 1_500
    values = decider.values_of({})
    for seed in range(count):
        chance = Chance(evidence, seed.to_bytes(16, "big"))
        decision = decider.decide(values, CLOCK, {}, rates=rates, chance=chance)
        times.update(one.action for one in decision.shown)
    found = selected(decider, decision, 2)
    for name, one in found.items():
        spread = 4 * (one.shown * (1 - one.shown) * (1 / count + 1 / 4096)) ** 0.5
        assert times[name] / count == pytest.approx(one.shown, abs=spread)
    assert sum(one.shown for one in found.values()) == pytest.approx(2)


def test_the_channel_is_chosen_by_its_draw_and_counts_in_the_probabilities() -> None:
    policy = Arbitration(channels="best", costs={"call": 0.4})
    policies = Policies(
        arbitration=policy, consent=Consent(purposes={"service": Purpose(consent="not_required")})
    )
    actions = {"a": learned(), "b": learned(value=12.0)}
    decider = LiveDecider(
        plan_decisions(actions, dict.fromkeys(actions, ("email", "call")), {}, policies, CLOCK)
    )
    rates, evidence = np.array([0.1, 0.2, 0.15, 0.1]), np.array([20.0, 10.0, 30.0, 30.0])
    assert decider.adaptive == (("a", "email"), ("a", "call"), ("b", "email"), ("b", "call"))
    plain = decider.decide(decider.values_of({}), CLOCK, {}, count=2, rates=rates)
    assert [(one.action, one.channel, one.V, one.cost) for one in plain.shown] == [
        ("b", "email", 12.0, 0.0),
        ("a", "call", 10.0, 0.4),
    ]
    times, count = Counter[str](), 1_500
    for seed in range(count):
        chance = Chance(evidence, seed.to_bytes(16, "big"))
        decision = decider.decide(decider.values_of({}), CLOCK, {}, rates=rates, chance=chance)
        times.update(one.action for one in decision.shown)
    found = selected(decider, decision, 1)
    for name, one in found.items():
        spread = 4 * (one.shown * (1 - one.shown) * (1 / count + 1 / 4096)) ** 0.5
        assert times[name] / count == pytest.approx(one.shown, abs=spread)


def test_without_exploring_every_probability_is_none_or_one() -> None:
    decider = decider_of(Arbitration(), **FOUR)
    decision = decider.decide(decider.values_of({"age": 30}), CLOCK, {}, rates=RATES)
    assert decision.explored is None
    found = selected(decider, decision, 1)
    assert found == {name: Selection(float(name == "d"), float(name == "d")) for name in ("a", "b", "c", "d")}


def test_a_new_action_is_open_to_a_part_of_the_customers_and_says_so() -> None:
    policy = Arbitration(exploration=Exploration(opening=True))
    decider = decider_of(policy, a=learned(), z=Action(title="", group="g", purpose="service", value=1.0))
    exploring, learning = Exploring(decider), Learning(decider, {}, 0)
    shown = Counter[str]()
    for who in range(4_000):
        values = decider.values_of({})
        exploring.close(values, who, learning)
        decision = decider.decide(values, CLOCK, {}, rates=np.array([0.9]))
        shown.update(one.action for one in decision.shown)
        if who == 0:
            lost = {one.action: one.reason for one in decision.explain().ranking.lost}
    assert shown["a"] == pytest.approx(80, abs=4 * (80 * 0.98) ** 0.5)
    assert shown["a"] + shown["z"] == 4_000
    assert lost == {"a": "not_open"}
    assert opening_name("a") in decider.plan.names


def test_what_was_never_new_is_open_to_all() -> None:
    decider = decider_of(Arbitration(), a=learned())
    values = decider.values_of({})
    Exploring(decider).close(values, 1, Learning(decider, {}, 0))
    assert values == decider.values_of({})
