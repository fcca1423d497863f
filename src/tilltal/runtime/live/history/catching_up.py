"""Files that were ingested while customers live: their rows reach customers in small portions.

Who is who comes first, then what they did, each portion in a transaction of its own together with the mark of
how far the file has come. A row counts once, whatever crashes, whoever else works at it, and whether or not
it came as a message too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec

from tilltal.core.errors import EngineError
from tilltal.core.instants import micros
from tilltal.core.operational import Identified, Logged, OperationalStore, Transaction, Writes
from tilltal.rules.clock import Clock
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.history.compaction import ids_in
from tilltal.runtime.live.history.ingested import (
    FILE,
    NEVER,
    Files,
    Part,
    Place,
    Shown,
    files_in,
    marks_of,
    parts_of,
    shown_by,
)
from tilltal.runtime.live.history.past import Past, Sighting, known_at, stamps_of
from tilltal.runtime.live.intake.applying import Applier
from tilltal.runtime.live.intake.incoming import Incoming
from tilltal.runtime.storage.store import Manifest, Store
from tilltal.workspace.workspace import Workspace

PORTION = 100  # rows in one transaction, so that nobody waits long behind it
_AT_ONCE = 20_000  # rows read at once
_IDS = 10_000
_LOOK_SECONDS = 2.0
_RETRY_SECONDS = 1.0
_log = logging.getLogger("tilltal.server")

Rows: TypeAlias = Sequence[Identified] | Sequence[Sighting] | Sequence[Logged]


class Portion(msgspec.Struct, frozen=True):
    """The next rows of a file, where they begin, and what is shown once they count."""

    manifest: Manifest
    place: Place
    rows: Rows
    after: Shown


class CatchUp:
    """Lets live customers know of files that were ingested since they were made."""

    def __init__(
        self,
        store: OperationalStore,
        files: Store,
        past: Past,
        in_force: Callable[[], tuple[InForce, Applier]],
        notify: Callable[[], None],
        now: Callable[[], datetime],
        size: int = PORTION,
    ) -> None:
        """Take where to read and to write.

        Args:
            store: of the customers.
            files: of the workspace.
            past: reads them.
            in_force: gives the definitions of the moment, and who writes by them.
            notify: called after customers changed.
            now: the clock.
            size: how many rows count in one transaction.
        """
        self._store = store
        self._files = files
        self._past = past
        self._in_force = in_force
        self._notify = notify
        self._now = now
        self._size = size
        self.behind_since: datetime | None = None
        self._read: tuple[Place, Rows] | None = None
        self._due: dict[tuple[str, int], int | None] = {}
        self._known: tuple[frozenset[tuple[str, int, int]], dict[str, Manifest]] | None = None

    async def run(self) -> None:
        """Look for files every few seconds until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                is_more = await self.portion()
            except EngineError as error:
                if any(fault.code != "E531" for fault in error.faults):  # else another process was faster
                    _log.warning("ingested files: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            # half of the time is other people's
            await asyncio.sleep(loop.time() - began if is_more else _LOOK_SECONDS)

    async def portion(self) -> bool:
        """Let the next rows count; False if there are none."""
        shown = await shown_by(self._store)
        portion = await self._read_next(shown or Shown())
        if portion is None:
            self.behind_since = None
            return False
        self.behind_since = self.behind_since or self._now()
        async with self._store.transaction() as tx:
            await tx.lock_mark(FILE)
            if await shown_by(tx) == shown:  # else another server was faster
                await tx.write(Writes(marks=marks_of(portion.after, shown)))
                await self._apply(tx, portion)
        self._notify()
        return True

    async def _read_next(self, shown: Shown) -> Portion | None:
        """Read in a thread, and to the end also if cancelled: whoever cancels closes what it reads with."""
        reading = asyncio.create_task(asyncio.to_thread(self._next, shown))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            await asyncio.wait([reading])
            raise

    async def _apply(self, tx: Transaction, portion: Portion) -> None:
        force, applier = self._in_force()
        clock = Clock(self._now(), force.workspace.zone)
        begin, end = portion.place.after, portion.place.until
        known = [one for one in portion.rows if isinstance(one, Identified)]
        seen = [one for one in portion.rows if isinstance(one, Sighting) and begin < one.at <= end]
        rows = [one for one in portion.rows if isinstance(one, Logged) and begin < known_at(one) <= end]
        if known or seen:
            rank = {one.name: at for at, one in enumerate(force.identity.rules.namespaces)}
            met = [_incoming(one, portion.manifest.source, rank) for one in seen]
            await applier.observe(tx, met, known, clock)
        if rows:
            await applier.fill_in(tx, rows, clock)

    def _next(self, shown: Shown) -> Portion | None:
        """Read the next rows; the last portion of a file says that it is whole."""
        manifest = self._at_hand(shown)
        if manifest is None:
            return None
        place = shown.place
        if place is None or place.manifest != manifest.id:
            after = shown.files.ahead.get(manifest.id, NEVER)
            place = Place(manifest.id, after=after, until=micros(self._now()))
        parts = parts_of(manifest)
        rows = self._rows(parts[place.part], place)
        if len(rows) == self._size:
            then = msgspec.structs.replace(place, row=place.row + self._size)
        else:
            then = msgspec.structs.replace(place, part=place.part + 1, row=0)
        if then.part < len(parts):
            return Portion(manifest, place, rows, Shown(shown.files, then))
        return Portion(manifest, place, rows, Shown(self._ended(shown.files, manifest, place.until)))

    def _ended(self, files: Files, manifest: Manifest, until: int) -> Files:
        """Return which files count once one has come to its end."""
        ahead = {name: at for name, at in files.ahead.items() if name != manifest.id}
        if self._past.comes_next(manifest, until) is not None:
            ahead[manifest.id] = until
        return msgspec.structs.replace(files, whole=files.whole | {manifest.id}, ahead=ahead)

    def _at_hand(self, shown: Shown) -> Manifest | None:
        """Return the file that was begun, else the first that is new, else one some of whose rows are due."""
        manifests = self._manifests()
        if shown.place is not None and shown.place.manifest in manifests:
            return manifests[shown.place.manifest]
        fresh = next((one for name, one in manifests.items() if name not in shown.files.whole), None)
        if fresh is not None:
            return fresh
        ahead = ((manifests[name], at) for name, at in shown.files.ahead.items() if name in manifests)
        return next((one for one, at in ahead if self._is_due(one, at)), None)

    def _manifests(self) -> dict[str, Manifest]:
        stamps = stamps_of(self._files)
        if self._known is None or self._known[0] != stamps:
            self._known = stamps, {one.id: one for one in files_in(self._files)}
        return self._known[1]

    def _is_due(self, manifest: Manifest, after: int) -> bool:
        """True once rows of a file that were ahead of their time are known."""
        name = manifest.id, after
        if name not in self._due:
            self._due[name] = self._past.comes_next(manifest, after)
        due = self._due[name]
        if due is None or due > micros(self._now()):
            return False
        del self._due[name]
        return True

    def _rows(self, part: Part, place: Place) -> Rows:
        """Return a portion; many are read at once, since opening a file costs more than reading it."""
        if self._read is not None:
            begin, rows = self._read
            skipped = place.row - begin.row
            is_of_it = (begin.manifest, begin.part) == (place.manifest, place.part)
            if is_of_it and skipped >= 0 and (skipped + self._size <= len(rows) or len(rows) < _AT_ONCE):
                return rows[skipped : skipped + self._size]
        reading: dict[str, Callable[[Part, int, int], Rows]] = {
            "identities": self._past.identities_in,
            "observations": self._past.sightings_in,
        }
        read = reading.get(part.view, self._past.rows_in)
        rows = read(part, place.row, place.row + _AT_ONCE)
        self._read = place, rows
        return rows[: self._size]


def _incoming(seen: Sighting, source: str, rank: dict[str, int]) -> Incoming:
    """Return a message that says of identity what a sighting says; alone, what counts is the first time."""
    ids = tuple(sorted(seen.ids, key=lambda one: rank.get(one[0], len(rank))))
    logged = Logged(
        event_id=b"",
        token=ids[0][1],
        ids=tuple(token for _, token in ids),
        kind="event",
        name="",
        source=source,
        at=seen.at,
        received=seen.at,
        body=b"",
    )
    return Incoming(logged=logged, ids=ids, message_id=(seen.name or "").removeprefix(f"{source}:"))


async def name_messages(store: OperationalStore, files: Store, workspace: Workspace) -> None:
    """Note the message ids of files in `seen` where the same messages may come through the collector, too.

    Customers that are made from history in one go know of its files, but not of each message in them.

    Raises:
        EngineError: E530 if the store cannot be reached, E531 if another process was faster: try again.
    """
    shown = await shown_by(store)
    if shown is None or not shown.files.unnamed:
        return
    collected = {name for name, source in workspace.sources.items() if source.read.collector}
    unnamed = [one for one in files_in(files) if one.id in shown.files.unnamed and one.source in collected]
    for manifest in unnamed:
        ids = await asyncio.to_thread(list, ids_in(manifest, files))
        for begin in range(0, len(ids), _IDS):
            await _note(store, ids[begin : begin + _IDS])
        await _named(store, {manifest.id})


async def _note(store: OperationalStore, ids: Sequence[bytes]) -> None:
    async with store.transaction() as tx:
        known = await tx.known_ids(ids)
        await tx.write(Writes(seen=[one for one in dict.fromkeys(ids) if one not in known]))


async def _named(store: OperationalStore, names: Collection[str]) -> None:
    async with store.transaction() as tx:
        await tx.lock_mark(FILE)
        shown = await shown_by(tx) or Shown()
        unnamed = shown.files.unnamed.difference(names)
        files = msgspec.structs.replace(shown.files, unnamed=unnamed)
        await tx.write(Writes(marks=marks_of(Shown(files, shown.place))))
