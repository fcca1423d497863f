"""A budget of money: contacts take what they cost, and no plan spends more than there is."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties.test_allocation_oracle import best

from tilltal.decisions.allocation.allocate import allocate
from tilltal.decisions.allocation.candidates import options_of, problem_of
from tilltal.decisions.allocation.dual import best_prices
from tilltal.decisions.allocation.grid import grid_of
from tilltal.decisions.allocation.problem import Problem
from tilltal.decisions.plan import DecisionPlan, Policies, plan_decisions
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.allocation import Allocation, Resource, Use
from tilltal.workspace.definitions.contact import AppliesTo
from tilltal.workspace.definitions.policies import Arbitration, Consent, Purpose

CLOCK = Clock(datetime(2026, 5, 4, 10, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
CHANNELS = ("call", "letter", "sms")
COSTS = st.sampled_from((0.0, 0.5, 1.25, 14.0, 60.0))


@st.composite
def plans(draw: st.DrawFn) -> DecisionPlan:
    names = ["advice", "card", "loan"][: draw(st.integers(1, 3))]
    actions = {
        name: Action(title="", group="g", purpose="service", cost=draw(st.none() | COSTS)) for name in names
    }
    channels = {
        name: draw(st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3, unique=True)) for name in names
    }
    policies = Policies(
        arbitration=Arbitration(costs={channel: draw(COSTS) for channel in CHANNELS}),
        consent=Consent(purposes={"service": Purpose(consent="not_required")}),
    )
    return plan_decisions(actions, channels, {}, policies, CLOCK)


@st.composite
def budgets(draw: st.DrawFn) -> tuple[DecisionPlan, Allocation, Problem]:
    plan = draw(plans())
    uses = (
        Use(applies_to=AppliesTo(channel=("sms",)), amount=0.0),
        Use(amount="cost"),
    )[draw(st.integers(0, 1)) :]
    limits = Allocation(
        resources={"budget": Resource(limit=draw(st.sampled_from((0.0, 3.0, 75.0, 400.0))), uses=uses)}
    )
    options = options_of(plan)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.uniform(-2, 30, (len(options), draw(st.integers(1, 25)))).round(2)
    values[rng.random(values.shape) < 0.3] = np.nan
    return plan, limits, problem_of(plan, options, values.astype(np.float32), limits, None)


@given(budgets())
@settings(max_examples=60, deadline=None)
def test_a_contact_takes_what_it_costs_and_the_budget_is_kept(
    drawn: tuple[DecisionPlan, Allocation, Problem],
) -> None:
    plan, limits, problem = drawn
    made = allocate(problem)
    is_sms_free = len(limits.resources["budget"].uses) == 2
    costs = [
        0.0
        if option.channel == "sms" and is_sms_free
        else (
            plan.arbitration.costs[option.channel]
            if plan.actions[option.number].definition.cost is None
            else plan.actions[option.number].definition.cost
        )
        for option in options_of(plan)
    ]
    spent = sum(costs[choice] for choice in made.choice.tolist() if choice >= 0)
    assert spent <= problem.resources[0].limit + 1e-9
    assert made.usage[0] == np.float64(spent)
    assert made.objective <= made.bound + 1e-6
    optimum = best(problem, ())
    assert optimum is not None
    assert made.objective <= optimum + 1e-4
    assert optimum <= made.bound + 1e-4


@given(budgets())
@settings(max_examples=30, deadline=None)
def test_the_shadow_price_bounds_what_more_money_brings(
    drawn: tuple[DecisionPlan, Allocation, Problem],
) -> None:
    """More money brings at most its price, less takes at least that: the bound is concave in the budget."""
    _, _, problem = drawn
    most = float(problem.resources[0].use.max())
    limit = max(problem.resources[0].limit, most)  # below the dearest contact the options differ
    asked = msgspec.structs.replace(problem.resources[0], limit=limit)
    here = best_prices(grid_of(msgspec.structs.replace(problem, resources=(asked,)))).best
    more = msgspec.structs.replace(asked, limit=limit * 1.5 + 1.0)
    there = best_prices(grid_of(msgspec.structs.replace(problem, resources=(more,)))).best
    price = float(here.prices[0])
    assert price >= 0
    assert there.bound <= here.bound + price * (more.limit - limit) + 1e-3
    assert there.bound >= here.bound - 1e-3
