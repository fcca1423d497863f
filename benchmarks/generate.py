"""Make the benchmark history: seeded, skewed, in the store's own layout.

    python -m benchmarks.generate --customers 1000000 --events 100000000

One folder per event type under `<target>/events/`, files of at most half a million rows in the order in
which events arrive, as ingestion leaves them. Columns are those of docs/explanation/data.md plus `amount`
(minor units), `category` and `channel`. A few customers and a few types have very many events. The same
arguments give the same rows, whatever the number of processes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

TYPES = (
    "card_purchase", "page_view", "login", "app_open", "transfer", "push_opened", "email_opened",
    "balance_read", "offer_seen", "offer_clicked", "bill_paid", "salary", "atm_withdrawal", "call", "chat",
    "branch_visit", "loan_calculated", "fund_bought", "complaint", "card_blocked",
)  # fmt: skip
CATEGORIES = (
    "food", "fuel", "travel", "clothes", "home", "health", "leisure", "children",
    "electronics", "insurance", "restaurant", "other",
)  # fmt: skip
CHANNELS = ("app", "web", "branch", "call_centre", "atm")
DAYS = 400
AS_OF = datetime(2026, 6, 1, 12, tzinfo=UTC)
ROWS_PER_FILE = 500_000
SKEW = 2.5  # customer ~ N·u^2.5: the first per cent has 16 % of the events, the first of a million 0.4 %
DATA = Path(__file__).parent / "data"

Int64 = npt.NDArray[np.int64]


class Part(msgspec.Struct, frozen=True):
    """One file to write: `rows` events of type number `kind`, in slice `part` of `parts` of the time."""

    target: Path
    kind: int
    part: int
    parts: int
    rows: int
    customers: int
    seed: int


def parts(target: Path, customers: int, events: int, seed: int) -> Iterator[Part]:
    """Split the history into files; type i has a share proportional to 1 / (i + 1)."""
    shares = np.cumsum(1 / np.arange(1, len(TYPES) + 1))
    bounds = np.rint(np.append(0, shares / shares[-1] * events)).astype(int)
    for kind, rows in enumerate(np.diff(bounds).tolist()):
        count = -(-rows // ROWS_PER_FILE)
        for part in range(count):
            yield Part(target, kind, part, count, rows // count + (part < rows % count), customers, seed)


def identities(numbers: Int64) -> Int64:
    """Turn customer numbers into tokens of 63 bits (the finaliser of SplitMix64)."""
    z = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


def _times(rng: np.random.Generator, part: Part) -> tuple[Int64, Int64]:
    """Return event and arrival times in microseconds, by arrival: mostly seconds late, one in a hundred
    hours late."""
    seconds = DAYS * 86_400 // part.parts
    start = int((AS_OF - timedelta(days=DAYS)).timestamp()) + part.part * seconds
    at = start + rng.integers(0, seconds, part.rows)
    delay = np.where(
        rng.random(part.rows) < 0.01, rng.integers(0, 6 * 3600, part.rows), rng.integers(0, 5, part.rows)
    )
    received = np.minimum(at + delay, start + seconds - 1)
    order = np.argsort(received, kind="stable")
    return at[order] * 1_000_000, received[order] * 1_000_000


def _event_ids(rng: np.random.Generator, part: Part) -> pa.Array:
    """Make UUIDs of version 8: type and slice in front (which compress well), 62 random bits behind."""
    raw = np.zeros((part.rows, 16), dtype=np.uint8)
    raw[:, 0], raw[:, 1], raw[:, 6] = part.kind, part.part, 0x80
    raw[:, 8:] = np.frombuffer(rng.bytes(8 * part.rows), dtype=np.uint8).reshape(-1, 8)
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    buffer = pa.py_buffer(raw.tobytes())
    storage = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), part.rows, [None, buffer])
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)


def _texts(rng: np.random.Generator, values: tuple[str, ...], rows: int, null_share: float) -> pa.Array:
    codes = (len(values) * rng.random(rows) ** 1.5).astype(np.int32)
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=rng.random(rows) < null_share), pa.array(values)
    )


def table(part: Part) -> pa.Table:
    """Make the rows of one file."""
    rng = np.random.default_rng([part.seed, part.kind, part.part])
    at, received = _times(rng, part)
    customer = (part.customers * rng.random(part.rows) ** SKEW).astype(np.int64)
    amount = np.exp(rng.normal(10, 1.2, part.rows)).astype(np.int64)
    return pa.table(
        {
            "event_id": _event_ids(rng, part),
            "at": pa.array(at, pa.timestamp("us")),
            "received": pa.array(received, pa.timestamp("us")),
            "source": pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(part.rows, np.int8)), pa.array(["core"])
            ),
            "identity": identities(customer),
            "amount": pa.array(amount, mask=rng.random(part.rows) < 0.02),
            "category": _texts(rng, CATEGORIES, part.rows, 0.05),
            "channel": _texts(rng, CHANNELS, part.rows, 0.0),
        }
    )


def write(part: Part) -> int:
    """Write one file; return its rows."""
    folder = part.target / "events" / TYPES[part.kind]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table(part),
        folder / f"{part.part:04d}.parquet",
        compression="zstd",
        compression_level=1,
        use_dictionary=["source", "category", "channel"],
        row_group_size=245_760,
        store_schema=False,
    )
    return part.rows


def generate(target: Path, customers: int, events: int, *, seed: int = 1, processes: int = 2) -> None:
    """Write a whole history, unless a finished one of the same size lies there already."""
    done = target / f"done-{customers}-{events}-{seed}"
    if done.exists():
        return
    columns = (TextColumn("generate"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with (
        ProcessPoolExecutor(processes) as pool,
        Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as bar,
    ):
        task = bar.add_task("generate", total=events)
        for future in as_completed(
            [pool.submit(write, part) for part in parts(target, customers, events, seed)]
        ):
            bar.advance(task, future.result())
    done.touch()


def folder(customers: int, events: int, base: Path = DATA) -> Path:
    """Return where a history of this size lies."""
    return base / f"{_short(customers)}-{_short(events)}"


def _short(number: int) -> str:
    step = min(int(math.log10(number)) // 3, 2)
    return f"{number // 1000**step}{('', 'k', 'm')[step]}"


def main() -> None:
    """Read the arguments and generate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=100_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to write; benchmarks/data/<size> if absent")
    options = parser.parse_args()
    target = options.folder or folder(options.customers, options.events)
    generate(target, options.customers, options.events, seed=options.seed, processes=options.processes)


if __name__ == "__main__":
    main()
