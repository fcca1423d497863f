"""Taking over definitions and snapshots while the server runs, and bringing every customer to them.

New definitions are in force from the next request on. Who is touched is told by them at once; a sweep brings
everybody else to them in the background, so that entries and exits that they cause are told too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from tilltal.core.errors import EngineError, TilltalError
from tilltal.core.instants import micros
from tilltal.core.operational import OperationalStore
from tilltal.customers.live.program import Reference
from tilltal.governance.vault import Vault
from tilltal.runtime.live.answers import archive
from tilltal.runtime.live.definitions import InForce, in_force
from tilltal.runtime.live.history.catching_up import name_messages
from tilltal.runtime.live.history.remaking import Remaking, tidy
from tilltal.runtime.live.places import files_of
from tilltal.runtime.live.reference import Snapshotted, snapshotted
from tilltal.runtime.live.serving.hooks import Hooks
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.live.serving.supervising import ended, supervised
from tilltal.runtime.live.serving.sweeping import Sweep
from tilltal.runtime.refresh.run import current_or_none
from tilltal.workspace.check import usable
from tilltal.workspace.workspace import Workspace

_BREATH_SECONDS = 0.001  # after each folder that is looked at: the event loop needs the interpreter too
_LOOK_SECONDS = 2.0
_log = logging.getLogger("tilltal.server")


class Reloading:
    """Looks for changes on disk every few seconds; what is faulty is told and left alone."""

    def __init__(
        self,
        root: Path,
        server: LiveServer,
        hooks: Hooks,
        store: OperationalStore,
        vault: Vault,
        now: Callable[[], datetime],
        taken: Snapshotted,
    ) -> None:
        """Take what to keep up with; `taken` is of the snapshot that the server began with."""
        self._root = root
        self._server = server
        self._hooks = hooks
        self._store = store
        self._vault = vault
        self._now = now
        self._taken = taken
        self._version = server.force.version  # of the definitions that everything was taken up from
        self._sweeping: asyncio.Task[None] | None = None
        self._making: asyncio.Task[None] | None = None
        self._made_for = ""
        self.sweeping_since: datetime | None = None
        self.making_since: datetime | None = None

    async def run(self) -> None:
        """Keep up until cancelled; when it is begun again, with what was in force last."""
        try:
            self._sweep()
            await self._keep_up()
        finally:
            await self._stop_making()
            await self._stop()

    async def _keep_up(self) -> None:
        seen = _Stamps()  # the first look reads all: something may have changed since it was read
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self._server.look_at_keys()
                stamps = await asyncio.to_thread(_stamps, self._root)
                current = current_or_none(files_of(self._server.force.workspace))
                name = current.name if current else ""
                if stamps == seen and name == self._taken.name:
                    continue
                workspace = await asyncio.to_thread(usable, self._root)
                seen = stamps
                if workspace.content_hash == self._version and name == self._taken.name:
                    await self._leave_off()
                    continue
                self._hooks.examine(workspace.settings.server.webhooks)
                taken = await asyncio.to_thread(snapshotted, workspace)
                force = await compiled(workspace, taken.reference, self._vault, self._store, self._now)
            except (EngineError, OSError) as error:  # tried again at the next look
                _log.warning("definitions not looked at: %s", error)
                continue
            except TilltalError as error:
                _log.warning("definitions not taken over: %s", error)
                seen = stamps
                continue
            if force.made_by != self._server.force.made_by:
                await self._make(force, taken)
                continue
            await self._leave_off()
            await self._stop()
            try:
                await name_messages(self._store, files_of(workspace), workspace)
                await self._server.take_up(force)
            except EngineError as error:  # tried again at the next look
                _log.warning("definitions not wholly taken up: %s", error)
                seen = _Stamps()
                continue
            await self._hooks.take_up(workspace.settings.server.webhooks)
            self._version, self._taken = force.version, taken
            _log.info("definitions %s in force", force.version[:12])
            self._sweep()

    async def _make(self, force: InForce, taken: Snapshotted) -> None:
        """Begin to make customers anew, in place of what was begun for other definitions."""
        making = self._making
        if making is not None and not making.done() and self._made_for == force.version:
            return
        await self._stop_making()
        _log.info("definitions %s: customers are made anew beside those in use", force.version[:12])
        self._made_for = force.version
        self._making = supervised("customers in the making", partial(self._made, force, taken))

    async def _made(self, force: InForce, taken: Snapshotted) -> None:
        """Make customers anew, and serve by the definitions that they are made by from then on."""
        self.making_since = self._now()
        if self._sweeping is not None:
            await asyncio.wait([self._sweeping])  # what was made before is told of first
        remaking = Remaking(self._store, force, taken.lookalikes, self._now)
        await remaking.run(partial(self._put_in_force_wholly, force.workspace))
        self.making_since = None

    async def _put_in_force_wholly(self, workspace: Workspace, swap: Callable[[], Awaitable[None]]) -> None:
        """Swap and serve by the new definitions, or neither, also if cancelled."""
        putting = asyncio.create_task(self._put_in_force(workspace, swap))
        try:
            await asyncio.shield(putting)
        except asyncio.CancelledError:
            await asyncio.wait([putting])
            raise

    async def _put_in_force(self, workspace: Workspace, swap: Callable[[], Awaitable[None]]) -> None:
        taken = await asyncio.to_thread(snapshotted, workspace)
        force = await compiled(workspace, taken.reference, self._vault, self._store, self._now)
        await archive.keep(self._store, force.workspace, force.origin)
        await self._stop()
        await swap()
        self._server.replace(force)  # at once: what comes in between is held up until then
        await self._hooks.take_up(workspace.settings.server.webhooks)
        self._version, self._taken = force.version, taken
        _log.info("definitions %s in force", force.version[:12])
        self._sweep()
        with suppress(EngineError):  # tried again at the next look
            await self._server.take_up(force)

    async def _leave_off(self) -> None:
        """Make nobody anew: the definitions in force ask for what customers are made of."""
        if self._making is not None:
            await self._stop_making()
            await tidy(self._store, self._now)

    async def _stop_making(self) -> None:
        if self._making is not None:
            await ended(self._making)
        self._making, self.making_since = None, None

    def _sweep(self) -> None:
        self.sweeping_since = self._now()
        self._sweeping = supervised("sweep", self._swept)

    async def _swept(self) -> None:
        await Sweep(self._server, self._store, self._now).run(self._taken.lookalikes)
        self.sweeping_since = None
        await tidy(self._store, self._now)

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
    found, folders = [], [str(root)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders += [entry.path] if entry.name != ".tilltal" else []
                elif entry.name.endswith(".yaml"):
                    stat = entry.stat()
                    found.append((entry.path, stat.st_mtime_ns, stat.st_size))
        time.sleep(_BREATH_SECONDS)
    return frozenset(found)
