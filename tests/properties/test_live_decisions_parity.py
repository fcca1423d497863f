"""One plan, two forms: the compiled decider shows what the exact form shows, for the same reasons."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.properties.test_decisions_parity import (
    CHANNELS,
    CLOCK,
    MOMENTS,
    SCHEMA,
    SHARES,
    near_ties,
    some_plan,
    some_rows,
)

from tilltal.decisions.arbitration import Context
from tilltal.decisions.live.decider import LiveDecider, LiveDecision, Shown
from tilltal.decisions.live.reasons import narrowed
from tilltal.decisions.plan import DecisionPlan
from tilltal.decisions.single import Decision, Row, as_row, decide
from tilltal.workspace.definitions.actions import Adaptive, Learned


def with_adaptive(plan: DecisionPlan, rng: random.Random) -> DecisionPlan:
    """The same plan with some propensities learned."""
    actions = []
    for action in plan.actions:
        if rng.random() < 0.4:
            rate = rng.choice(SHARES[1:-1])
            definition = msgspec.structs.replace(
                action.definition, propensity=Learned(adaptive=Adaptive(base_rate=rate))
            )
            action = msgspec.structs.replace(
                action, definition=definition, model=None, uplift=None, propensity=rate
            )
        actions.append(action)
    channels = rng.choice(("first", "best"))
    policy = msgspec.structs.replace(plan.arbitration, channels=channels)
    return msgspec.structs.replace(plan, actions=tuple(actions), arbitration=policy)


def exactly(
    plan: DecisionPlan,
    row: Row,
    context: Context,
    count: int,
    channel: str | None,
    rates: dict[tuple[str, str], float],
) -> Decision:
    """The meaning, by `single` alone: rates replace the propensity of each action in the channel it uses."""
    narrow = narrowed(plan, count, channel)
    if rates and plan.arbitration.channels == "best":
        narrow = best_first(narrow, rates)
    channels = {name: each.channel for name, each in decide(narrow, row, CLOCK, context).proposals.items()}
    actions = [
        msgspec.structs.replace(
            action, propensity=rates.get((action.name, channels[action.name] or ""), action.propensity)
        )
        for action in narrow.actions
    ]
    return decide(msgspec.structs.replace(narrow, actions=tuple(actions)), row, CLOCK, context)


def best_first(plan: DecisionPlan, rates: dict[tuple[str, str], float]) -> DecisionPlan:
    """The plan whose channels stand in order of the rates; actions that do not learn keep theirs."""
    actions = [
        msgspec.structs.replace(
            action,
            channels=tuple(sorted(action.channels, key=lambda each: -rates.get((name, each.name), 0.0))),
        )
        for action in plan.actions
        if (name := action.name)
    ]
    return msgspec.structs.replace(plan, actions=tuple(actions))


def shown_of(decision: Decision) -> list[tuple[Any, ...]]:
    return [
        (
            entry.rank,
            entry.action,
            decision.proposals[entry.action].channel,
            float(entry.priority),
            *(float(getattr(entry.factors, name)) for name in (*"PCVL", "cost")),
        )
        for entry in decision.ranking.ranked
    ]


def fields(shown: Shown) -> tuple[Any, ...]:
    return (*msgspec.structs.astuple(shown)[:8], shown.cost)


def check(plan: DecisionPlan, count: int, context: Context, rng: random.Random) -> None:
    decider = LiveDecider(plan)
    for profile in some_rows(plan, count, rng).to_pylist():
        row = as_row(profile, SCHEMA)
        slots = rng.choice((plan.arbitration.slots, 1, 2, 5))
        channel = rng.choice((None, None, *CHANNELS, "pigeon"))
        rates = [rng.choice((*SHARES, rng.random())) for _ in decider.adaptive]
        rated = rng.random() < 0.7
        live = decider.decide(
            decider.values_of(row),
            CLOCK,
            context,
            count=slots,
            channel=channel,
            rates=rates if rated else None,
        )
        by_pair = dict(zip(decider.adaptive, rates, strict=True)) if rated else {}
        exact = exactly(plan, row, context, slots, channel, by_pair)
        assert [fields(each) for each in live.shown] == shown_of(exact)
        assert live.explain() == exact
        assert_pairs(decider, live)


def assert_pairs(decider: LiveDecider, live: LiveDecision) -> None:
    for each in live.shown:
        if each.pair >= 0:
            assert decider.adaptive[each.pair] == (each.action, each.channel)
        else:
            assert (each.action, each.channel) not in decider.adaptive


SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)


def test_what_is_nearly_the_same_after_costs_is_told_apart_in_the_compiled_form() -> None:
    rng = random.Random(4)
    for _ in range(900):
        check(near_ties(rng), 1, {}, rng)


@settings(SETTINGS, derandomize=True)
@given(st.integers(0, 2**48), st.sampled_from(MOMENTS))
def test_the_compiled_form_decides_alike(seed: int, context: Context) -> None:
    rng = random.Random(seed)
    check(with_adaptive(some_plan(rng), rng), 10, context, rng)


@pytest.mark.slow
@settings(SETTINGS, max_examples=1_000)
@given(st.integers(0, 2**48), st.sampled_from(MOMENTS))
def test_many_compiled_plans_decide_alike(seed: int, context: Context) -> None:
    rng = random.Random(seed)
    check(with_adaptive(some_plan(rng), rng), 100, context, rng)
