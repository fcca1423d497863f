"""What is old leaves the operational store: decisions and responses for Parquet, the rest for good.

A mark names a portion first, then its files are written, then the manifest, then the rows go, a few at a
time: a crash in between leaves them in both places, and running again finishes what was begun. One server
does it at a time, and what another wrote as well counts once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tilltal.core.errors import EngineError
from tilltal.core.instants import micros
from tilltal.core.operational import Answered, Decided, OperationalStore, Reads, Transaction, Writes
from tilltal.core.time import parse_duration
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.contacting import longest_reach
from tilltal.runtime.live.history.apart import apart
from tilltal.runtime.live.history.leisure import bit_by_bit
from tilltal.runtime.live.places import files_of
from tilltal.runtime.live.serving.changes import place_mark
from tilltal.runtime.live.serving.leases import Lease
from tilltal.runtime.storage.store import LIVE, Manifest, Store
from tilltal.workspace.workspace import Workspace

PORTION = 25_000  # decisions in one file
_FEW = 50  # decisions that the store forgets at once: a few milliseconds
_ROWS = 1_000  # of a row group: an id is found without reading the others
_SECONDS = 600.0
_MARK = "keeping"
_SOURCE = f"{LIVE}decisions"  # no source of a workspace has such a name
_log = logging.getLogger("tilltal.server")

DECISIONS = pa.schema(
    [("id", pa.binary()), ("at", pa.timestamp("us")), ("profile", pa.int64()), ("body", pa.binary())]
)
RESPONSES = pa.schema(
    [
        ("id", pa.binary()),
        ("decision", pa.binary()),
        ("action", pa.string()),
        ("channel", pa.string()),
        ("kind", pa.string()),
        ("at", pa.timestamp("us")),
        ("received", pa.timestamp("us")),
    ]
)


class Portion(msgspec.Struct, frozen=True):
    """Decisions of before an instant, and the name of their files."""

    before: int
    name: str


class Kept(msgspec.Struct, frozen=True):
    """A decision that Parquet has, and what came of it."""

    decided: Decided
    responses: tuple[Answered, ...]


class _Written(msgspec.Struct):
    """The ids of what a portion's files hold."""

    decisions: list[bytes] = []
    answers: set[bytes] = set()


class Keeping:
    """Moves and forgets, in the background."""

    def __init__(
        self,
        store: OperationalStore,
        workspace: Callable[[], Workspace],
        now: Callable[[], datetime],
        place: str | None = None,
    ) -> None:
        """Take an open store, the definitions in force, and the clock.

        With the place where the store was opened a process of its own writes the files, and stands back.
        """
        self._place = place
        self._store = store
        self._workspace = workspace
        self._now = now
        self._lease = Lease(store, "keeping")

    async def run(self) -> None:
        """Look from time to time until cancelled."""
        async with self._lease.kept():
            while True:
                await asyncio.sleep(_SECONDS)
                if not self._lease.is_held:
                    continue
                try:
                    await self.tidy()
                except (EngineError, OSError) as error:  # tried again when it is time
                    _log.warning("keeping: %s", error)

    async def tidy(self) -> int:
        """Move and forget what is old by now; return how many rows left the store.

        Raises:
            OSError: if the disk refuses; what was not written stays.
            EngineError: E530, E531 if the store gives up: call again.
        """
        workspace = self._workspace()
        server = workspace.settings.server
        today = self._now().replace(hour=0, minute=0, second=0, microsecond=0)
        old = micros(today - parse_duration(server.keep_decisions))
        told = await told_of(self._store, workspace)
        changes = micros(self._now() - parse_duration(server.keep_changes))
        kept = max(timedelta(days=longest_reach(workspace.contact)), parse_duration(server.keep_decisions))
        contacts = micros(self._now() - kept)
        gone = await bit_by_bit(partial(self._forget, changes, told, contacts))
        while (portion := await self._portion(old)) is not None:
            gone += await self._move(portion, files_of(workspace))
            await self._put(b"")
        return gone

    async def _portion(self, old: int) -> Portion | None:
        """Return what to move next: what a crash interrupted, else the oldest; None if nothing is old."""
        mark = await self._store.mark(_MARK)
        if mark:
            return msgspec.msgpack.decode(mark, type=Portion)
        found = await self._store.decisions_before(old, PORTION)
        if not found:
            return None
        before = found[-1].at if len(found) == PORTION and found[0].at < found[-1].at else found[-1].at + 1
        portion = Portion(before, f"{LIVE}{found[0].at}-{secrets.token_hex(4)}")
        await self._put(msgspec.msgpack.encode(portion))
        return portion

    async def _move(self, portion: Portion, files: Store) -> int:
        """Bring a portion to Parquet, then let the store forget it; return how many decisions went."""
        kept = await asyncio.to_thread(_written_of, portion, files)
        if not kept.decisions:
            if self._place is None:
                await _keep(self._store, portion, files, self._now())
            else:
                await apart(_keep_at, self._place, portion, files.root, self._now())
            kept = await asyncio.to_thread(_written_of, portion, files)
        left = iter(kept.decisions)

        async def forget_some() -> int:
            some = list(islice(left, _FEW))
            while missing := await self._forget_or_tell(some, kept.answers):
                await asyncio.to_thread(_write, portion, files, (), missing, self._now())
                kept.answers.update(one.id for one in missing)
            return len(some)

        return await bit_by_bit(forget_some)

    async def _forget_or_tell(self, ids: Sequence[bytes], kept: set[bytes]) -> list[Answered]:
        """Forget decisions; or return the answers that came meanwhile, which have no files yet."""
        async with self._store.transaction() as tx:
            await self._confirm(tx)
            await tx.lock_decisions(ids)
            missing = [one for one in await tx.responses_to(ids) if one.id not in kept]
            if not missing:
                await tx.drop_decisions(ids)
            return missing

    async def _forget(self, changes: int, told: int | None, contacts: int) -> int:
        async with self._store.transaction() as tx:
            return await tx.forget(changes, told=told, contacts=contacts)

    async def _put(self, mark: bytes) -> None:
        async with self._store.transaction() as tx:
            await self._confirm(tx)
            await tx.write(Writes(marks={_MARK: mark}))

    async def _confirm(self, tx: Transaction) -> None:
        if not await self._lease.confirm(tx):
            raise EngineError.of("E531", "Another server moves decisions.", hint="Try again.")


def _keep_at(place: str, portion: Portion, root: Path, now: datetime) -> None:
    """Write a portion of the operational store at a place, which may be another by now: its mark tells."""

    async def kept() -> None:
        store = await open_store(place)
        try:
            if await store.mark(_MARK) != msgspec.msgpack.encode(portion):
                raise EngineError.of("E531", f"{portion} is not what the store at its place is to move.")
            await _keep(store, portion, Store(root), now)
        finally:
            await store.close()

    asyncio.run(kept())


async def _keep(store: OperationalStore, portion: Portion, files: Store, now: datetime) -> None:
    decisions = await store.decisions_before(portion.before, PORTION)
    answers = await store.responses_to([one.id for one in decisions])
    await asyncio.to_thread(_write, portion, files, decisions, answers, now)


async def told_of(reads: Reads, workspace: Workspace) -> int | None:
    """Return the last change that every webhook's receiver was told of; None where nobody waits for any."""
    marks = [await reads.mark(place_mark(name)) for name in workspace.settings.server.webhooks]
    return min((int(mark) for mark in marks if mark is not None), default=None)


def find(files: Store, decision_id: bytes) -> Kept | None:
    """Return a decision that has left the operational store, and what came of it; None if there is none."""
    parts = _parts(files.manifests(_SOURCE), files)
    found = _rows(parts, "decisions", "id", decision_id)
    if not found:
        return None
    answers = {row["id"]: Answered(**row) for row in _rows(parts, "responses", "decision", decision_id)}
    return Kept(Decided(**found[0]), tuple(sorted(answers.values(), key=lambda one: (one.at, one.id))))


def decision_files(files: Store) -> list[Path]:
    """Return the Parquet files of decisions that have left the operational store, the oldest first."""
    return [path for path in _parts(files.manifests(_SOURCE), files) if path.parent.name == "decisions"]


def _rows(parts: Sequence[Path], view: str, column: str, value: bytes) -> list[dict[str, Any]]:
    paths = [str(path) for path in parts if path.parent.name == view]
    if not paths:
        return []
    table = ds.dataset(paths, format="parquet").to_table(filter=ds.field(column) == value)
    instants = {name: place for place, name in enumerate(table.column_names) if name in ("at", "received")}
    for name, place in instants.items():
        table = table.set_column(place, name, table[name].cast(pa.int64()))
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def _parts(manifests: Iterable[Manifest], files: Store) -> list[Path]:
    return [files.root / part for one in manifests for part in one.parts]


def _of(portion: Portion, files: Store) -> list[Manifest]:
    return [one for one in files.manifests(_SOURCE) if one.id.startswith(portion.name)]


def _written_of(portion: Portion, files: Store) -> _Written:
    """Return what a portion's files hold."""
    kept = _Written()
    for path in _parts(_of(portion, files), files):
        ids = pq.read_table(path, columns=["id"])["id"].to_pylist()
        if path.parent.name == "decisions":
            kept.decisions += ids
        else:
            kept.answers.update(ids)
    return kept


def _write(
    portion: Portion, files: Store, decisions: Sequence[Decided], answers: Sequence[Answered], now: datetime
) -> None:
    name = f"{portion.name}-{secrets.token_hex(4)}"  # whoever else is at it writes files of its own
    tables = {"decisions": _table(DECISIONS, decisions), "responses": _table(RESPONSES, answers)}
    files.accept(
        Manifest(
            id=name,
            source=_SOURCE,
            file=f"before:{portion.before}",
            ingested=now.replace(tzinfo=None).isoformat() + "Z",
            rows=len(decisions),
            taken=len(decisions),
            duplicate=0,
            quarantined=0,
            parts=tuple(_part(files, view, name, table) for view, table in tables.items() if len(table)),
        )
    )


def _table(schema: pa.Schema, rows: Sequence[Decided] | Sequence[Answered]) -> pa.Table:
    return pa.Table.from_arrays(
        [pa.array([getattr(row, one.name) for row in rows], one.type) for one in schema], schema=schema
    )


def _part(files: Store, view: str, name: str, table: pa.Table) -> str:
    path = files.history / view / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd", row_group_size=_ROWS)
    return path.relative_to(files.root).as_posix()
