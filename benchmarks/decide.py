"""Score customers with ten models and decide over thirty actions, with reasons, as a refresh does.

    python -m benchmarks.decide [--customers 1000000] [--repeat 3]

CPU seconds of the process (all its threads), medians with spread, against one scan of the profiles' columns
in the same run. Each action has five conditions, two or three channels that need consent, a propensity of
a model and a value expression; there are no caps, for there are no past contacts.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from benchmarks.scoring import NUMBERS, TODAY, customers, trained
from rich.console import Console
from rich.table import Table

from tilltal.core.names import quote
from tilltal.core.time import day_start
from tilltal.decisions.plan import DecisionPlan, Policies, plan_decisions
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.models.model import TrainedModel
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.deciding import INPUT, decide_all
from tilltal.runtime.refresh.scoring import score_table
from tilltal.workspace.definitions.actions import Action, Condition
from tilltal.workspace.definitions.policies import (
    ActionScope,
    Arbitration,
    Consent,
    ContextRule,
    Levers,
    Purpose,
)

ZONE = ZoneInfo("Europe/Stockholm")
CLOCK = Clock(day_start(TODAY, ZONE), ZONE)
CHANNELS = ("email", "sms", "push")
ACTIONS = 30


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def profiles(rows: int) -> pa.Table:
    """Features of `benchmarks.scoring`, consents, and a stage."""
    rng = np.random.default_rng(7)
    table = customers(rows, 999).append_column("is_known", pa.array(np.ones(rows, bool)))
    for channel in CHANNELS:
        table = table.append_column(f"consent.marketing.{channel}", pa.array(rng.random(rows) < 0.6))
    stages = rng.choice(["New", "Loyal", "Retain", "Regain"], rows, p=[0.1, 0.6, 0.2, 0.1])
    return table.append_column("lifecycle.stage", pa.array(stages))


def plan(models: int) -> DecisionPlan:
    """Thirty actions in five groups."""
    schema = {f"n{i}": Type.NUMBER for i in range(NUMBERS)} | {"lifecycle.stage": Type.TEXT}
    schema |= {f"consent.marketing.{channel}": Type.BOOLEAN for channel in CHANNELS}
    actions = {f"action_{number:02d}": action(number, models) for number in range(ACTIONS)}
    policies = Policies(
        arbitration=Arbitration(
            slots=3,
            max_per_group=2,
            context_rules=(
                ContextRule(
                    key="lifecycle.stage", value="Retain", weight=30, applies_to=ActionScope(group="group_1")
                ),
            ),
            levers=Levers(group={"group_2": 10}),
        ),
        consent=Consent(purposes={"marketing": Purpose()}),
    )
    channels = {name: CHANNELS[: 2 + number % 2] for number, name in enumerate(actions)}
    return plan_decisions(actions, channels, schema, policies, CLOCK)


def action(number: int, models: int) -> Action:
    one, two = number % NUMBERS, (number + 7) % NUMBERS
    return Action(
        title=f"Action {number}",
        group=f"group_{number % 5}",
        eligibility=(
            Condition(name="level", when=f"COALESCE(n{one}, 0) >= {number % 4}"),
            Condition(name="stage", when="lifecycle.stage <> 'Regain'"),
        ),
        applicability=(
            Condition(name="now", when=f"n{two} > {number % 6} OR n{one} IS NOT NULL"),
            Condition(name="not_both", when=f"NOT (n{one} > 30 AND n{two} > 30)"),
        ),
        suitability=(Condition(name="ratio", when=f"COALESCE(n{two} / n{one}, 0) < 50"),),
        propensity=f"m{number % models}",
        value=f"100 + 10 * COALESCE(n{one}, 0)",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    models, _ = trained(options.models, 10_000)
    named = {f"m{number}": model for number, model in enumerate(models)}
    made = plan(options.models)
    runs = [run(options.customers, named, made) for _ in range(options.repeat)]
    table = Table("step", "CPU s", "from", "to", "× scan", title=f"{options.customers:,} customers, medians")
    base = statistics.median(each["scan"] for each in runs)
    for step in runs[0]:
        values = [each[step] for each in runs]
        middle = statistics.median(values)
        table.add_row(
            step, f"{middle:.2f}", f"{min(values):.2f}", f"{max(values):.2f}", f"{middle / base:,.0f}"
        )
    Console().print(table)


def run(rows: int, models: dict[str, TrainedModel], made: DecisionPlan) -> dict[str, float]:
    """Return CPU seconds per step, and the wall clock of scoring and deciding."""
    costs: dict[str, float] = {}
    with DuckDBEngine(memory_limit="3GB", threads=2) as engine:
        engine.register("given", profiles(rows))
        engine.run("CREATE TABLE base AS SELECT * FROM given")
        columns = ", ".join(f"count({quote(name)})" for name in models["m0"].content.encoding.names)
        before = cpu()
        engine.run(f"SELECT {columns} FROM base")
        costs["scan"] = cpu() - before
        before, started = cpu(), time.perf_counter()
        tables = [score_table(engine, model, name, "base", CLOCK) for name, model in models.items()]
        costs["scores"] = cpu() - before
        joins = "".join(f" LEFT JOIN {table} USING (profile)" for table in tables)
        before = cpu()
        engine.run(f"CREATE TABLE profiles AS SELECT * FROM base{joins}")
        engine.run(f"CREATE VIEW {INPUT} AS SELECT * FROM profiles")
        decided = decide_all(engine, made, CLOCK, models, {}, Silent())
        costs["decisions with reasons"] = cpu() - before
        assert decided.customers == rows
        costs["together"] = costs["scores"] + costs["decisions with reasons"]
        costs["(wall clock)"] = time.perf_counter() - started
    return costs


if __name__ == "__main__":
    main()
