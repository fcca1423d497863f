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

    A portion that is just leaving the store may come twice.
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
    found: list[Decided] = []
    for path in decision_files(files):
        table = pq.read_table(path, filters=[("profile", "=", profile)])
        found += _rows(table)
    return sorted(found, key=lambda one: (one.at, one.id))


def _kept(files: Store, since: int) -> Iterator[list[Decided]]:
    for path in decision_files(files):
        file = pq.ParquetFile(path)
        for batch in file.iter_batches(_PORTION):
            found = [one for one in _rows(pa.Table.from_batches([batch])) if one.at >= since]
            if found:
                yield found


def _rows(table: pa.Table) -> list[Decided]:
    instants = pc.cast(table["at"], pa.int64()).to_pylist()
    columns = (table[name].to_pylist() for name in ("id", "profile", "body"))
    return [
        Decided(id=name, at=at, profile=profile, body=body)
        for name, profile, body, at in zip(*columns, instants, strict=True)
    ]
