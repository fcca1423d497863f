"""Simulate a million customers over two hundred actions: one scenario, with everything that is shown of it.

    python -m benchmarks.simulate [--customers 1000000] [--actions 200] [--experiments] [--sample N]

The example workspace is taken in and refreshed; its customers are then multiplied with values by chance, and
its actions replaced by many: five conditions each, one or two channels that need consent, caps, a propensity
of one of ten models, a value that is an expression, context rules and levers. Measured is `tilltal simulate`
as it stands: deciding, sensitivity, segments, win and loss, value finder, fairness by an age and a town, and
the files. Seconds by the clock and of the processor (all threads), and the largest memory.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from tilltal.runtime.answers.simulation.scenarios import scenarios_of
from tilltal.runtime.answers.simulation.simulate import Request, simulate
from tilltal.runtime.intake.ingest import ingest
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.run import refresh
from tilltal.workspace.check import usable
from tilltal.workspace.init import init

MODELS = 10
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
STAGES = ("New", "Loyal", "Retain", "Regain")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--actions", type=int, default=200)
    parser.add_argument("--sample", type=int, default=None)
    parser.add_argument("--experiments", action="store_true", help="six scenarios in place of one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        root = bank(Path(made) / "bank", options.customers, options.actions)
        run(root, options.sample, Path(made) / "out", experiments=options.experiments)


def bank(root: Path, customers: int, actions: int) -> Path:
    """Make a workspace with a snapshot of so many customers."""
    init(root, "bank")
    model = (root / "models/savings.yaml").read_text(encoding="utf-8")
    for number in range(MODELS):
        (root / f"models/m{number}.yaml").write_text(model, encoding="utf-8")
    loaded = usable(root)
    ingest(loaded, None, now=NOW)
    refresh(loaded, now=NOW, progress=Silent())
    shutil.rmtree(root / "actions")
    (root / "policies/engagement.yaml").unlink()  # it names actions of the example
    for number in range(actions):
        write_action(root, number)
    (root / "policies/arbitration.yaml").write_text(
        "slots: 3\nmax_per_group: 2\n"
        "context_rules: [{key: lifecycle.stage, value: Retain, weight: 30, applies_to: {group: group_1}}]\n"
        "levers: {group: {group_2: 10, group_5: -20}}\n",
        encoding="utf-8",
    )
    multiply(root / ".tilltal/snapshots", customers)
    return root


def write_action(root: Path, number: int) -> None:
    folder = root / f"actions/action_{number:03d}"
    folder.mkdir(parents=True)
    (folder / "action.yaml").write_text(
        f"""
title: Action {number}
group: group_{number % 12}
eligibility:
  - {{name: adult, when: birth_year <= {2000 - number % 40}}}
  - {{name: stage, when: "lifecycle.stage <> 'Regain'"}}
applicability:
  - {{name: active, when: logins_90d > {number % 7} OR purchases_90d IS NOT NULL}}
  - {{name: not_both, when: NOT (holding.savings AND card_spend_90d > {30_000 + 100 * number})}}
suitability:
  - {{name: ratio, when: "COALESCE(card_spend_30d / NULLIF(card_spend_90d, 0), 0) < 0.95"}}
propensity: m{number % MODELS}
value: 100 + {number} + 0.002 * COALESCE(card_spend_90d, 0)
""",
        encoding="utf-8",
    )
    for channel in ("email", "push")[: 1 + number % 2]:
        (folder / f"{channel}.en.yaml").write_text("body: Hello\n", encoding="utf-8")


def multiply(snapshots: Path, customers: int) -> None:
    """Make the few profiles of the snapshot many: values by chance among those there are, numbers spread."""
    path = next(snapshots.glob("*/profiles.parquet"))
    few, rng = pq.read_table(path), np.random.default_rng(7)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    for name in few.column_names:
        column = few.column(name)
        picked = pa.array(rng.integers(0, few.num_rows, customers))
        if name == "profile":
            columns[name] = pa.array(np.arange(customers), pa.int64())
        elif name == "is_known":
            columns[name] = pa.array(np.ones(customers, dtype=bool))
        elif name.startswith("score."):
            columns[name] = pa.array(rng.beta(1.2, 20, customers))
        elif name == "lifecycle.stage":
            columns[name] = pa.array(rng.choice(STAGES, customers, p=[0.1, 0.6, 0.2, 0.1]))
        elif pa.types.is_floating(column.type):
            noise = pa.array(rng.lognormal(0, 0.5, customers))
            columns[name] = pc.multiply(column.take(picked), noise)
        else:
            columns[name] = column.take(picked)
    pq.write_table(pa.table(columns), path, compression="zstd")


def run(root: Path, sample: int | None, target: Path, *, experiments: bool) -> None:
    workspace = usable(root)
    request = Request(
        scenarios=scenarios_of(workspace, (), with_experiments=experiments),
        sample=sample,
        by=("town",),
        fair=("birth_year", "town"),
        target=target,
    )
    before, started, used = peak(), time.perf_counter(), cpu()
    made = simulate(request, Silent())
    seconds, processor = time.perf_counter() - started, cpu() - used
    first = made.scenarios[0]
    title = (
        f"{made.customers:,} customers × {len(workspace.actions)} actions, {len(made.scenarios)} scenarios"
    )
    table = Table("measure", "", title=title)
    for name, value in {
        "seconds": f"{seconds:.1f}",
        "CPU seconds": f"{processor:.1f}",
        "peak memory, MB": f"{peak():,.0f} (before: {before:,.0f})",
        "customers with an action": f"{first.totals.reached:,}",
        "actions that win somewhere": f"{sum(each.first > 0 for each in first.actions)}",
        "sensitivity": ", ".join(f"{each.factor} {100 * each.share:.1f} %" for each in first.sensitivity),
        "pairs that meet": f"{len(first.beats):,}",
    }.items():
        table.add_row(name, value)
    Console().print(table)


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
