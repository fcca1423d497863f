"""From the log to Parquet: the compactor moves rows that are done with to history, a refresh reads the rest.

Files first, manifests next, then the rows go from the log: a crash in between leaves rows in both places, and
whoever reads both leaves out log rows that a manifest names. Running again finishes what was begun.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tilltal.core.operational import Identified, Logged, OperationalStore, Reads, Writes
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.hot import tables_of
from tilltal.runtime.live.places import files_of, store_place
from tilltal.runtime.storage.store import LIVE, Manifest, Store
from tilltal.workspace.workspace import Workspace

_PORTION = 100_000
_MARK = "compaction"
_FILE = "log:"  # how the manifests of compactions name what they hold: `log:<first>-<last>`


class Range(msgspec.Struct, frozen=True):
    """Positions of the log, both inside."""

    first: int
    last: int


def hot_of(workspace: Workspace) -> dict[str, pa.Table]:
    """Return what a server's log holds and Parquet does not; nothing where no server ever ran.

    Raises:
        EngineError: E530, E532, E534 if the operational store cannot be opened.
    """
    place = store_place(workspace)
    if "://" not in place and not Path(place).exists():
        return {}
    return asyncio.run(_read_hot(place, workspace))


async def _read_hot(place: str, workspace: Workspace) -> dict[str, pa.Table]:
    target = await open_store(place)
    try:
        return await hot_tables(target, workspace, files_of(workspace))
    finally:
        await target.close()


async def compact(target: OperationalStore, workspace: Workspace, store: Store, now: datetime) -> int:
    """Move all rows that the log has now to Parquet; return how many.

    Raises:
        OSError: if the disk refuses; the rows stay in the log.
        EngineError: E530 if the operational store cannot be reached.
    """
    moved = 0
    while True:
        planned = await _planned(target)
        if planned is None:
            return moved
        rows = [
            row for row in await target.log_after(planned.first - 1, _PORTION) if row.position <= planned.last
        ]
        rows = _not_done(rows, store)
        if rows:
            known = await target.identities({token for row in rows for token in row.ids})
            await asyncio.to_thread(_keep, workspace, store, rows, known, planned, now)
        moved += await _dropped(target, planned.last)
        async with target.transaction() as tx:
            await tx.write(Writes(marks={_MARK: b""}))


async def _dropped(target: OperationalStore, until: int) -> int:
    """Remove rows up to a position, a few at a time, so that nobody else waits long; return how many."""
    count = 0
    while True:
        async with target.transaction() as tx:
            dropped = await tx.drop_log(until)
        if not dropped:
            return count
        count += dropped


async def _planned(target: OperationalStore) -> Range | None:
    """Return what to move next: what a crash interrupted, else the oldest rows; None if there are none."""
    mark = await target.mark(_MARK)
    if mark:
        return msgspec.msgpack.decode(mark, type=Range)
    rows = await target.log_after(0, _PORTION)
    if not rows:
        return None
    planned = Range(rows[0].position, rows[-1].position)
    async with target.transaction() as tx:
        await tx.write(Writes(marks={_MARK: msgspec.msgpack.encode(planned)}))
    return planned


def _keep(
    workspace: Workspace,
    store: Store,
    rows: Sequence[Logged],
    known: Mapping[int, Identified],
    planned: Range,
    now: datetime,
) -> None:
    """Write rows as Parquet, a manifest per source; the same range again replaces the same files."""
    by_source: dict[str, list[Logged]] = defaultdict(list)
    for row in rows:
        by_source[row.source].append(row)
    for source, found in sorted(by_source.items()):
        name = f"{LIVE}{source}-{planned.first}-{planned.last}"
        parts = []
        for view, table in tables_of(workspace, found, known).items():
            parts.append(_write(store, view, name, table))
        store.accept(
            Manifest(
                id=name,
                source=source,
                file=f"{_FILE}{planned.first}-{planned.last}",
                ingested=now.replace(tzinfo=None).isoformat() + "Z",
                rows=len(found),
                taken=len(found),
                duplicate=0,
                quarantined=0,
                parts=tuple(parts),
            )
        )


def _write(store: Store, view: str, name: str, table: pa.Table) -> str:
    path = store.history / view / f"{name}-0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
    return path.relative_to(store.root).as_posix()


def _not_done(rows: Sequence[Logged], store: Store) -> list[Logged]:
    """Leave out rows that Parquet holds already: after a crash, or in a restored backup."""
    done = compacted(store)
    return [row for row in rows if row.position > done.get(row.source, 0)]


def compacted(store: Store) -> dict[str, int]:
    """Return source → the last position of the log that Parquet holds of it."""
    found: dict[str, int] = {}
    for manifest in store.manifests():
        if manifest.file.startswith(_FILE):
            last = int(manifest.file.removeprefix(_FILE).partition("-")[2])
            found[manifest.source] = max(found.get(manifest.source, 0), last)
    return found


async def hot_tables(target: Reads, workspace: Workspace, store: Store) -> dict[str, pa.Table]:
    """Return the tables of what the log holds and Parquet does not.

    The log is read before the manifests: rows that are moved meanwhile are found in one of the two, not both.
    """
    rows: list[Logged] = []
    place = 0
    while portion := await target.log_after(place, _PORTION):
        rows += portion
        place = portion[-1].position
    fresh = _not_done(rows, store)
    if not fresh:
        return {}
    known = await target.identities({token for row in fresh for token in row.ids})
    return tables_of(workspace, fresh, known)
