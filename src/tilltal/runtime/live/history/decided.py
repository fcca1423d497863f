"""Logged decisions in order of time, wherever they are by now: first those in Parquet, then the store's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tilltal.core.operational import Decided, Reads
from tilltal.runtime.live.history.keeping import decision_files
from tilltal.runtime.storage.store import Store

_PORTION = 1_000


async def decisions_since(store: Reads, files: Store, since: int) -> AsyncIterator[list[Decided]]:
    """Give decisions from an instant on, in microseconds, a thousand at a time.

    What leaves the store meanwhile may come twice, or not at all.
    """
    kept = _kept(files, since)
    while (portion := await asyncio.to_thread(next, kept, None)) is not None:
        yield portion
    after = (max(since, 0) // 1000).to_bytes(6, "big")  # ids begin with milliseconds
    while found := await store.decisions_after(after, _PORTION):
        yield [one for one in found if one.at >= since]
        after = found[-1].id


def decisions_kept(files: Store, profile: int) -> list[Decided]:
    """Return a profile's decisions that have left the operational store, in order of time."""
    found: dict[bytes, Decided] = {}  # by id: two servers may have written the same
    for path in decision_files(files):
        table = pq.read_table(path, filters=[("profile", "=", profile)])
        found |= {one.id: one for one in _rows(table)}
    return sorted(found.values(), key=lambda one: (one.at, one.id))


def _kept(files: Store, since: int) -> Iterator[list[Decided]]:
    seen: set[bytes] = set()  # in files whose times overlap: two servers may have written the same
    until = since
    for path in decision_files(files):
        is_first = True
        for batch in pq.ParquetFile(path).iter_batches(_PORTION):
            rows = [one for one in _rows(pa.Table.from_batches([batch])) if one.at >= since]
            if not rows:
                continue
            if is_first and rows[0].at > until:
                seen.clear()
            is_first, until = False, max(until, rows[-1].at)
            found = [one for one in rows if one.id not in seen]
            seen.update(one.id for one in found)
            if found:
                yield found


def _rows(table: pa.Table) -> list[Decided]:
    instants = pc.cast(table["at"], pa.int64()).to_pylist()
    columns = (table[name].to_pylist() for name in ("id", "profile", "body"))
    return [
        Decided(id=name, at=at, profile=profile, body=body)
        for name, profile, body, at in zip(*columns, instants, strict=True)
    ]
