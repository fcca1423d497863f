"""Taking over definitions and snapshots while the server runs, and bringing every customer to them.

New definitions are in force from the next request on. Who is touched is told by them at once; a sweep brings
everybody else to them in the background, so that entries and exits that they cause are told too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from tilltal.core.errors import EngineError, TilltalError
from tilltal.core.operational import OperationalStore, Writes
from tilltal.customers.live.program import Reference
from tilltal.governance.vault import Vault
from tilltal.rules.clock import Clock
from tilltal.runtime.live.definitions import InForce, in_force
from tilltal.runtime.live.instants import micros
from tilltal.runtime.live.places import FILES, files_of, sealed
from tilltal.runtime.live.reference import Snapshotted, snapshotted
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.live.serving.supervising import ended, supervised
from tilltal.runtime.refresh.run import current_or_none
from tilltal.workspace.check import usable
from tilltal.workspace.workspace import Workspace

MARK = "edition"
PORTION = 50  # profiles in one transaction, so that nobody waits long behind it
_LOOK_SECONDS = 2.0
_RETRY_SECONDS = 1.0
_log = logging.getLogger("tilltal.server")


class Place(msgspec.Struct, frozen=True):
    """How far a sweep has come: up to a profile (None: not begun), or to the end."""

    edition: str
    after: int | None = None
    is_done: bool = False


async def place_of(store: OperationalStore, edition: str) -> Place:
    """Return how far the sweep to an edition has come, whichever server began it."""
    kept = await store.mark(MARK)
    place = None if kept is None else msgspec.msgpack.decode(kept, type=Place)
    return place if place is not None and place.edition == edition else Place(edition)


def place_mark(place: Place) -> dict[str, bytes]:
    """Return a place as a mark to write."""
    return {MARK: msgspec.msgpack.encode(place)}


class Sweep:
    """Brings every customer to the definitions in force, once."""

    def __init__(self, server: LiveServer, store: OperationalStore, now: Callable[[], datetime]) -> None:
        self._server = server
        self._store = store
        self._now = now

    async def run(self, lookalikes: Mapping[int, frozenset[str]]) -> None:
        """Work to the end; `lookalikes` are those of the snapshot in force."""
        edition = self._server.force.program.edition
        loop = asyncio.get_running_loop()
        is_done = False
        while not is_done:
            began = loop.time()
            try:
                is_done = await self.portion(edition, lookalikes)
            except EngineError as error:
                _log.warning("sweep: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            await asyncio.sleep(loop.time() - began)  # half of the time is other people's

    async def portion(self, edition: str, lookalikes: Mapping[int, frozenset[str]]) -> bool:
        """Bring the next profiles to the definitions in force; True once nobody is left."""
        place = await place_of(self._store, edition)
        if place.is_done:
            return True
        async with self._store.transaction() as tx:
            profiles = await tx.profiles_after(place.after, PORTION)
            clock = Clock(self._now(), self._server.force.workspace.zone)
            await self._server.applier.renew(tx, profiles, lookalikes, clock)
            is_done = len(profiles) < PORTION
            after = profiles[-1] if profiles else place.after
            await tx.write(Writes(marks=place_mark(Place(edition, after, is_done))))
        self._server.feed.notify()
        return is_done


class Reloading:
    """Looks for changes on disk every few seconds; what is faulty is told and left alone."""

    def __init__(
        self,
        root: Path,
        server: LiveServer,
        store: OperationalStore,
        vault: Vault,
        now: Callable[[], datetime],
        taken: Snapshotted,
    ) -> None:
        """Take what to keep up with; `taken` is of the snapshot that the server began with."""
        self._root = root
        self._server = server
        self._store = store
        self._vault = vault
        self._now = now
        self._taken = taken
        self._version = server.force.version  # of the definitions that everything was taken up from
        self._sweeping: asyncio.Task[None] | None = None
        self.sweeping_since: datetime | None = None

    async def run(self) -> None:
        """Keep up until cancelled; when it is begun again, with what was in force last."""
        try:
            self._sweep()
            await self._keep_up()
        finally:
            await self._stop()

    async def _keep_up(self) -> None:
        seen = _Stamps()  # the first look reads all: something may have changed since it was read
        while True:
            version, snapshot = self._version, self._taken.name
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self._server.look_at_keys()
                stamps = _stamps(self._root)
                current = current_or_none(files_of(self._server.force.workspace))
                name = current.name if current else ""
                if stamps == seen and name == snapshot:
                    continue
                workspace = await asyncio.to_thread(usable, self._root)
                seen = stamps
                if workspace.content_hash == version and name == snapshot:
                    continue
                taken = await asyncio.to_thread(snapshotted, workspace)
                force = await compiled(workspace, taken.reference, self._vault, self._store, self._now)
            except (EngineError, OSError) as error:  # tried again at the next look
                _log.warning("definitions not looked at: %s", error)
                continue
            except TilltalError as error:
                _log.warning("definitions not taken over: %s", error)
                seen = stamps
                continue
            if await self._store.mark(FILES) != await asyncio.to_thread(sealed, files_of(workspace)):
                _log.warning("files were ingested: restart the server, so that customers know of them")
            if force.made_by != self._server.force.made_by:
                _log.warning(
                    "these definitions ask for other facts of the past: restart the server to use them"
                )
                continue
            await self._stop()
            try:
                await self._server.take_up(force)
            except EngineError as error:  # corrections are settled at the next look
                _log.warning("corrections not taken up: %s", error)
                seen = _Stamps()
                continue
            self._version, self._taken = force.version, taken
            _log.info("definitions %s in force", force.version[:12])
            self._sweep()

    def _sweep(self) -> None:
        self.sweeping_since = self._now()
        self._sweeping = supervised("sweep", self._swept)

    async def _swept(self) -> None:
        await Sweep(self._server, self._store, self._now).run(self._taken.lookalikes)
        self.sweeping_since = None

    async def _stop(self) -> None:
        if self._sweeping is not None:
            await ended(self._sweeping)


async def compiled(
    workspace: Workspace,
    reference: Reference,
    vault: Vault,
    store: OperationalStore,
    now: Callable[[], datetime],
) -> InForce:
    """Compile definitions, with what the adaptive models have learned.

    Raises:
        WorkspaceError: with the faults of expressions.
    """
    adaptive = await store.adaptive()
    return in_force(workspace, reference, vault, adaptive, micros(now()))


_Stamps = frozenset[tuple[str, int, int]]


def _stamps(root: Path) -> _Stamps:
    """Return path, time and size of every definition: differs once one is changed, added or removed."""
    found = ((path, path.stat()) for path in root.rglob("*.yaml") if ".tilltal" not in path.parts)
    return frozenset((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in found)
