"""What a refresh costs, against a plain scan of six columns of the same Parquet.

    python -m benchmarks.refresh                      # 1M, 10M and 100M events; makes the histories first
    python -m benchmarks.refresh --sizes 10k-1m --repeat 5

The refresh is the product's own, from identities to the snapshot on disk: sixty windowed traits, forty
audiences, lifecycle, value grid, and eight personas over ten features, of a workspace written for the
purpose. `bank` is what belongs to those (profiles); `whole` adds identity, key figures and writing. Each
measurement is a process of its own: CPU is its user and system seconds, memory its peak of resident bytes.
The table gives medians.
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
from pathlib import Path

import msgspec
from benchmarks.generate import AS_OF, DATA, TYPES, folder, generate
from rich.console import Console
from rich.table import Table

from tilltal.core.names import literal
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.run import refresh
from tilltal.runtime.storage.store import Manifest
from tilltal.workspace.check import usable
from tilltal.workspace.definitions.profile import Trait

SIZES = {
    "10k-1m": (10_000, 1_000_000),
    "100k-10m": (100_000, 10_000_000),
    "1m-100m": (1_000_000, 100_000_000),
}
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

LIFECYCLE = """\
opened: {first_event: [card_purchase, login]}
closed: {silence: [card_purchase, login], days: 90}
engagement: {from: [card_purchase, login], measure: count, every: month, over: 3}
tolerance: 0.2
"""
VALUE = """\
income: {value: "COALESCE(spend_365d, 0)", cuts: {quantiles: [0.6]}, classes: [Low, High]}
affinity: {value: "visits_90d", cuts: {quantiles: [0.4, 0.8]}, classes: [Low, Average, High]}
cells:
  - {income: High, affinity: Low, name: One-time buyers}
  - {income: High, affinity: Average, name: Loyals}
  - {income: High, affinity: High, name: Royals}
  - {income: Low, affinity: Low, name: Price hunters}
  - {income: Low, affinity: Average, name: Low-margin}
  - {income: Low, affinity: High, name: Aspirants}
"""
PERSONAS = """\
clusters: 8
characteristics: {contact: {value: contact_365d}}
attitudes: {opened: {value: "IF(opened_90d, 1, 0)"}, trouble: {value: trouble_365d, log: true}}
banking: {purchases: {value: purchases_90d, log: true}, categories: {value: categories_90d}}
financial:
  spend: {value: spend_90d, log: true}
  income: {value: income_365d, log: true}
  outgoing: {value: outgoing_90d, log: true}
digital: {visits: {value: visits_90d, log: true}, views: {value: app_views_90d, log: true}}
"""
SOURCE = """\
kind: event
read: {{files: none.parquet}}
identities: {{customer: customer}}
at: time
event: {name}
fields: {{amount: money, category: text, channel: text}}
"""


def write_workspace(root: Path, history: Path) -> None:
    """Write the bank's definitions, and a store whose history is the generated one."""
    write_definitions(root)
    _link_history(root / ".tilltal", history)


def write_definitions(root: Path) -> None:
    """Write the bank's definitions."""
    (root / "sources").mkdir(parents=True)
    (root / "traits").mkdir()
    (root / "audiences").mkdir()
    settings = {
        "name": "bench",
        "time_zone": "Europe/Stockholm",
        "currency": "SEK",
        "as_of": AS_OF.isoformat(),
    }
    _yaml(root / "tilltal.yaml", {**settings, "engine": {"memory_limit": "3GB"}})
    identity = {"namespaces": [{"name": "customer", "unique": True}]}
    _yaml(root / "identity.yaml", identity)
    for name in TYPES:
        (root / "sources" / f"{name}.yaml").write_text(SOURCE.format(name=name), encoding="utf-8")
    for name, trait in FAMILIES.items():
        _yaml(root / "traits" / f"{name}.yaml", {**msgspec.to_builtins(trait), "windows": list(WINDOWS)})
    for name, condition in AUDIENCES.items():
        _yaml(root / "audiences" / f"{name}.yaml", {"condition": condition})
    for name, text in {"lifecycle": LIFECYCLE, "value": VALUE, "personas": PERSONAS}.items():
        (root / f"{name}.yaml").write_text(text, encoding="utf-8")


def _yaml(path: Path, content: object) -> None:
    path.write_bytes(msgspec.json.encode(content))  # JSON is YAML


def _link_history(store: Path, history: Path) -> None:
    (store / "history").mkdir(parents=True)
    (store / "history" / "events").symlink_to((history / "events").resolve())
    for name in TYPES:
        files = sorted((history / "events" / name).glob("*.parquet"))
        _manifest(store, name, [f"history/events/{name}/{file.name}" for file in files])
    with DuckDBEngine() as engine:
        folder = store / "history" / "observations"
        folder.mkdir()
        engine.run(
            'COPY (SELECT \'o\' AS observation, min("at") AS "at", max("at") AS last_at, '
            "[{'namespace': 'customer', 'token': identity}] AS ids FROM read_parquet("
            f"{literal(str(history / 'events' / 'card_purchase' / '*.parquet'))}) GROUP BY identity) "
            f"TO {literal(str(folder / 'all.parquet'))} (FORMAT parquet)"
        )
    _manifest(store, "observations", ["history/observations/all.parquet"])


def _manifest(store: Path, source: str, parts: list[str]) -> None:
    manifest = Manifest(
        id=source, source=source, file=source, ingested="2026-06-01", rows=0, taken=0, duplicate=0,
        quarantined=0, parts=tuple(parts),
    )  # fmt: skip
    (store / "ingested" / source).mkdir(parents=True)
    (store / "ingested" / source / f"{source}.json").write_bytes(msgspec.json.encode(manifest))


def run_refresh(root: Path, output: Path) -> dict[str, float]:
    """Refresh the bank; return CPU seconds per step."""
    write_workspace(output / "bank", root)
    workspace = usable(output / "bank")
    before = _cpu()
    manifest = refresh(workspace, now=AS_OF, progress=Silent())
    taken = {step.name: step.cpu_seconds for step in manifest.steps}
    return {**taken, "whole": _cpu() - before}


def run_scan(root: Path, _output: Path) -> dict[str, float]:
    """The yardstick: six columns of all events, read once."""
    before = _cpu()
    with DuckDBEngine(threads=2) as engine:
        engine.run(
            'SELECT SUM(identity), MAX("at"), MAX(received), SUM(amount), MAX(category), MAX(channel) '
            f"FROM read_parquet({literal(str(root / 'events' / '*' / '*.parquet'))})"
        )
    return {"whole": _cpu() - before}


class Cost(msgspec.Struct, frozen=True):
    """What one run took: CPU seconds per step and in all, seconds of wall clock, peak memory."""

    steps: dict[str, float]
    wall_seconds: float
    peak_bytes: int


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def in_process(job: str, root: Path) -> Cost:
    """Measure a job in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.refresh", "--job", job, "--root", str(root)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return msgspec.json.decode(text, type=Cost)


def run_job(options: argparse.Namespace) -> None:
    """The measured process: run one job and write its cost as JSON."""
    output = Path(tempfile.mkdtemp(prefix="refresh-", dir=options.root))
    started = time.perf_counter()
    try:
        steps = {"refresh": run_refresh, "scan": run_scan}[options.job](options.root, output)
    finally:
        shutil.rmtree(output)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    cost = Cost(steps=steps, wall_seconds=time.perf_counter() - started, peak_bytes=peak)
    print(json.dumps(msgspec.to_builtins(cost)))


def compare(name: str, options: argparse.Namespace, console: Console) -> tuple[str, ...]:
    """Measure one size, tell what each step took, and return its line of the table."""
    customers, events = SIZES[name]
    root = folder(customers, events, options.data)
    generate(root, customers, events)
    scans, refreshes = [], []
    for _ in range(options.repeat):
        scans.append(in_process("scan", root))
        refreshes.append(in_process("refresh", root))
    base = statistics.median(cost.steps["whole"] for cost in scans)
    medians = {step: statistics.median(cost.steps[step] for cost in refreshes) for step in refreshes[0].steps}
    spread = [cost.steps["profiles"] / base for cost in refreshes]
    for step, seconds in medians.items():
        console.print(f"{name} {step}: {seconds:.2f} CPU-s, {seconds / base:.1f} scans")
    wall = statistics.median(cost.wall_seconds for cost in refreshes)
    peak = max(cost.peak_bytes for cost in refreshes)
    profiles = medians["profiles"]
    return (
        name,
        f"{base:.2f}",
        f"{profiles:.2f}",
        f"{profiles / base:.1f} ({min(spread):.1f} to {max(spread):.1f})",
        f"{medians['whole'] / base:.1f}",
        f"{wall:.1f}",
        f"{peak / 1e9:.2f}",
        f"{profiles / events * 1e9:.0f}",
    )


def main() -> None:
    """Read the arguments, measure, show the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--data", type=Path, default=DATA, help="where the histories lie")
    parser.add_argument("--job", choices=("scan", "refresh"), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        run_job(options)
        return
    heads = (
        "size",
        "scan CPU s",
        "bank CPU s",
        "bank / scan",
        "whole / scan",
        "wall s",
        "peak GB",
        "ns an event",
    )
    table = Table(*heads, title="refresh against a six-column scan, medians")
    console = Console()
    for name in options.sizes:
        table.add_row(*compare(name, options, console))
    console.print(table)


if __name__ == "__main__":
    main()
