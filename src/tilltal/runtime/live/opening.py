"""Opening a workspace to be served: store, vault, definitions, history; and keeping up with what changes.

Begin with `open_server`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec

from tilltal.core.errors import DataError, EngineError, TilltalError
from tilltal.core.operational import OperationalStore
from tilltal.customers.live.program import Reference
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.engines.operational.opening import open_store
from tilltal.governance.vault import Vault
from tilltal.rules.clock import Clock
from tilltal.runtime.answers.snapshot import open_snapshot
from tilltal.runtime.intake.ingest import open_vault
from tilltal.runtime.live.changes import Hook
from tilltal.runtime.live.compaction import compact, hot_tables
from tilltal.runtime.live.definitions import InForce, in_force
from tilltal.runtime.live.instants import micros
from tilltal.runtime.live.keys import Keys
from tilltal.runtime.live.past import Past
from tilltal.runtime.live.places import files_of, store_place
from tilltal.runtime.live.reference import bare_reference, lookalikes_of, reference_of
from tilltal.runtime.live.service import LiveServer
from tilltal.runtime.live.setting_aside import SetAside
from tilltal.runtime.live.taking_over import MARK, TakeOver
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.run import current_or_none
from tilltal.workspace.check import usable
from tilltal.workspace.workspace import Workspace

_LOOK_SECONDS = 2.0
_HOOK_SECONDS = 10.0
_COMPACT_SECONDS = 600.0
_log = logging.getLogger("tilltal.server")


class Snapshotted(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken from the snapshot in force, and its name; empty without one."""

    reference: Reference
    lookalikes: dict[int, frozenset[str]] = {}
    name: str = ""


def snapshotted(workspace: Workspace) -> Snapshotted:
    """Read what live profiles need of the snapshot in force, if there is one."""
    try:
        with open_snapshot(workspace) as snapshot:
            return Snapshotted(
                reference=reference_of(snapshot),
                lookalikes=lookalikes_of(snapshot),
                name=snapshot.folder.name,
            )
    except DataError as error:
        if error.faults[0].code != "E507":
            raise
        return Snapshotted(reference=bare_reference(workspace))


@asynccontextmanager
async def open_server(
    root: Path, now: Callable[[], datetime], progress: Progress, environment: Mapping[str, str] = os.environ
) -> AsyncIterator[LiveServer]:
    """Serve a workspace until the block ends: customers are made from history first if they are not there.

    Raises:
        WorkspaceError: with the faults of the definitions.
        EngineError: E530, E532, E534 if the operational store cannot be opened.
    """
    workspace = usable(root)
    files = files_of(workspace)
    files.root.mkdir(parents=True, exist_ok=True)
    place = store_place(workspace, environment)
    with (
        open_vault(workspace, environment) as vault,
        tempfile.TemporaryDirectory(prefix="tilltal-") as spill,
        DuckDBEngine(memory_limit="1GB", threads=1, spill=Path(spill)) as engine,
    ):
        store = await open_store(place)
        taken = snapshotted(workspace)
        force = await _compiled(workspace, taken.reference, vault, store, now)
        await _take_over_once(engine, workspace, store, force, taken, now, progress)
        past = Past(engine, workspace, files)
        server = LiveServer(store, force, SetAside(files, vault), past, now)
        await server.start()
        tasks = [asyncio.create_task(_keep_up(root, server, store, vault, taken.name, now))]
        tasks.append(asyncio.create_task(_compact(server, store, now)))
        client = httpx.AsyncClient(timeout=_HOOK_SECONDS)
        hooks = [
            Hook(name, hook, environment, store, server.feed, now)
            for name, hook in workspace.settings.server.webhooks.items()
        ]
        tasks += [asyncio.create_task(hook.run(client)) for hook in hooks]
        try:
            yield server
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await client.aclose()
            await server.close()


@asynccontextmanager
async def open_keys(workspace: Workspace, environment: Mapping[str, str] = os.environ) -> AsyncIterator[Keys]:
    """Open a workspace's API keys, with or without a server that runs."""
    files_of(workspace).root.mkdir(parents=True, exist_ok=True)
    store = await open_store(store_place(workspace, environment))
    try:
        found = Keys(store, lambda: datetime.now(UTC))
        await found.load()
        yield found
    finally:
        await store.close()


async def _compiled(
    workspace: Workspace,
    reference: Reference,
    vault: Vault,
    store: OperationalStore,
    now: Callable[[], datetime],
) -> InForce:
    adaptive = await store.adaptive()
    return in_force(workspace, reference, vault, adaptive, micros(now()))


async def _take_over_once(
    engine: DuckDBEngine,
    workspace: Workspace,
    store: OperationalStore,
    force: InForce,
    taken: Snapshotted,
    now: Callable[[], datetime],
    progress: Progress,
) -> None:
    """Make customers from history, unless that was done for these definitions."""
    mark = await store.mark(MARK)
    if mark == force.program.fingerprint.encode():
        return
    files = files_of(workspace)
    hot = await hot_tables(store, workspace, files)
    over = TakeOver(engine, workspace, files, force.program, taken.lookalikes, hot)
    await over.run(store, Clock(now(), workspace.zone), progress)


async def _keep_up(
    root: Path,
    server: LiveServer,
    store: OperationalStore,
    vault: Vault,
    snapshot: str,
    now: Callable[[], datetime],
) -> None:
    """Take over definitions and snapshots as they change; what is faulty is told and left alone."""
    version, seen = server.force.version, _stamp(root)
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        with suppress(EngineError):
            await server.look_at_keys()
        stamp = _stamp(root)
        current = current_or_none(files_of(server.force.workspace))
        name = current.name if current else ""
        if stamp == seen and name == snapshot:
            continue
        seen = stamp
        try:
            workspace = await asyncio.to_thread(usable, root)
            if workspace.content_hash == version and name == snapshot:
                continue
            taken = await asyncio.to_thread(snapshotted, workspace)
            force = await _compiled(workspace, taken.reference, vault, store, now)
        except (TilltalError, EngineError, OSError) as error:
            _log.warning("definitions not taken over: %s", error)
            continue
        if force.program.fingerprint != server.force.program.fingerprint:
            _log.warning("these definitions ask for other facts of the past: restart the server to use them")
            continue
        server.replace(force)
        version, snapshot = workspace.content_hash, taken.name
        _log.info("definitions %s in force", version[:12])


async def _compact(server: LiveServer, store: OperationalStore, now: Callable[[], datetime]) -> None:
    """Move the log to Parquet from time to time."""
    while True:
        await asyncio.sleep(_COMPACT_SECONDS)
        workspace = server.force.workspace
        try:
            await compact(store, workspace, files_of(workspace), now())
        except (EngineError, OSError) as error:
            _log.warning("compaction: %s", error)


def _stamp(root: Path) -> float:
    """Return the latest change of any definition."""
    stamps = (path.stat().st_mtime for path in root.rglob("*.yaml") if ".tilltal" not in path.parts)
    return max(stamps, default=0.0)
