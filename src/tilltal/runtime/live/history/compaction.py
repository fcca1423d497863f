"""From the log to Parquet: the compactor moves rows that are done with to history, a refresh reads the rest.

A mark names the range first, then files are written, then manifests, then the rows go from the log: a crash
in between leaves rows in both places, and whoever reads both leaves out log rows whose ids Parquet has.
Running again finishes what was begun. What an ingested file brings too is left out likewise: the file has it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import UUID

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tilltal.core.errors import EngineError
from tilltal.core.operational import Identified, Logged, OperationalStore, Reads, Writes
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.history.apart import apart
from tilltal.runtime.live.history.hot import tables_of, united
from tilltal.runtime.live.history.ingested import BESIDE, is_of_file, parts_of, up_to
from tilltal.runtime.live.history.leisure import bit_by_bit
from tilltal.runtime.live.places import files_of, store_place
from tilltal.runtime.storage import disk
from tilltal.runtime.storage.store import LIVE, Manifest, Store
from tilltal.workspace.workspace import Workspace

_PORTION = 100_000
_MARK = "compaction"
_DONE = "compacted"
_FILE = "log:"  # how the manifests of compactions name what they hold: `log:<first>-<last>`


class Range(msgspec.Struct, frozen=True):
    """Positions of the log, both inside, and a name that no other range has."""

    first: int
    last: int
    name: str


def range_of(manifest: Manifest) -> Range | None:
    """Return what part of the log a manifest stands for; None if it is of a file or of the quarantine."""
    if not manifest.file.startswith(_FILE):
        return None
    first, _, last = manifest.file.removeprefix(_FILE).partition("-")
    return Range(int(first), int(last), manifest.id)


async def last_begun(target: Reads) -> int:
    """Return the last position of the log that compactions have moved, or have begun to move."""
    done, begun = await target.mark(_DONE), await target.mark(_MARK)
    if begun:
        return msgspec.msgpack.decode(begun, type=Range).last
    return int(done) if done else 0


def hot_of(workspace: Workspace, store: Store) -> dict[str, pa.Table]:
    """Return what a server's log holds and Parquet does not; nothing where no server ever ran.

    Args:
        workspace: says where the operational store is.
        store: the files; a `StillStore` if they are read afterwards.

    Raises:
        EngineError: E530, E532, E534 if the operational store cannot be opened.
    """
    place = store_place(workspace)
    if "://" not in place and not Path(place).exists():
        return {}
    return asyncio.run(_read_hot(place, workspace, store))


async def _read_hot(place: str, workspace: Workspace, store: Store) -> dict[str, pa.Table]:
    target = await open_store(place)
    try:
        return await hot_tables(target, workspace, store)
    finally:
        await target.close()


async def hot_tables(target: Reads, workspace: Workspace, store: Store) -> dict[str, pa.Table]:
    """Return the tables of what the log holds and Parquet does not.

    The log is read before the manifests: rows that are moved meanwhile are found in one of the two, not both.
    """
    tables, _ = await hot_until(target, workspace, store)
    return tables


async def hot_until(target: Reads, workspace: Workspace, store: Store) -> tuple[dict[str, pa.Table], int]:
    """Return the same, and the last position that they and Parquet hold; see `alone`."""
    portions: list[pa.Table] = []
    place = 0
    while rows := await target.log_after(place, _PORTION):
        portions.append(_packed(rows))
        place = rows[-1].position
    tables: dict[str, list[pa.Table]] = defaultdict(list)
    while portions:
        fresh = await asyncio.to_thread(_not_moved, _unpacked(portions.pop(0)), store)
        known = await target.identities({token for row in fresh for token in row.ids})
        if fresh:
            for view, table in (await asyncio.to_thread(tables_of, workspace, fresh, known)).items():
                tables[view].append(table)
    return {view: united(found) for view, found in tables.items()}, max(place, await last_begun(target))


_LOG = pa.schema(
    [
        ("event_id", pa.binary()),
        ("token", pa.int64()),
        ("ids", pa.list_(pa.int64())),
        ("kind", pa.string()),
        ("name", pa.string()),
        ("source", pa.string()),
        ("at", pa.int64()),
        ("received", pa.int64()),
        ("body", pa.binary()),
        ("position", pa.int64()),
    ]
)


def _packed(rows: Sequence[Logged]) -> pa.Table:
    """Return rows as Arrow holds them: a long log takes a fraction of the memory."""
    columns = [pa.array([getattr(row, one.name) for row in rows], one.type) for one in _LOG]
    return pa.Table.from_arrays(columns, schema=_LOG)


def _unpacked(table: pa.Table) -> list[Logged]:
    return [msgspec.convert(row, Logged) for row in table.to_pylist()]


def compact_now(workspace: Workspace, now: datetime) -> int:
    """Move the log of a workspace's operational store to Parquet; return how many rows.

    Raises:
        EngineError: E504 while a server or another command does it; E501, E505 for the disk; E530, E532, E534
            if the operational store cannot be opened.
    """
    place = store_place(workspace)
    if "://" not in place and not Path(place).exists():
        return 0
    return asyncio.run(_compact_at(place, workspace, now))


async def _compact_at(place: str, workspace: Workspace, now: datetime) -> int:
    target = await open_store(place)
    try:
        with disk.explained():
            return await compact(target, workspace, files_of(workspace), now)
    finally:
        await target.close()


async def compact(
    target: OperationalStore,
    workspace: Workspace,
    store: Store,
    now: datetime,
    keep: Callable[[Range], Awaitable[None]] | None = None,
) -> int:
    """Move the rows that the log has now to Parquet; return how many.

    Args:
        target: the operational store.
        workspace: the definitions.
        store: the files.
        now: the instant.
        keep: writes a range as files; here and now if None.

    Raises:
        OSError: if the disk refuses; the rows stay in the log.
        EngineError: E504 if somebody else does it now; E530 if the operational store cannot be reached.
    """
    moved = 0
    with alone(store):
        while True:
            planned, is_last = await _planned(target)
            if planned is None:
                return moved
            if keep is None:
                await _kept(target, workspace, store, planned, now)
            else:
                await keep(planned)
            moved += await bit_by_bit(partial(_drop, target, planned.last))
            async with target.transaction() as tx:
                await tx.write(Writes(marks={_MARK: b"", _DONE: str(planned.last).encode()}))
            if is_last:
                return moved


async def compact_apart(target: OperationalStore, place: str, workspace: Workspace, now: datetime) -> int:
    """Do the same where customers are served: files are written by a process of its own, which stands back.

    Args:
        target: the operational store.
        place: where it was opened; definitions may name another by now.
        workspace: the definitions.
        now: the instant.

    Raises:
        OSError: if the disk refuses, or that process dies; the rows stay in the log.
        EngineError: E504 if somebody else does it now; E530 if the operational store cannot be reached.
    """
    bare = msgspec.structs.replace(workspace, documents={})  # texts and places, which only checks ask for

    async def keep(planned: Range) -> None:
        await apart(_keep_at, place, bare, planned, now)

    return await compact(target, workspace, files_of(workspace), now, keep)


def _keep_at(place: str, workspace: Workspace, planned: Range, now: datetime) -> None:
    """Write a range of the log of the store at a place."""

    async def kept() -> None:
        target = await open_store(place)
        try:
            begun = await target.mark(_MARK)
            if not begun or msgspec.msgpack.decode(begun, type=Range) != planned:
                raise EngineError.of("E531", f"{planned} is not what the store at its place is to move.")
            await _kept(target, workspace, files_of(workspace), planned, now)
        finally:
            await target.close()

    asyncio.run(kept())


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """Be the only compactor of these files; let go by itself if the process dies."""
    store.root.mkdir(parents=True, exist_ok=True)
    handle = os.open(store.root / "compacting", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise EngineError.of(
            "E504",
            f"Somebody else compacts {store.root} now, maybe the server.",
            hint="Nothing is left to do; or run again in a while.",
        ) from error
    finally:
        os.close(handle)


async def _drop(target: OperationalStore, until: int) -> int:
    """Remove some rows up to a position, so few that nobody else waits long; return how many."""
    async with target.transaction() as tx:
        return await tx.drop_log(until)


async def _planned(target: OperationalStore) -> tuple[Range | None, bool]:
    """Return what to move next, and whether that is all: what a crash interrupted, else the oldest rows."""
    mark = await target.mark(_MARK)
    if mark:
        return msgspec.msgpack.decode(mark, type=Range), False
    ends = await target.log_ends(_PORTION)
    if ends is None:
        return None, True
    first, last = ends
    if (known := await up_to(target.making())) is not None:  # who makes customers reads the rest from the log
        last = min(last, known.position)
    if last < first:
        return None, True
    planned = Range(first, last, secrets.token_hex(4))
    async with target.transaction() as tx:
        await tx.write(Writes(marks={_MARK: msgspec.msgpack.encode(planned)}))
    return planned, last - first + 1 < _PORTION


async def _kept(target: Reads, workspace: Workspace, store: Store, planned: Range, now: datetime) -> None:
    """Write a range of the log as files, but for rows that files have already."""
    rows = await target.log_after(planned.first - 1, _PORTION)
    rows = [row for row in rows if row.position <= planned.last]
    rows = await asyncio.to_thread(_not_moved, rows, store)
    if rows:
        known = await target.identities({token for row in rows for token in row.ids})
        await asyncio.to_thread(_keep, workspace, store, rows, known, planned, now)


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
        name = f"{LIVE}{source}-{planned.first}-{planned.last}-{planned.name}"
        tables = tables_of(workspace, found, known)
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
                parts=tuple(_write(store, view, name, table) for view, table in tables.items()),
            )
        )


def _write(store: Store, view: str, name: str, table: pa.Table) -> str:
    path = store.history / view / f"{name}-0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")  # another process may be at the same range
    pq.write_table(table, beside, compression="zstd")
    beside.replace(path)
    return path.relative_to(store.root).as_posix()


def _not_moved(rows: Sequence[Logged], store: Store) -> list[Logged]:
    """Leave out rows that Parquet holds already: a compaction is under way, a crash ended one, a file came.

    Positions only say where to look: an operational store that was lost or restored gives them again.
    """
    if not rows:
        return []
    moved: set[bytes] = set()
    sources, ids = {row.source for row in rows}, {row.event_id for row in rows}
    for manifest in store.manifests():
        held = range_of(manifest)
        is_near = held is not None and held.first <= rows[-1].position and rows[0].position <= held.last
        if is_near or (is_of_file(manifest) and manifest.source in sources):
            moved.update(ids.intersection(ids_in(manifest, store)))
    return [row for row in rows if row.event_id not in moved]


def ids_in(manifest: Manifest, store: Store) -> Iterator[bytes]:
    """Yield the message ids that a manifest's files hold, each 16 bytes."""
    for part in parts_of(manifest):
        if part.view not in BESIDE:
            for batch in pq.ParquetFile(store.root / part.path).iter_batches(columns=["event_id"]):
                yield from map(_id_of, batch.column("event_id").to_pylist())


def _id_of(written: UUID | str | bytes) -> bytes:
    """Return an id as the log has it; compactions write text, DuckDB writes UUIDs."""
    if isinstance(written, bytes):
        return written
    return (written if isinstance(written, UUID) else UUID(written)).bytes
