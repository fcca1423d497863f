"""What a refresh costs, against a plain scan of six columns of the same Parquet.

    python -m benchmarks.refresh                      # 1M, 10M and 100M events; makes the histories first
    python -m benchmarks.refresh --sizes 10k-1m --repeat 5

Each measurement is a process of its own: CPU is its user and system seconds from the first to the last
statement, memory its peak of resident bytes. The table gives medians. `STAGES` holds what a refresh does,
in order; a stage is a function from `Bench` to statements, so others can be appended.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from benchmarks.generate import AS_OF, DATA, TYPES, folder, generate
from rich.console import Console
from rich.table import Table

from tilltal.core.names import literal, quote
from tilltal.core.time import sql_timestamp
from tilltal.customers.audiences import audiences_sql, compile_audiences
from tilltal.customers.traits.batch import trait_plan
from tilltal.customers.traits.compiled import compile_traits
from tilltal.customers.traits.schema import EventType
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Trait

SIZES = {
    "10k-1m": (10_000, 1_000_000),
    "100k-10m": (100_000, 10_000_000),
    "1m-100m": (1_000_000, 100_000_000),
}
CLOCK = Clock(AS_OF, ZoneInfo("Europe/Stockholm"))
SCHEMA = EventType({"amount": Type.NUMBER, "category": Type.TEXT, "channel": Type.TEXT}, {"amount": 100})
SCHEMAS = dict.fromkeys(TYPES, SCHEMA)
WINDOWS = ("7 days", "30 days", "90 days", "365 days")

# Fifteen families in four nested windows: sixty traits that read every event type.
FAMILIES = {
    "purchases": Trait(measure="count", from_=("card_purchase",)),
    "spend": Trait(measure="sum", of="amount", from_=("card_purchase",)),
    "largest": Trait(measure="max", of="amount", from_=("card_purchase",)),
    "travel": Trait(measure="sum", of="amount", from_=("card_purchase",), where="category = 'travel'"),
    "categories": Trait(measure="distinct", of="category", from_=("card_purchase",)),
    "app_views": Trait(measure="count", from_=("page_view",), where="channel = 'app'"),
    "visits": Trait(measure="count", from_=("login", "app_open")),
    "transfer": Trait(measure="avg", of="amount", from_=("transfer",)),
    "lowest": Trait(measure="min", of="amount", from_=("balance_read",)),
    "opened": Trait(measure="exists", from_=("push_opened", "email_opened")),
    "interest": Trait(
        measure="last", of="category", from_=("offer_seen", "offer_clicked", "loan_calculated")
    ),
    "income": Trait(measure="sum", of="amount", from_=("salary",)),
    "outgoing": Trait(measure="sum", of="amount", from_=("bill_paid", "atm_withdrawal", "fund_bought")),
    "contact": Trait(measure="recency", from_=("call", "chat", "branch_visit")),
    "trouble": Trait(
        measure="count", from_=("complaint", "card_blocked"), where="channel <> 'web' OR amount > 100"
    ),
}
TRAITS = {
    f"{name}_{window.split()[0]}d": msgspec.structs.replace(trait, window=window)
    for name, trait in FAMILIES.items()
    for window in WINDOWS
}
_CONDITIONS = (
    "spend_{d}d > {n}000 AND visits_{d}d >= {n}",
    "purchases_{d}d BETWEEN {n} AND {n}0 OR travel_{d}d IS NOT NULL",
    "NOT opened_{d}d AND contact_365d > {n}0",
    "interest_{d}d IN ('travel', 'home') AND income_365d / 12 > {n}00",
    "COALESCE(largest_{d}d, 0) > {n}00 AND categories_{d}d >= {n} AND trouble_{d}d = 0",
)
AUDIENCES = {
    f"a{index}_{days}_{n}": condition.format(d=days, n=n)
    for index, condition in enumerate(_CONDITIONS)
    for days in (7, 30, 90, 365)
    for n in (2, 5)
}


class Bench(msgspec.Struct, frozen=True):
    """One measured run: where the history lies, a folder for what the run writes, and its engine."""

    root: Path
    output: Path
    engine: DuckDBEngine

    def events(self, name: str = "*") -> str:
        """Return the relation of an event type's files."""
        return f"read_parquet({literal(str(self.root / 'events' / name / '*.parquet'))})"


Stage = Callable[[Bench], Iterator[str]]


def views(bench: Bench) -> Iterator[str]:
    """The relations a refresh offers, as of its clock."""
    now = sql_timestamp(AS_OF)
    for name in TYPES:
        yield (
            f"CREATE VIEW {quote('event.' + name)} AS SELECT identity AS profile, * EXCLUDE (identity) "
            f'FROM {bench.events(name)} WHERE received <= {now} AND "at" <= {now}'
        )


def spine(bench: Bench) -> Iterator[str]:
    """Every customer once; identity resolution is measured elsewhere."""
    customers = f"SELECT DISTINCT identity AS profile FROM {bench.events('card_purchase')}"
    yield f"CREATE TEMP TABLE spine AS {customers}"


def traits(_bench: Bench) -> Iterator[str]:
    """Sixty windowed traits."""
    plan = trait_plan(compile_traits(TRAITS, SCHEMAS), SCHEMAS, CLOCK)
    for step in plan.steps:
        yield f"CREATE TEMP TABLE {quote(step.name)} AS {step.sql}"
    yield f"CREATE TEMP TABLE profile_traits AS {plan.select}"
    yield from (f"DROP TABLE {quote(step.name)}" for step in plan.steps)


def audiences(_bench: Bench) -> Iterator[str]:
    """Forty audiences over the traits."""
    schema = {trait.name: trait.type for trait in compile_traits(TRAITS, SCHEMAS)}
    members = audiences_sql(compile_audiences(AUDIENCES, schema), "profile_traits", CLOCK)
    yield f"CREATE TEMP VIEW profiles AS {members}"


def write(bench: Bench) -> Iterator[str]:
    """The profiles as a refresh leaves them."""
    target = literal(str(bench.output / "profiles.parquet"))
    yield f"COPY (SELECT * FROM profiles) TO {target} (FORMAT parquet, COMPRESSION zstd)"


STAGES: tuple[Stage, ...] = (views, spine, traits, audiences, write)


def scan(bench: Bench) -> Iterator[str]:
    """The yardstick: six columns of all events, read once."""
    yield (
        'SELECT SUM(identity), MAX("at"), MAX(received), SUM(amount), MAX(category), MAX(channel) '
        f"FROM {bench.events()}"
    )


class Cost(msgspec.Struct, frozen=True):
    """What one run took."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    stages: dict[str, float]


def measure(stages: Iterable[Stage], root: Path, output: Path, threads: int, memory: str) -> Cost:
    """Run stages on a fresh engine."""
    taken: dict[str, float] = {}
    wall, first = time.perf_counter(), _cpu()
    with DuckDBEngine(memory_limit=memory, threads=threads, spill=output / "spill") as engine:
        bench = Bench(root, output, engine)
        for stage in stages:
            before = _cpu()
            for statement in stage(bench):
                engine.run(statement)
            taken[stage.__name__] = _cpu() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Cost(_cpu() - first, time.perf_counter() - wall, peak, taken)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def in_process(job: str, root: Path, options: argparse.Namespace) -> Cost:
    """Measure a job in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.refresh", "--job", job, "--root", str(root)]
    command += ["--threads", str(options.threads), "--memory", options.memory]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return msgspec.json.decode(text, type=Cost)


def run_job(options: argparse.Namespace) -> None:
    """The measured process: run one job and write its cost as JSON."""
    output = Path(tempfile.mkdtemp(prefix="refresh-", dir=options.root))
    try:
        stages = STAGES if options.job == "refresh" else (scan,)
        cost = measure(stages, options.root, output, options.threads, options.memory)
    finally:
        shutil.rmtree(output)
    print(json.dumps(msgspec.to_builtins(cost)))


def compare(name: str, options: argparse.Namespace, console: Console) -> tuple[str, ...]:
    """Measure one size, tell what each stage took, and return its line of the table."""
    customers, events = SIZES[name]
    root = folder(customers, events, options.data)
    generate(root, customers, events)
    scans, refreshes = [], []
    for _ in range(options.repeat):
        scans.append(in_process("scan", root, options))
        refreshes.append(in_process("refresh", root, options))
    base = statistics.median(cost.cpu_seconds for cost in scans)
    total = statistics.median(cost.cpu_seconds for cost in refreshes)
    wall = statistics.median(cost.wall_seconds for cost in refreshes)
    peak = max(cost.peak_bytes for cost in refreshes)
    for stage in STAGES:
        seconds = statistics.median(cost.stages[stage.__name__] for cost in refreshes)
        console.print(f"{name} {stage.__name__}: {seconds:.2f} CPU-s, {seconds / base:.1f} scans")
    numbers = (f"{base:.2f}", f"{total:.2f}", f"{total / base:.1f}", f"{wall:.1f}", f"{peak / 1e9:.2f}")
    return (name, *numbers, f"{total / events * 1e9:.0f}")


def main() -> None:
    """Read the arguments, measure, show the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", default="3GB", help="DuckDB's limit; the process needs somewhat more")
    parser.add_argument("--data", type=Path, default=DATA, help="where the histories lie")
    parser.add_argument("--job", choices=("scan", "refresh"), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        run_job(options)
        return
    heads = ("size", "scan CPU s", "refresh CPU s", "ratio", "wall s", "peak GB", "ns an event")
    table = Table(*heads, title="refresh against a six-column scan, medians")
    console = Console()
    for name in options.sizes:
        table.add_row(*compare(name, options, console))
    console.print(table)


if __name__ == "__main__":
    main()
