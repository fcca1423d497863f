"""Decide for one customer at a time over 200 actions with adaptive propensities, as the server does.

    python -m benchmarks.decide_one [--actions 200] [--decisions 20000] [--repeat 5]

Processor time per decision in process, medians of the repeats with their spread, beside the median and the
99th percentile on the wall's clock; for the whole and for its two parts: the rates of all adaptive models and
the decision. Each action has five predicates over 60 profile names, two or three channels that need consent,
three caps (one counted per action), a value that is a number or (every other one) an expression of its own,
and an adaptive propensity of five predictors in each channel that has learned from responses. About 60
actions are eligible. There are 200 customers, so that values are at hand as if they had just been computed.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from tilltal.decisions.live.decider import LiveDecider
from tilltal.decisions.plan import DecisionPlan, Policies, plan_decisions
from tilltal.models.adaptive.bins import bins_from
from tilltal.models.adaptive.layout import layout_of
from tilltal.models.adaptive.methods import new_model
from tilltal.models.adaptive.table import AdaptiveTable
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.actions import Action, Adaptive, Condition, Learned
from tilltal.workspace.definitions.contact import AppliesTo, Cap, Contact
from tilltal.workspace.definitions.policies import (
    ActionScope,
    Arbitration,
    Consent,
    ContextRule,
    Levers,
    Purpose,
)

CLOCK = Clock(datetime(2026, 5, 4, 10, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
AT = int(CLOCK.now.timestamp() * 1_000_000)
CHANNELS = ("app", "email", "sms")
STAGES = ("New", "Loyal", "Retain", "Regain")
TOWNS = tuple(f"town_{number}" for number in range(20))
NUMBERS = tuple(f"n{number}" for number in range(40))
FLAGS = tuple(f"has_{number}" for number in range(15))
SCHEMA: dict[str, Type] = {
    **dict.fromkeys(NUMBERS, Type.NUMBER),
    **dict.fromkeys(FLAGS, Type.BOOLEAN),
    "age": Type.INTEGER,
    "town": Type.TEXT,
    "lifecycle.stage": Type.TEXT,
    **{f"consent.marketing.{channel}": Type.BOOLEAN for channel in CHANNELS},
}
FEATURES = ("age", "town", "lifecycle.stage", "n0", "n1")


def predicate(rng: random.Random) -> str:
    """A condition that most customers fulfil; one in ten asks for two values."""
    one, two = rng.sample(NUMBERS, 2)
    if rng.random() < 0.1:
        return rng.choice(
            (f"{one} > {two} - {rng.randrange(40, 90)}", f"{one} + {two} < {rng.randrange(140, 190)}")
        )
    return rng.choice(
        (
            f"{one} > {rng.randrange(5, 35)}",
            f"COALESCE({one}, 0) < {rng.randrange(68, 95)}",
            f"age BETWEEN {rng.randrange(18, 26)} AND {rng.randrange(60, 90)}",
            f"lifecycle.stage <> '{rng.choice(STAGES)}'",
            f"town NOT IN ('{rng.choice(TOWNS)}', '{rng.choice(TOWNS)}')",
            f"NOT {rng.choice(FLAGS)}",
        )
    )


def action(number: int, rng: random.Random) -> Action:
    names = iter(("life", "right", "now", "fit", "interest"))
    conditions = [Condition(name=name, when=predicate(rng)) for name in names]
    return Action(
        title=f"Action {number}",
        group=f"group_{number % 12}",
        issue=rng.choice(("sales", "service", "retention")),
        eligibility=tuple(conditions[:2]),
        applicability=tuple(conditions[2:4]),
        suitability=tuple(conditions[4:]),
        propensity=Learned(adaptive=Adaptive(base_rate=round(rng.uniform(0.005, 0.1), 3), features=FEATURES)),
        value=rng.choice(
            (float(rng.randrange(50, 5000)), f"{rng.randrange(20, 200)} + {rng.choice(NUMBERS)}")
        ),
    )


def plan(actions: int) -> DecisionPlan:
    rng = random.Random(1)
    made = {f"action_{number:03d}": action(number, rng) for number in range(actions)}
    policies = Policies(
        arbitration=Arbitration(
            slots=3,
            max_per_group=1,
            offer_only_positive=True,
            context_rules=(
                ContextRule(key="page", value="loans", weight=30, applies_to=ActionScope(group="group_1")),
                ContextRule(
                    key="lifecycle.stage",
                    value="Retain",
                    weight=20,
                    applies_to=ActionScope(issue="retention"),
                ),
            ),
            levers=Levers(group={"group_2": 10}, action={"action_007": -20}),
        ),
        consent=Consent(purposes={"marketing": Purpose()}),
        contact=Contact(
            caps=(
                Cap(name="weekly", limit=5, rolling="P7D"),
                Cap(name="sms", limit=1, rolling="P7D", applies_to=AppliesTo(channel="sms")),
                Cap(name="each_action", limit=2, rolling="P30D", each=("action",)),
            )
        ),
    )
    channels = {name: rng.sample(CHANNELS, rng.choice((2, 3))) for name in made}
    return plan_decisions(made, channels, SCHEMA, policies, CLOCK)


def customer(names: frozenset[str], rng: random.Random) -> dict[str, Any]:
    row: dict[str, Any] = {name: round(rng.uniform(0, 100), 2) for name in NUMBERS if rng.random() < 0.95}
    row |= {name: rng.random() < 0.2 for name in FLAGS}
    row |= {"age": rng.randrange(18, 90), "town": rng.choice(TOWNS), "lifecycle.stage": rng.choice(STAGES)}
    row |= {f"consent.marketing.{channel}": rng.random() < 0.8 for channel in CHANNELS}
    counters = [name for name in names if name.startswith("contacts.")]
    return row | {name: rng.choice((1, 1, 2)) for name in rng.sample(counters, 4)}


def taught(decider: LiveDecider, rows: list[list[Any]], responses: int) -> AdaptiveTable:
    """A table of models that have learned from `responses` random responses."""
    rng = random.Random(2)
    bins = {name: bins_from([row[decider.slots[name]] for row in rows], SCHEMA[name]) for name in FEATURES}
    actions = {each.name: each.definition.propensity for each in decider.plan.actions}
    models = []
    for name, _ in decider.adaptive:
        learned = actions[name]
        assert isinstance(learned, Learned)
        models.append(new_model(layout_of(learned.adaptive, bins)))
    table = AdaptiveTable(models, decider.slots, AT)
    for _ in range(responses):
        number = rng.randrange(len(models))
        models[number].learn(table.case(number, rng.choice(rows), AT), rng.random() < 0.05)
    table.refresh(AT)
    return table


def timed(work: Callable[[list[Any]], object], rows: list[list[Any]]) -> list[float]:
    """Microseconds of each call, by the clock on the wall."""
    clock, costs = time.perf_counter_ns, []
    for row in rows:
        started = clock()
        work(row)
        costs.append((clock() - started) / 1000)
    return sorted(costs)


def cpu(work: Callable[[list[Any]], object], rows: list[list[Any]]) -> float:
    """Processor microseconds per call."""
    started = time.process_time()
    for row in rows:
        work(row)
    return (time.process_time() - started) / len(rows) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--actions", type=int, default=200)
    parser.add_argument("--decisions", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    started = time.perf_counter()
    decider = LiveDecider(plan(options.actions))
    compiled = time.perf_counter() - started
    rng = random.Random(3)
    rows = [decider.values_of(customer(decider.plan.names, rng)) for _ in range(200)]
    table = taught(decider, rows, 20_000)
    eligible = [decider.decide(row, CLOCK, {}).eligible for row in rows]
    context = {"page": "loans"}
    rates = table.rates(rows[0])
    steps: dict[str, Callable[[list[Any]], object]] = {
        "rates of all models": table.rates,
        "decision": lambda row: decider.decide(row, CLOCK, context, rates=rates),
        "both": lambda row: decider.decide(row, CLOCK, context, rates=table.rates(row)),
    }
    gc.collect()
    gc.freeze()  # as a server does when it is ready
    shown = Table("step", "CPU µs", "from", "to", "wall µs", "p99", title=f"{options.actions} actions")
    for name, work in steps.items():
        drawn = [[rng.choice(rows) for _ in range(options.decisions)] for _ in range(options.repeat)]
        costs = [cpu(work, each) for each in drawn]
        walls = [timed(work, each) for each in drawn]
        shown.add_row(
            name,
            *(f"{cost:.1f}" for cost in (statistics.median(costs), min(costs), max(costs))),
            *(f"{statistics.median(wall[len(wall) * at // 100] for wall in walls):.1f}" for at in (50, 99)),
        )
    console = Console()
    console.print(shown)
    console.print(
        f"compiled in {compiled:.2f} s; {len(decider.adaptive)} models; "
        f"eligible actions: median {statistics.median(eligible):.0f}, {min(eligible)} to {max(eligible)}"
    )


if __name__ == "__main__":
    main()
