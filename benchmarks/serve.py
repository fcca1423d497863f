"""What the server takes in and decides, over HTTP, on one core, with the load from the other.

    python -m benchmarks.serve                       # 1M profiles on SQLite; makes them first
    python -m benchmarks.serve --profiles 100000 --seconds 20
    python -m benchmarks.serve --store postgresql://... --workers 4

The workspace of `benchmarks.refresh` (sixty traits, forty audiences, lifecycle, value) is given 200 actions
of five predicates and adaptive propensities, of which some 60 are eligible. Two figures of each kind: what is
answered when sent as fast as answers come, and the times at half that rate in an open loop: a request has
its instant, and its time counts from there, whether the server was ready or not. For events that includes
reading a trait back. `fsync/s` is a bare append of the same bytes with fsync, for the ratio. Medians of the
rounds, with least and most. `--workers` are server processes on one PostgreSQL, all on the one core: what one
event costs then says whether they hinder each other. PostgreSQL itself runs where the load does.

`core` is how fast the server's core was meanwhile, in percent of its best in this run (`benchmarks.pace`):
on a rented machine somebody else may use the other half of it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from benchmarks.generate import DATA, TYPES
from benchmarks.load import closed_loop, open_loop, percentile, run, wait_until_ready
from benchmarks.pace import Pace
from benchmarks.refresh import write_definitions
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tilltal.core.operational import Identified, Membership, Owned, State, Writes
from tilltal.customers.live.profile import ProfileProgram
from tilltal.customers.live.state import Stored
from tilltal.customers.traits.online import Event
from tilltal.engines.operational.opening import open_store
from tilltal.governance.vault import Vault
from tilltal.rules.clock import Clock
from tilltal.runtime.intake.ingest import open_vault
from tilltal.runtime.live.history.ingested import Shown, marks_of
from tilltal.runtime.live.places import MADE, made_by
from tilltal.runtime.live.reference import bare_reference
from tilltal.runtime.live.serving.keys import Keys
from tilltal.runtime.live.serving.sweeping import Place, place_mark
from tilltal.workspace.check import usable

BATCH = 100
TEMPLATES = 500
EVENTS_EACH = 100
ACTIONS = 200
STILL_MB = 5  # a server whose memory grows by less in a second reads nothing ahead
MEMORY_MB = 2490  # of customers in memory: a million, but for few
FEATURES = ("purchases_90d", "spend_365d", "visits_90d", "interest_365d", "income_365d")
CATEGORIES = ("travel", "home", "food", "clothes", "children")
COLLECTOR = """\
kind: event
read: {collector: [track]}
identities: {customer: userId}
event: {column: event, values: [%s]}
fields:
  amount: {type: money, column: properties.amount}
  category: {type: text, column: properties.category}
  channel: {type: text, column: properties.channel}
"""


def workspace_at(root: Path, store: str | None) -> None:
    """Write the definitions, with a source of the collector and without learned personas."""
    write_definitions(root)
    (root / "personas.yaml").unlink()
    (root / "sources" / "live.yaml").write_text(COLLECTOR % ", ".join(sorted(TYPES)), encoding="utf-8")
    write_actions(root)
    settings = msgspec.json.decode((root / "tilltal.yaml").read_bytes())
    settings["channels"] = ["banner"]
    settings["server"] = {"memory_mb": MEMORY_MB}
    if store:
        settings["store"] = {"operational": store}
    (root / "tilltal.yaml").write_bytes(msgspec.json.encode(settings))


def write_actions(root: Path) -> None:
    """Write actions that need no consent, and the policies that rank them."""
    rng = random.Random(2)
    for number in range(ACTIONS):
        folder = root / "actions" / f"action_{number:03d}"
        folder.mkdir(parents=True)
        conditions = [{"name": f"rule_{place}", "when": predicate(rng)} for place in range(5)]
        action = {
            "title": f"Action {number}",
            "group": f"group_{number % 12}",
            "purpose": "service",
            "eligibility": conditions[:2],
            "applicability": conditions[2:4],
            "suitability": conditions[4:],
            "propensity": {"adaptive": {"base_rate": 0.05, "features": list(FEATURES)}},
            "value": rng.randrange(50, 5000),
        }
        (folder / "action.yaml").write_bytes(msgspec.json.encode(action))
        (folder / "banner.en.yaml").write_bytes(msgspec.json.encode({"body": "Hello."}))
    (root / "policies").mkdir()
    consent = {"purposes": {"service": {"consent": "not_required"}}}
    (root / "policies" / "consent.yaml").write_bytes(msgspec.json.encode(consent))
    arbitration = {"slots": 3, "max_per_group": 1}
    (root / "policies" / "arbitration.yaml").write_bytes(msgspec.json.encode(arbitration))


def predicate(rng: random.Random) -> str:
    """Return a condition over a trait that about four of five customers fulfil."""
    window = rng.choice((90, 365))
    return rng.choice(
        (
            f"COALESCE(spend_{window}d, 0) >= {rng.randrange(1, 9)}",
            f"COALESCE(income_{window}d, 0) < {rng.randrange(3000, 9000)}",
            f"NOT (purchases_{window}d > {rng.randrange(10, 30)})",
            f"COALESCE(visits_{window}d, 0) <= {rng.randrange(10, 40)}",
            f"COALESCE(interest_{window}d, '') <> '{rng.choice(CATEGORIES)}'",
            f"COALESCE(largest_{window}d, 0) < {rng.randrange(900, 1500)}",
        )
    )


def some_event(rng: random.Random, now: datetime, number: int) -> Event:
    at = now - timedelta(seconds=rng.randrange(1, 365 * 86400))
    return Event(
        type=rng.choice(sorted(TYPES)),
        at=at,
        received=at,
        event_id=f"00000000-0000-0000-0000-{number:012d}",
        fields={
            "amount": rng.randrange(100, 100_000),
            "category": rng.choice(CATEGORIES),
            "channel": rng.choice(("app", "web", "branch")),
        },
    )


def templates(program: ProfileProgram, clock: Clock) -> list[Stored]:
    """Return states of customers with a year of events, to be given to many."""
    rng, made = random.Random(1), []
    for number in range(TEMPLATES):
        state = program.new()
        state.is_known = True
        for event in range(EVENTS_EACH):
            program.add(state, 0, some_event(rng, clock.now, number * 1000 + event), clock)
        program.advance(state, clock)
        made.append(msgspec.msgpack.decode(program.encode(state), type=Stored))
    return made


async def fill(root: Path, profiles: int) -> str:
    """Make profiles and a key; return the key's secret."""
    workspace = usable(root)
    program = ProfileProgram(workspace, bare_reference(workspace))
    clock = Clock(datetime.now(UTC), workspace.zone)
    place = workspace.settings.store.operational
    (root / ".tilltal").mkdir(exist_ok=True)
    store = await open_store(place if "://" in place else str(root / place))
    with open_vault(workspace) as vault:
        made = templates(program, clock)
        for start in track(range(0, profiles, 5_000), "profiles"):
            async with store.transaction() as tx:
                await tx.write(portion(vault, made, start, min(start + 5_000, profiles)))
    marks = {MADE: made_by(program, workspace.identity)} | marks_of(Shown())
    marks |= place_mark(Place(program.edition, is_done=True))  # no sweep beside what is measured
    async with store.transaction() as tx:
        await tx.write(Writes(marks=marks))
    keys = Keys(store, lambda: datetime.now(UTC))
    secret = (await keys.create("bench", ("collect", "decide", "read", "admin"))).secret
    await store.close()
    return secret


def portion(vault: Vault, made: Sequence[Stored], first: int, end: int) -> Writes:
    numbers = [str(number) for number in range(first, end)]
    tokens = vault.pseudonymiser.tokens("customer", numbers)
    writes = Writes()
    for place, (number, token) in enumerate(zip(numbers, tokens, strict=True), start=first):
        stored = made[place % len(made)]
        own = msgspec.structs.replace(stored, fragments={token: next(iter(stored.fragments.values()))})
        writes.identities.append(Identified(token, "customer", number))
        writes.owners[token] = (Owned(token, 0, None, token),)
        writes.states.append(State(token, msgspec.msgpack.encode(own), stored.due))
        writes.members += [Membership(name, token, 0, is_member=True) for name in stored.audiences]
    return writes


def batch_body(rng: random.Random, profiles: int, number: int) -> bytes:
    now = datetime.now(UTC).isoformat()
    messages = [
        {
            "type": "track",
            "messageId": f"{os.getpid()}-{number}-{index}",
            "userId": str(rng.randrange(profiles)),
            "event": rng.choice(sorted(TYPES)),
            "timestamp": now,
            "properties": {
                "amount": rng.randrange(1, 1000),
                "category": rng.choice(CATEGORIES),
                "channel": rng.choice(("app", "web", "branch")),
            },
            "context": {"library": {"name": "bench", "version": "1"}},
            "integrations": {},
        }
        for index in range(BATCH)
    ]
    return msgspec.json.encode({"batch": messages, "sentAt": now})


def fsync_appends(seconds: float, body: bytes, folder: Path) -> float:
    """Return bare appends with fsync a second: what the disk allows."""
    path, count, end = folder / "fsync.bin", 0, time.perf_counter() + seconds
    with path.open("wb") as file:
        while time.perf_counter() < end:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
            count += 1
    path.unlink()
    return count / seconds


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the processor time of processes, and of those that they began and that have ended."""
    found = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(sum(map(int, fields[11:15])) for fields in found) / os.sysconf("SC_CLK_TCK")


def memory_mb(pids: Sequence[int]) -> float:
    """Return the memory of the largest."""
    texts = (Path(f"/proc/{pid}/status").read_text().splitlines() for pid in pids)
    lines = (next(line for line in text if line.startswith("VmRSS")) for text in texts)
    return max(int(line.split()[1]) for line in lines) / 1024


def warmed(pids: Sequence[int]) -> float:
    """Wait until servers read no more customers ahead; return the seconds that took."""
    started, last = time.perf_counter(), 0.0
    while memory_mb(pids) - last > STILL_MB:
        last = memory_mb(pids)
        time.sleep(1)
    return time.perf_counter() - started


def measure(root: Path, secret: str, arguments: argparse.Namespace, console: Console) -> None:
    profiles = arguments.profiles
    ports = [arguments.port + number for number in range(arguments.workers)]
    pace = Pace(0)
    servers = [served(root, port) for port in ports]
    pids = [server.pid for server in servers]
    os.sched_setaffinity(0, {1})
    gc.disable()  # a pause of the load would count as the server's
    try:
        start_up = max(wait_until_ready(port, secret) for port in ports)
        console.print(f"Ready after {start_up:.1f} s.")
        console.print(f"Customers in memory after {warmed(pids):.0f} s more: {memory_mb(pids):,.0f} MB.")
        rng = random.Random(arguments.seed)
        bodies = [("/v1/batch", batch_body(rng, profiles, number)) for number in range(arguments.bodies)]
        places, stamp = iter(range(10**9)), time.time_ns()

        def ingest(number: int) -> tuple[str, bytes]:
            path, body = bodies[next(places) % len(bodies)]
            mark = f'"{os.getpid()}-'.encode()
            return path, body.replace(mark, f'"{stamp}-{next(places)}-'.encode())

        def decide(number: int) -> tuple[str, bytes]:
            customer = next(places) * 7919 % profiles
            body = {"identity": {"customer": str(customer)}, "context": {"page": "start"}, "count": 3}
            return "/v1/decide", msgspec.json.encode(body)

        ingested, decided = [], []
        for _ in track(range(arguments.rounds), "rounds"):
            appends = fsync_appends(2, bodies[0][1], root)
            pace.mean()  # of the rounds only
            read_back = "/v1/profiles/customer/1?names=spend_30d"
            found = one_round(pids, ports, secret, ingest, arguments, BATCH, pace, read_back)
            ingested.append((*found, appends, memory_mb(pids)))
            found = one_round(pids, ports, secret, decide, arguments, 1, pace, "")
            decided.append((*found, memory_mb(pids)))
        for rows in (ingested, decided):
            rows[:] = [(*row[:2], *(100 * pace.best() / one for one in row[2:4]), *row[4:]) for row in rows]
        common = ("CPU us each", "core %", "half: core %", "refused", "half: p50 ms", "half: p99 ms")
        heads: tuple[str, ...] = ("events/s", *common, "fsync/s", "RSS MB")
        show(console, f"Events in batches of {BATCH}; ready after {start_up:.1f} s", heads, ingested)
        heads = ("decisions/s", *common, "RSS MB")
        show(console, f"Decisions over {ACTIONS} actions", heads, decided)
    finally:
        pace.stop()
        for server in servers:
            server.send_signal(signal.SIGINT)
        for server in servers:
            server.wait(60)


def served(root: Path, port: int) -> subprocess.Popen[bytes]:
    """Start a server on the first core."""
    command = ["serve", str(root), "--port", str(port)]
    launched = f"from tilltal.cli.main import main; main({command!r})"
    return subprocess.Popen(["taskset", "-c", "0", sys.executable, "-c", launched], stdout=subprocess.DEVNULL)


def one_round(
    pids: Sequence[int],
    ports: Sequence[int],
    secret: str,
    make: Callable[[int], tuple[str, bytes]],
    arguments: argparse.Namespace,
    each: int,
    pace: Pace,
    after: str,
) -> tuple[float, ...]:
    """Return things a second, processor time of one, the pace; at half that rate the pace, refused, times."""
    seconds, width = arguments.seconds, arguments.connections
    used = cpu_seconds(pids)
    rate, refused = run(closed_loop(ports, secret, make, width, seconds))
    used, full = cpu_seconds(pids) - used, pace.mean()
    times = run(open_loop(ports, secret, make, rate / 2, seconds, width, after))
    cost = used / max(rate * seconds * each, 1) * 1e6
    half = (pace.mean(), refused, percentile(times, 0.5) * 1e3, percentile(times, 0.99) * 1e3)
    return rate * each, cost, full, *half


def show(console: Console, title: str, heads: Sequence[str], rows: Sequence[tuple[float, ...]]) -> None:
    table = Table(title=title)
    for head in heads:
        table.add_column(head, justify="right")
    columns = list(zip(*rows, strict=True))
    table.add_row(*(f"{statistics.median(column):,.1f}" for column in columns))
    table.add_row(*(f"{min(column):,.1f}–{max(column):,.1f}" for column in columns), style="dim")
    console.print(table)


def main() -> None:
    """Make the bank if it is not there, then measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--profiles", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bodies", type=int, default=300)
    parser.add_argument("--port", type=int, default=8499)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", help="postgresql://...; else SQLite")
    parser.add_argument("--connections", type=int, default=64, help="that are open at the same time")
    parser.add_argument("--workers", type=int, default=1, help="more than one need a PostgreSQL")
    arguments = parser.parse_args()
    console = Console(width=130)
    root = DATA / f"serve-{'postgres-' if arguments.store else ''}{arguments.profiles}"
    secret_file = root / "key"
    if not secret_file.exists():
        shutil.rmtree(root, ignore_errors=True)
        workspace_at(root, arguments.store)
        secret_file.write_text(asyncio.run(fill(root, arguments.profiles)), encoding="utf-8")
    measure(root, secret_file.read_text(encoding="utf-8"), arguments, console)


if __name__ == "__main__":
    main()
