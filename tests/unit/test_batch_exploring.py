"""Exploration in batch: seeded, the same as alone and as live, kept with the snapshot, simulated alike."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from tests.bank import NOW, Bank

from tilltal.core.ids import profile_text
from tilltal.decisions.batch import input_sql, rank
from tilltal.decisions.batch_exploring import Belief, Exploration, decide_exploring, explored, openings
from tilltal.decisions.live.decider import LiveDecider
from tilltal.decisions.live.exploring import Chance
from tilltal.decisions.plan import DecisionPlan, Policies, opening_name, plan_decisions
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.governance.keys import keep_open_key
from tilltal.models.adaptive.exploration import is_open
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.runtime.answers.explain import explain
from tilltal.runtime.answers.simulation.planning import plan as plan_changes
from tilltal.runtime.answers.simulation.scenarios import scenarios_of
from tilltal.runtime.answers.simulation.simulate import Request, simulate
from tilltal.runtime.live.contract import DecideRequest, Response
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.run import refresh
from tilltal.workspace.check import usable
from tilltal.workspace.definitions.actions import Action, Adaptive, Condition, Learned
from tilltal.workspace.definitions.policies import Arbitration, Consent, Purpose
from tilltal.workspace.definitions.policies import Exploration as Explores

CLOCK = Clock(datetime(2026, 5, 4, 10, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
ADULT = (Condition(name="adult", when="age >= 18"),)
KNOWN = Exploration(
    "a seed",
    {
        ("a", "email"): Belief(0.10, 50.0, 5.0, 45.0),
        ("a", "push"): Belief(0.15, 30.0, 4.0, 20.0),
        ("b", "email"): Belief(0.12, 20.0, 2.0, 10.0),
        ("c", "push"): Belief(0.02, 40.0, 1.0, 39.0),
    },
)


def learned(value: float = 10.0, **more: Any) -> Action:
    return Action(
        title="",
        group="cards",
        purpose="service",
        propensity=Learned(adaptive=Adaptive(base_rate=0.1)),
        value=value,
        **more,
    )


def plan_of(**policy: Any) -> DecisionPlan:
    actions = {
        "a": learned(),
        "b": learned(eligibility=ADULT),
        "c": learned(60.0),
        "fixed": Action(title="", group="other", purpose="service", propensity=0.1, value=11.0),
    }
    channels = {"a": ("email", "push"), "b": ("email",), "c": ("push",), "fixed": ("email",)}
    policies = Policies(
        arbitration=Arbitration(slots=2, **policy),
        consent=Consent(purposes={"service": Purpose(consent="not_required")}),
    )
    return plan_decisions(actions, channels, {"age": Type.INTEGER}, policies, CLOCK)


def people(count: int, plan: DecisionPlan) -> pa.Table:
    ids = np.arange(count) * 7919 + 13
    columns = {name: pa.array(who.astype(np.int64)) for name, who in openings(plan, KNOWN, ids).items()}
    return pa.table({"profile": pa.array(ids), "age": pa.array(ids % 40), **columns})


@pytest.mark.parametrize("opening", [False, True])
def test_batch_alone_and_live_explore_the_same_for_a_seed(opening: bool) -> None:
    plan = plan_of(exploration=Explores(method="thompson", opening=opening))
    table = people(300, plan)
    with DuckDBEngine(threads=1) as engine:
        engine.register("people", table)
        rows = engine.arrow(input_sql(plan, "people", CLOCK) + " ORDER BY profile")
    made = rank(plan, explored(plan, rows, KNOWN), {})
    decider = LiveDecider(plan)
    rates = np.array([KNOWN.beliefs[pair].rate for pair in decider.adaptive])
    evidence = np.array([KNOWN.beliefs[pair].evidence for pair in decider.adaptive])
    names = [action.name for action in plan.actions]
    seen = set()
    for place, row in enumerate(table.to_pylist()):
        together = [names[index] for index in made.actions[place] if index >= 0]
        alone = decide_exploring(plan, row, CLOCK, {}, KNOWN, row["profile"])
        assert [one.action for one in alone.ranking.ranked] == together
        chance = Chance(evidence, KNOWN.of_customer(row["profile"]))
        live = decider.decide(decider.values_of(row), CLOCK, {}, rates=rates, chance=chance)
        assert [one.action for one in live.shown] == together
        shares = [float(one.factors.P) for one in alone.ranking.ranked]
        assert [one.P for one in live.shown] == shares == made.propensity[place][: len(shares)].tolist()
        seen.add(tuple(together))
    assert len(seen) > 3, "draws change who comes first"


def test_another_seed_draws_otherwise_and_without_thompson_nothing_is_drawn() -> None:
    plan = plan_of(exploration=Explores(method="thompson"))
    with DuckDBEngine(threads=1) as engine:
        engine.register("people", people(200, plan))
        rows = engine.arrow(input_sql(plan, "people", CLOCK) + " ORDER BY profile")
    first, again = explored(plan, rows, KNOWN), explored(plan, rows, KNOWN)
    assert first == again
    assert first.column("p0") != explored(plan, rows, Exploration("other", KNOWN.beliefs)).column("p0")
    assert first.column("p3") == rows.column("p3"), "what does not learn stays"
    plain = plan_of()
    assert explored(plain, rows, KNOWN) is rows


def test_draws_are_those_of_the_beliefs() -> None:
    plan = plan_of(exploration=Explores(method="thompson"))
    with DuckDBEngine(threads=1) as engine:
        engine.register("people", people(4000, plan))
        rows = engine.arrow(input_sql(plan, "people", CLOCK) + " ORDER BY profile")
    drawn = explored(plan, rows, KNOWN).column("p0").to_numpy()
    belief = KNOWN.beliefs["a", "email"]
    spread = (belief.rate * (1 - belief.rate) / (belief.evidence + 1)) ** 0.5
    assert abs(drawn.mean() - belief.rate) < 4 * spread / len(drawn) ** 0.5
    assert drawn.std() == pytest.approx(spread, rel=0.06)


def test_who_an_action_is_open_to_is_who_a_server_opens_it_to() -> None:
    plan = plan_of(exploration=Explores(opening=True))
    ids = np.arange(2000, dtype=np.int64)
    closed = openings(plan, KNOWN, ids)
    assert set(closed) == {opening_name(name) for name in "abc"}
    for name, positives in (("a", 9.0), ("b", 2.0), ("c", 1.0)):
        alone = [not is_open(number, name, positives) for number in ids.tolist()]
        assert closed[opening_name(name)].tolist() == alone
        assert 0 < sum(alone) < len(alone)


PEOPLE = 400
SOURCE = """
    kind: event
    read: {files: data/visits.csv}
    identities: {crm: customer}
    at: at
    event: visit
    fields: {page: text}
"""
ACTION = """
    title: {name}
    group: {name}
    purpose: service
    propensity: {{adaptive: {{base_rate: 0.1, evidence: 20}}}}
    value: {value}
"""


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    made = Bank(tmp_path / "bank")
    keep_open_key(made.root / ".tilltal/vault", "ab" * 32)  # who an action is open to follows from pseudonyms
    lines = (f"C-{one},2026-03-01T09:00,loan" for one in range(PEOPLE))
    made.write("sources/visit.yaml", SOURCE)
    made.write("data/visits.csv", "customer,at,page\n" + "\n".join(lines) + "\n")
    made.write("policies/consent.yaml", "purposes: {service: {consent: not_required}}\n")
    made.write("policies/arbitration.yaml", "exploration: {method: thompson, opening: true}\nslots: 2\n")
    for name, value in (("card", 10), ("fund", 11), ("loan", 12)):
        made.write(f"actions/{name}/action.yaml", ACTION.format(name=name, value=value))
        made.write(f"actions/{name}/push.en.yaml", "body: Hello\n")
    made.write(
        "actions/tip/action.yaml", "title: Tip\ngroup: tip\npurpose: service\npropensity: 0.1\nvalue: 9"
    )
    made.write("actions/tip/push.en.yaml", "body: Hello\n")
    made.ingest()
    return made


def shares(made: Bank) -> dict[str, float]:
    with DuckDBEngine(threads=1) as engine:
        rows = engine.rows(
            f"SELECT action, count(*) FROM '{made.store.current_snapshot()}/decisions.parquet' GROUP BY 1"
        )
    return {action: count / PEOPLE for action, count in rows}


def test_a_refresh_explores_and_explanation_plan_and_simulation_agree(bank: Bank) -> None:
    instant = datetime(2026, 4, 1, 20, tzinfo=UTC)
    refresh(bank.workspace, now=NOW, progress=Silent(), as_of=instant)
    found = shares(bank)
    assert 0 < found["loan"] < 0.08, "new actions reach about 2 % of the customers"
    asyncio.run(answered(bank, instant))
    refresh(bank.workspace, now=NOW.replace(hour=13), progress=Silent(), as_of=instant)
    assert shares(bank)["loan"] > found["loan"] + 0.05, "answers open it"
    folder = bank.store.current_snapshot()
    with DuckDBEngine(threads=1) as engine:
        rows = engine.rows(f"SELECT profile, action, P FROM '{folder}/decisions.parquet' WHERE rank = 1")
    drawn = [row for row in rows if row[1] in {"card", "fund", "loan"}]
    assert len({row[2] for row in drawn}) > 10
    for profile, action, propensity in drawn[:10]:
        told = explain(bank.workspace, profile_text(profile), {})
        assert (told.chosen[0].action, told.chosen[0].P) == (action, propensity)
    planned = plan_changes(bank.workspace, {}, Silent())
    assert planned.is_same
    assert [(one.gained, one.lost) for one in planned.actions] == [(0, 0)] * len(planned.actions)
    assert planned.before.expected == pytest.approx(planned.after.expected)

    def simulated(seed: int) -> object:
        request = Request(scenarios=scenarios_of(usable(bank.root), (), with_experiments=False), seed=seed)
        made = simulate(request, Silent()).scenarios[0]
        return made.totals, made.actions

    assert simulated(1) == simulated(1)
    assert simulated(1) != simulated(2)


async def answered(bank: Bank, now: datetime) -> None:
    """Let customers to whom an action is open say yes to it."""
    async with open_server(bank.root, lambda: now, Silent(), {}) as server:
        for number in range(PEOPLE):
            made = await server.decide(DecideRequest(identity={"crm": f"C-{number}"}))
            told = [
                Response(
                    id=f"r{number}-{one.action}",
                    decision_id=made.decision_id,
                    action=one.action,
                    kind="accept",
                    at=now,
                )
                for one in made.actions
                if one.action == "loan"
            ]
            if told:
                await server.respond(told, now)
