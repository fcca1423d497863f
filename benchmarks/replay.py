"""Replay of logged decisions over 200 actions, read from the operational store: decisions a second.

    python -m benchmarks.replay [--decisions 20000] [--repeat 5]

The workspace is that of `benchmarks.serve`: sixty traits, forty audiences, 200 actions of five predicates and
adaptive propensities, of which some 60 are eligible. Decisions are made by the server's code, in process,
for customers with a year of events, and written to SQLite. Then they are replayed: read, decoded, decided
again by the archived definitions, and compared byte for byte. Medians of the repeats with their spread.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from benchmarks.serve import templates, workspace_at
from rich.console import Console

from tilltal.core.instants import micros
from tilltal.core.operational import Writes
from tilltal.engines.operational.opening import open_store
from tilltal.governance.vault import Vault
from tilltal.rules.clock import Clock
from tilltal.runtime.intake.ingest import open_vault
from tilltal.runtime.live.answers.archive import keep
from tilltal.runtime.live.answers.asking import read_request
from tilltal.runtime.live.answers.deciding import decide
from tilltal.runtime.live.answers.replay import Replayed, replayed
from tilltal.runtime.live.contract import DecideRequest
from tilltal.runtime.live.definitions import in_force
from tilltal.runtime.live.places import files_of, store_place
from tilltal.runtime.live.reference import bare_reference
from tilltal.runtime.progress import Silent
from tilltal.workspace.check import usable

START = datetime(2026, 5, 4, 10, tzinfo=UTC)
PORTION = 500


async def decided(root: Path, vault: Vault, decisions: int) -> None:
    """Make and store decisions."""
    workspace = usable(root)
    force = in_force(workspace, bare_reference(workspace), vault, {}, micros(START))
    states = [msgspec.msgpack.encode(one) for one in templates(force.program, Clock(START, workspace.zone))]
    rng = random.Random(4)
    store = await open_store(store_place(workspace))
    await keep(store, workspace, force.origin)
    rows = []
    for number in range(decisions):
        request = DecideRequest(identity={"customer": str(number)}, context={"page": "loans", "n": number})
        asked = read_request(force, request)
        now = START + timedelta(milliseconds=number)
        rows.append(decide(force, asked, number + 1, rng.choice(states), now).row)
        if len(rows) == PORTION:
            await store.write(Writes(decisions=rows))
            rows = []
    await store.write(Writes(decisions=rows))
    await store.close()


async def measured(root: Path) -> tuple[Replayed, float]:
    """Replay everything; return what came of it, and the processor's seconds."""
    workspace = usable(root)
    store = await open_store(store_place(workspace))
    began = time.process_time()
    found = await replayed(store, files_of(workspace), 0, None, Silent())
    spent = time.process_time() - began
    await store.close()
    return found, spent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--decisions", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "bank")
        workspace_at(root, None)
        with open_vault(usable(root)) as vault:
            asyncio.run(decided(root, vault, options.decisions))
        rounds = [asyncio.run(measured(root)) for _ in range(options.repeat)]
        size = (root / ".tilltal/live.sqlite").stat().st_size / options.decisions
    for found, _ in rounds:
        assert found.is_proved, found
        assert found.decisions == options.decisions
    speeds = [found.per_second for found, _ in rounds]
    costs = [spent / options.decisions * 1e6 for _, spent in rounds]
    console.print(
        f"{options.decisions:,} decisions replayed, all equal: {statistics.median(speeds):,.0f} a second "
        f"({min(speeds):,.0f} to {max(speeds):,.0f}), compiling included; "
        f"{statistics.median(costs):.0f} µs of CPU each ({min(costs):.0f} to {max(costs):.0f}); "
        f"{size:,.0f} bytes a row in the store"
    )


if __name__ == "__main__":
    main()
