"""One plan, two forms: deciding for everybody by SQL and numpy equals deciding for each customer exactly."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tilltal.decisions.arbitration import Context
from tilltal.decisions.batch import BatchDecision, input_sql, rank
from tilltal.decisions.batch_offers import MOST, offers
from tilltal.decisions.live.reasons import narrowed
from tilltal.decisions.plan import DecisionPlan, Policies, plan_decisions
from tilltal.decisions.single import Decision, as_row, decide
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.actions import Action, Condition
from tilltal.workspace.definitions.contact import AppliesTo, Cap, Contact
from tilltal.workspace.definitions.engagement import EngagementPolicy, Tiers
from tilltal.workspace.definitions.policies import (
    ActionScope,
    Arbitration,
    Consent,
    ContextRule,
    Defaults,
    Factors,
    Influencer,
    Levers,
    Nothing,
    Purpose,
)

CLOCK = Clock(datetime(2026, 5, 4, 10, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
CHANNELS = ("email", "push")
GROUPS = ("cards", "loans", "savings")
PURPOSES = ("marketing", "service")
MODELS = ("churn", "savings")
SCHEMA = {
    **{f"consent.{purpose}.{channel}": Type.BOOLEAN for purpose in PURPOSES for channel in CHANNELS},
    **{f"score.{model}": Type.NUMBER for model in MODELS},
    "vip": Type.BOOLEAN,
    "age": Type.INTEGER,
    "spend": Type.NUMBER,
    "town": Type.TEXT,
    "birthday": Type.DATE,
    "answer": Type.ANY,
}
ARROW = {
    Type.BOOLEAN: pa.bool_(),
    Type.INTEGER: pa.int64(),
    Type.NUMBER: pa.float64(),
    Type.TEXT: pa.string(),
    Type.DATE: pa.date32(),
    Type.ANY: pa.string(),
}
# Products of these tie exactly (0.1 × 3 = 0.3), nearly (1e8 has no nine decimals), or not at all.
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 1 / 3, 0.30000000000000004, 0.29999999999999999, 1e-9, 5e-10, 1.0)
AMOUNTS = (
    0.0,
    -0.0,
    1.0,
    3.0,
    0.5,
    -5.0,
    1e-9,
    5e-10,
    5e-9,
    0.1 + 0.2,
    1e8,
    1e8 + 1e-7,
    3e8,
    33333333.333333332,
    123456789.123456789,
    1e16,
    1e300,
)
COSTS = (5e-10, 1.5e-9, 0.1 + 0.2, 3.0, 33333333.333333332, 1e8, 1e8 + 1e-7, 1e12)
WEIGHTS = (0.0, 10.0, 0.1, 33.3, -33.3, -33.4, -50.0, -99.99999, -100.0, -150.0, 200.0, 1e-7)
CONDITIONS = (
    "age >= 18",
    "age < 40",
    "vip",
    "NOT vip",
    "town = 'Umeå'",
    "spend / age > 1",
    "spend IS NULL",
    "`score.churn` < 0.3",
    "consent.marketing.email",
    "`context.page` = 'loan'",
    "`context.amount` IS NULL OR `context.amount` < age",
    "`history.channel.push.reject_30d` = 0",
    "COALESCE(`history.any.days_since_contact`, 9) > 1",
)
VALUES = (
    "spend",
    "spend * 0.1",
    "age",
    "spend / (age - 18)",
    "CASE WHEN vip THEN spend END",
    "`score.churn` * spend",
)
WRONG_SHARES = (None, -0.1, 1.0000000000000002, 7.0)


def some_condition(rng: random.Random, number: int) -> Condition:
    text = rng.choice(CONDITIONS).replace("`", "")
    return Condition(name=f"rule_{number}", when=text)


def some_action(rng: random.Random) -> Action:
    stages: dict[str, Any] = {
        stage: tuple(some_condition(rng, number) for number in range(rng.choice((0, 0, 0, 1, 2))))
        for stage in ("eligibility", "applicability", "suitability")
    }
    return Action(
        title="An action",
        group=rng.choice(GROUPS),
        issue=rng.choice(("sales", "service")),
        purpose=rng.choice((*PURPOSES, "research")) if rng.random() < 0.9 else "marketing",
        propensity=rng.choice((rng.choice(MODELS), rng.choice(SHARES), rng.choice(WRONG_SHARES))),
        uplift=rng.choice((None, None, None, *MODELS)),
        value=rng.choice(VALUES).replace("`", "") if rng.random() < 0.4 else rng.choice(AMOUNTS),
        mandatory=rng.random() < 0.2,
        cost=rng.choice((None, None, 0.0, 0.1, 2.5, rng.choice(COSTS))),
        starts=rng.choice((None, None, None, "2026-05-04", "2026-05-04T12:00:01", "2026-05-04T12:00")),
        ends=rng.choice((None, None, None, "2026-05-04T12:00:00", "2026-05-04T12:00:01", "2026-05-03")),
        **stages,
    )


def some_applies_to(rng: random.Random) -> ActionScope:
    return ActionScope(
        action=rng.choice((None, None, "a", "b")),
        group=rng.choice((None, *GROUPS)),
        issue=rng.choice((None, None, "sales")),
    )


def some_rule(rng: random.Random) -> ContextRule:
    key, value = rng.choice(
        (
            ("page", "loan"),
            ("page", "car"),
            ("hour", 7),
            ("hour", True),
            ("vip", True),
            ("vip", 1),
            ("age", 18),
            ("age", 18.0),
            ("age", True),
            ("age", "18"),
            ("spend", 3),
            ("town", "Umeå"),
            ("town", 7),
            ("birthday", "2000-02-29"),
            ("answer", '"yes"'),
            ("answer", "yes"),
            ("answer", 7),
            ("unheard_of", "x"),
        )
    )
    return ContextRule(
        key=key,
        value=value,
        weight=rng.choice(WEIGHTS),
        applies_to=rng.choice((ActionScope(), some_applies_to(rng))),
    )


def some_levers(rng: random.Random, names: tuple[str, ...]) -> dict[str, float]:
    return {name: rng.choice(WEIGHTS) for name in names if rng.random() < 0.3}


def some_policy(rng: random.Random) -> Arbitration:
    on = [rng.random() < 0.85 for _ in range(4)]
    return Arbitration(
        mode=rng.choice(("pcvl", "pcvl", "nbo")),
        slots=rng.choice((1, 1, 2, 3, 9)),
        defaults=Defaults(propensity=rng.choice((0.5, 0.1)), value=rng.choice((0.0, 3.0, -1.0))),
        factors=Factors(P=on[0], C=on[1], V=on[2], L=on[3]),
        offer_only_positive=rng.random() < 0.5,
        nothing=rng.choice((None, Nothing(below=rng.choice((0.1, 0.3, 0.1 + 0.2, 1e-9, 3e7, -1.0, 5e15))))),
        max_per_group=rng.choice((None, None, 1, 2)),
        max_per_issue=rng.choice((None, None, None, 1, 2)),
        influencers=tuple(some_influencer(rng) for _ in range(rng.choice((0, 0, 1, 2)))),
        costs=rng.choice(
            ({}, {}, {"email": 0.1}, {"push": 0.3, "email": 1.0}, {"email": rng.choice(COSTS), "push": 1e8})
        ),
        context_rules=tuple(some_rule(rng) for _ in range(rng.choice((0, 1, 3, 6)))),
        levers=Levers(
            action=some_levers(rng, ("a", "b", "c", "gone")),
            group=some_levers(rng, GROUPS),
            issue=some_levers(rng, ("sales",)),
        ),
    )


def some_influencer(rng: random.Random) -> Influencer:
    return Influencer(
        on=rng.choice(("reject", "contact")),
        scope=rng.choice(("action", "group", "issue")),
        weight=rng.choice(WEIGHTS),
        half_life="P14D",
        applies_to=rng.choice((ActionScope(), some_applies_to(rng))),
    )


def some_tiers(rng: random.Random, level: str) -> Tiers:
    def some(stage: str) -> tuple[Condition, ...]:
        if rng.random() < 0.7:
            return ()
        return (Condition(name=f"{level}_{stage}", when=some_condition(rng, 0).when),)

    return Tiers(eligibility=some("may"), applicability=some("now"), suitability=some("good"))


def some_engagement(rng: random.Random) -> EngagementPolicy:
    return EngagementPolicy(
        context={"page": "text", "amount": "number"},
        all_=some_tiers(rng, "all"),
        issues={"sales": some_tiers(rng, "sales")},
        groups={group: some_tiers(rng, group) for group in GROUPS[:2]},
    )


def some_caps(rng: random.Random) -> tuple[Cap, ...]:
    return tuple(
        Cap(
            name=f"cap_{number}",
            limit=rng.choice((0, 1, 3)),
            rolling="P7D",
            applies_to=AppliesTo(
                channel=rng.choice((None, None, *CHANNELS)), purpose=rng.choice((None, *PURPOSES))
            ),
            each=rng.choice(((), ("channel",), ("group", "action"))),
        )
        for number in range(rng.choice((0, 0, 1, 2)))
    )


def some_plan(rng: random.Random) -> DecisionPlan:
    actions = {name: some_action(rng) for name in "abcdefgh"[: rng.choice((0, 1, 3, 5, 8))]}
    channels = {name: rng.sample(CHANNELS, rng.choice((0, 1, 1, 2, 2))) for name in actions}
    consent = Consent(
        purposes={
            "marketing": Purpose(),
            "service": Purpose(consent=rng.choice(("required", "not_required"))),
        }
    )
    policies = Policies(
        arbitration=some_policy(rng),
        consent=consent,
        contact=Contact(caps=some_caps(rng)),
        engagement=some_engagement(rng),
    )
    return plan_decisions(actions, channels, SCHEMA, policies, CLOCK)


def some_value(kind: Type, name: str, rng: random.Random) -> Any:
    if rng.random() < 0.2:
        return None
    match kind:
        case Type.BOOLEAN:
            return rng.random() < 0.7
        case Type.INTEGER:
            return rng.choice((0, 1, 2, 18, 19, 40))
        case Type.NUMBER:
            return rng.choice((*SHARES, -0.1, 2.0) if name.startswith("score.") else AMOUNTS)
        case Type.TEXT:
            return rng.choice(("Umeå", "it's", "7", ""))
        case Type.DATE:
            return rng.choice((datetime(2000, 2, 29).date(), datetime(2026, 5, 4).date()))
    return rng.choice(('"yes"', "7", "true", '"7"'))


def some_reading(name: str, rng: random.Random) -> tuple[tuple[Any, ...], pa.DataType]:
    """Values of a name that is not the profile's, and their type."""
    if name == "context.page":
        return (None, "loan", "car"), pa.string()
    if name == "context.amount":
        return (None, 1.0, 18.0, 30.0), pa.float64()
    if name.startswith("consent."):
        return (None, True, False), pa.bool_()
    if name.startswith("contacts.influence."):
        return (None, 0, 0, 10_000_000, -33_333_333, -70_000_001, -250_000_000), pa.int64()
    return (None, 0, 1, 2, 3), pa.int64()


def some_rows(plan: DecisionPlan, count: int, rng: random.Random) -> pa.Table:
    """Profiles with every name of the schema, and every further name that the plan reads."""
    further = sorted(plan.names - set(SCHEMA))
    columns: dict[str, pa.Array] = {"profile": pa.array(range(count), pa.int64())}
    for name, kind in SCHEMA.items():
        columns[name] = pa.array([some_value(kind, name, rng) for _ in range(count)], ARROW[kind])
    for name in further:
        values, kind = some_reading(name, rng)
        columns[name] = pa.array([rng.choice(values) for _ in range(count)], kind)
    return pa.table(columns)


MOMENTS: tuple[Context, ...] = (
    {},
    {"page": "loan"},
    {"page": "car", "hour": 7},
    {"hour": True, "vip": False},
    {"age": 18.0},
)


def in_batch(plan: DecisionPlan, table: pa.Table, context: Context) -> BatchDecision:
    with DuckDBEngine(threads=1) as engine:
        engine.register("profiles", table)
        found = engine.arrow(input_sql(plan, "profiles", CLOCK) + " ORDER BY profile")
    return rank(plan, found, context)


def reasons_of(plan: DecisionPlan, batch: BatchDecision, row: int) -> dict[str, str]:
    """Each removed candidate with its reason; empty for those that came to the ranking."""
    return {
        action.name: batch.reason_names[batch.reasons[row, index]]
        for index, action in enumerate(plan.actions)
    }


COMPARED = ("outranked:", "tie_name:", "mandatory:", "group_limit:", "issue_limit:")


def differences(plan: DecisionPlan, batch: BatchDecision, row: int, exact: Decision) -> list[str]:
    found = []
    shown = [plan.actions[place].name for place in batch.actions[row] if place >= 0]
    if shown != [entry.action for entry in exact.ranking.ranked]:
        return [f"shown {shown}, exactly {[entry.action for entry in exact.ranking.ranked]}"]
    reasons = {
        entry.action: "" if entry.reason.startswith(COMPARED) else entry.reason
        for entry in exact.ranking.lost
    } | dict.fromkeys(shown, "")
    if reasons != reasons_of(plan, batch, row):
        found.append(f"reasons {reasons_of(plan, batch, row)}, exactly {reasons}")
    for slot, entry in enumerate(exact.ranking.ranked):
        action = plan.actions[batch.actions[row, slot]]
        place = batch.channels[row, slot]
        channel = action.channels[place].name if place >= 0 else None
        if channel != exact.proposals[entry.action].channel:
            found.append(f"{entry.action} by {channel}, exactly {exact.proposals[entry.action].channel}")
        factors = (batch.propensity, batch.context, batch.value, batch.lever)
        got = [float(matrix[row, slot]) for matrix in (*factors, batch.cost)]
        wanted = [float(getattr(entry.factors, name)) for name in (*"PCVL", "cost")]
        if got != wanted:
            found.append(f"{entry.action} {got}, exactly {wanted}")
        if not is_near(float(batch.priority[row, slot]), entry.priority, entry.factors.cost):
            found.append(f"{entry.action} priority {batch.priority[row, slot]}, exactly {entry.priority}")
    return found


def is_near(got: float, exact: Decimal, cost: Decimal) -> bool:
    """A float of the ninth decimal, or of as many digits as a float has of it and what was taken off."""
    return abs(Decimal(got) - exact) <= max(Decimal("1.001e-9"), (abs(exact) + cost) * Decimal("1e-14"))


def mismatches(plan: DecisionPlan, table: pa.Table, context: Context) -> list[str]:
    batch = in_batch(plan, table, context)
    return [
        f"row {row}: {difference}"
        for row, profile in enumerate(table.to_pylist())
        for difference in differences(plan, batch, row, decide(plan, as_row(profile, SCHEMA), CLOCK, context))
    ]


SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=40)


@SETTINGS
@given(st.integers(0, 2**48), st.sampled_from(MOMENTS))
def test_random_plans_decide_alike(seed: int, context: Context) -> None:
    rng = random.Random(seed)
    plan = some_plan(rng)
    assert mismatches(plan, some_rows(plan, 40, rng), context) == []


@pytest.mark.slow
@settings(SETTINGS, max_examples=1_000)
@given(st.integers(0, 2**48), st.sampled_from(MOMENTS))
def test_many_random_plans_decide_alike(seed: int, context: Context) -> None:
    rng = random.Random(seed)
    plan = some_plan(rng)
    assert mismatches(plan, some_rows(plan, 100, rng), context) == []


@settings(SETTINGS, max_examples=20)
@given(st.integers(0, 2**48), st.sampled_from(MOMENTS))
def test_every_allowed_channel_is_an_offer_of_what_it_alone_would_be_worth(
    seed: int, context: Context
) -> None:
    rng = random.Random(seed)
    plan = some_plan(rng)
    table = some_rows(plan, 20, rng)
    asked = tuple((n, k) for n, action in enumerate(plan.actions) for k in range(len(action.channels)))
    with DuckDBEngine(threads=1) as engine:
        engine.register("profiles", table)
        query = input_sql(plan, "profiles", CLOCK, every_channel=True)
        found = offers(plan, engine.arrow(query + " ORDER BY profile"), context, asked).priorities
    free = msgspec.structs.replace(plan.arbitration, max_per_group=None, max_per_issue=None)
    for channel in CHANNELS:
        alone = narrowed(msgspec.structs.replace(plan, arbitration=free), 99, channel)
        for row, profile in enumerate(table.to_pylist()):
            ranking = decide(alone, as_row(profile, SCHEMA), CLOCK, context).ranking
            wanted = {entry.action: entry for entry in ranking.ranked}
            for place, (number, position) in enumerate(asked):
                action = plan.actions[number]
                if action.channels[position].name == channel:
                    entry = wanted.get(action.name)
                    assert np.isnan(found[place, row]) == (entry is None)
                    if entry is not None:
                        assert is_near_float32(float(found[place, row]), entry.priority, entry.factors.cost)


def is_near_float32(got: float, exact: Decimal, cost: Decimal) -> bool:
    if abs(exact) > Decimal(MOST):
        return abs(got) == np.float32(MOST) and (got > 0) is (exact > 0)
    return abs(Decimal(got) - exact) <= Decimal("1.1e-9") + (abs(exact) + cost) * Decimal("1e-7")


def plan_of(policy: Arbitration, **actions: Action) -> DecisionPlan:
    policies = Policies(
        arbitration=policy, consent=Consent(purposes={"service": Purpose(consent="not_required")})
    )
    return plan_decisions(actions, dict.fromkeys(actions, ("email",)), SCHEMA, policies, CLOCK)


def service(propensity: float | str | None, value: float | str, **more: Any) -> Action:
    return Action(
        title="",
        group=more.pop("group", "cards"),
        purpose="service",
        propensity=propensity,
        value=value,
        **more,
    )


def near_ties(rng: random.Random) -> DecisionPlan:
    """Actions whose products and costs are far apart and of which almost the same is left.

    What is left lies at a border where it matters, too: nothing, half of the ninth decimal, a limit.
    """
    border = rng.choice((0.0, 5e-10, 1.5e-9, 0.3, 40.0, -7.25))
    actions = {}
    for name in "abcdef":
        cost = rng.choice((0.0, 0.1, 60.0, 12345.67, 1e6, rng.uniform(0, 3e8), 9e11))
        left = Decimal(repr(border)) + Decimal(rng.choice((0, 0, 0, 1, -1, 2, 5, -5))) * Decimal("1e-10")
        share = rng.choice((1.0, 0.1, 0.3, 1 / 3, rng.random()))
        worth = float((left + Decimal(repr(cost))) / Decimal(repr(share)))
        for _ in range(rng.choice((0, 0, 1, 2))):
            worth = math.nextafter(worth, rng.choice((math.inf, -math.inf)))
        actions[name] = service(share, worth, cost=cost, mandatory=rng.random() < 0.1)
    policy = Arbitration(
        slots=rng.choice((1, 2, 4)),
        offer_only_positive=rng.random() < 0.5,
        nothing=rng.choice((None, Nothing(below=border))),
    )
    return plan_of(policy, **actions)


def test_what_is_nearly_the_same_after_costs_is_told_apart_in_both_forms() -> None:
    rng = random.Random(4)
    for _ in range(600):
        plan = near_ties(rng)
        columns: dict[str, list[object]] = {
            f"{name}{n}": [0] for n in range(len(plan.actions)) for name in "fh"
        }
        columns |= {f"p{place}": [action.propensity] for place, action in enumerate(plan.actions)}
        columns |= {f"v{place}": [action.value] for place, action in enumerate(plan.actions)}
        assert differences(plan, rank(plan, pa.table(columns), {}), 0, decide(plan, {}, CLOCK, {})) == []


def test_a_cost_is_paid_whatever_the_answer() -> None:
    policy = Arbitration(costs={"email": 60.0}, nothing=Nothing(below=0.0), slots=2)
    plan = plan_of(policy, a=service(0.1, 100.0), b=service(0.7, 100.0), c=service(0.1, 100.0, cost=9.5))
    exact, batch = decide(plan, {}, CLOCK, {}), in_batch(plan, nobody_special(), {})
    assert [(one.action, float(one.priority)) for one in exact.ranking.ranked] == [("b", 10.0), ("c", 0.5)]
    (lost,) = exact.ranking.lost
    assert (lost.action, lost.reason, float(lost.priority or 0)) == ("a", "below_nothing", -50.0)
    assert (batch.priority[0].tolist(), batch.cost[0].tolist()) == ([10.0, 0.5], [60.0, 9.5])
    assert batch.value[0].tolist() == [100.0, 100.0]
    assert mismatches(plan, nobody_special(), {}) == []


def test_without_values_a_priority_is_no_money_and_costs_nothing() -> None:
    policy = Arbitration(costs={"email": 60.0}, factors=Factors(V=False))
    plan = plan_of(policy, a=service(0.2, 100.0), b=service(0.1, 900.0))
    (entry,) = decide(plan, {}, CLOCK, {}).ranking.ranked
    assert (entry.action, float(entry.priority), float(entry.factors.cost)) == ("a", 0.2, 0.0)
    assert mismatches(plan, nobody_special(), {}) == []


def nobody_special(count: int = 1) -> pa.Table:
    names = {"profile": pa.array(range(count), pa.int64())}
    return pa.table(names | {name: pa.nulls(count, ARROW[kind]) for name, kind in SCHEMA.items()})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0.1, 3.0), (0.3, 1.0)),  # floats: 0.30000000000000004 and 0.3
        ((1 / 3, 1e8), (1.0, 33333333.33333333)),  # apart in the ninth decimal, one float step
        ((0.1, 3e8), (0.3, 1e8)),
        ((0.7, 123456789.1), (0.1, 864197523.7)),
    ],
)
def test_rounding_of_floats_decides_nothing(first: tuple[float, float], second: tuple[float, float]) -> None:
    for one, other in ((first, second), (second, first)):
        plan = plan_of(Arbitration(), a=service(*one), b=service(*other))
        assert mismatches(plan, nobody_special(), {}) == []


def test_a_worth_that_rounds_to_nothing_is_not_positive_in_both_forms() -> None:
    policy = Arbitration(offer_only_positive=True, slots=3)
    plan = plan_of(policy, a=service(0.1, 5e-9), b=service(1.0, 5e-10), c=service(1.0, 5.1e-10))
    batch = in_batch(plan, nobody_special(), {})
    assert reasons_of(plan, batch, 0) == {"a": "not_positive", "b": "not_positive", "c": ""}
    assert mismatches(plan, nobody_special(), {}) == []


def test_weights_that_cancel_leave_no_dust() -> None:
    rules = tuple(ContextRule(key="vip", value=True, weight=weight) for weight in (-33.3, -33.3, -33.4))
    policy = Arbitration(offer_only_positive=True, context_rules=rules)
    plan = plan_of(policy, a=service(0.5, 1e8))
    table = nobody_special().set_column(3 + 4, "vip", pa.array([True]))
    assert table.column_names.count("vip") == 1
    batch = in_batch(plan, table, {})
    assert reasons_of(plan, batch, 0) == {"a": "not_positive"}
    assert mismatches(plan, table, {}) == []


def test_a_context_value_of_another_type_matches_nobody() -> None:
    rules = (
        ContextRule(key="town", value=7, weight=100.0),
        ContextRule(key="vip", value=1, weight=100.0),
        ContextRule(key="birthday", value="2000-02-29", weight=100.0),
    )
    plan = plan_of(Arbitration(context_rules=rules), a=service(0.5, 1.0))
    rng = random.Random(1)
    table = some_rows(plan, 200, rng)
    assert np.all(in_batch(plan, table, {}).context == 1.0)
    assert mismatches(plan, table, {}) == []


def test_nobody_and_nothing_to_decide() -> None:
    assert in_batch(plan_of(Arbitration()), nobody_special(3), {}).actions.tolist() == [[-1]] * 3
    empty = in_batch(plan_of(Arbitration(slots=2), a=service(0.5, 1.0)), nobody_special(0), {})
    assert empty.actions.shape == (0, 2)


def test_the_largest_numbers_are_ranked_not_lost() -> None:
    plan = plan_of(
        Arbitration(levers=Levers(action={"b": 1e300})), a=service(1.0, 1e300), b=service(1.0, 1e299)
    )
    batch = in_batch(plan, nobody_special(), {})
    assert batch.actions.tolist() == [[1]]
    assert math.isinf(batch.priority[0, 0])
    assert decide(plan, {}, CLOCK, {}).ranking.ranked[0].action == "b"


def test_a_stage_that_failed_goes_before_the_contact_policy() -> None:
    action = service(0.5, 1.0, eligibility=(Condition(name="adult", when="age >= 18"),))
    plan = plan_of(Arbitration(), a=msgspec.structs.replace(action, purpose="marketing"))
    assert reasons_of(plan, in_batch(plan, nobody_special(), {}), 0) == {"a": "eligibility:adult"}
