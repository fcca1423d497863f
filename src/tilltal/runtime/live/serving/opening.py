"""Opening a workspace to be served: store, vault, definitions, history; and keeping up with what changes.

Begin with `open_server`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx

from tilltal.core.errors import EngineError
from tilltal.core.operational import OperationalStore
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.engines.operational.opening import open_store
from tilltal.rules.clock import Clock
from tilltal.runtime.intake.ingest import open_vault
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.history.compaction import compact, hot_tables
from tilltal.runtime.live.history.past import Past
from tilltal.runtime.live.history.taking_over import TakeOver
from tilltal.runtime.live.intake.setting_aside import SetAside
from tilltal.runtime.live.places import FILES, MADE, files_of, sealed, store_place
from tilltal.runtime.live.reference import Snapshotted, snapshotted
from tilltal.runtime.live.serving.changes import Hook
from tilltal.runtime.live.serving.keys import Keys
from tilltal.runtime.live.serving.lags import Lags
from tilltal.runtime.live.serving.reloading import Reloading, compiled
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.live.serving.supervising import ended, supervised
from tilltal.runtime.progress import Progress
from tilltal.runtime.storage.still import StillStore
from tilltal.workspace.check import usable
from tilltal.workspace.workspace import Workspace

_HOOK_SECONDS = 10.0
_COMPACT_SECONDS = 600.0
_log = logging.getLogger("tilltal.server")


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
        force = await compiled(workspace, taken.reference, vault, store, now)
        await _take_over_once(engine, workspace, store, force, taken, now, progress)
        past = Past(engine, workspace, files)
        server = LiveServer(store, force, SetAside(files, vault), past, now)
        hooks = [
            Hook(name, hook, environment, store, server.feed, now)
            for name, hook in workspace.settings.server.webhooks.items()
        ]
        await server.start()
        reloading = Reloading(root, server, store, vault, now, taken)
        lags = Lags(store, reloading, hooks, server.figures, now)
        client = httpx.AsyncClient(timeout=_HOOK_SECONDS)
        tasks = [
            supervised("reloading", reloading.run),
            supervised("compaction", partial(_compact, server, store, now)),
            supervised("lags", lags.run),
            *(supervised(f"webhook {hook.name}", partial(hook.run, client)) for hook in hooks),
        ]
        try:
            yield server
        finally:
            await ended(*tasks)
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


async def _take_over_once(
    engine: DuckDBEngine,
    workspace: Workspace,
    store: OperationalStore,
    force: InForce,
    taken: Snapshotted,
    now: Callable[[], datetime],
    progress: Progress,
) -> None:
    """Make customers from history, unless that was done for these definitions and these files."""
    made, files = force.made_by, StillStore(files_of(workspace).root)
    if await store.mark(MADE) == made and await store.mark(FILES) == sealed(files):
        return
    hot = await hot_tables(store, workspace, files)
    over = TakeOver(engine, workspace, files, force.program, force.identity, taken.lookalikes, hot)
    await over.run(store, Clock(now(), workspace.zone), progress)


async def _compact(server: LiveServer, store: OperationalStore, now: Callable[[], datetime]) -> None:
    """Move the log to Parquet from time to time."""
    while True:
        await asyncio.sleep(_COMPACT_SECONDS)
        workspace = server.force.workspace
        try:
            await compact(store, workspace, files_of(workspace), now())
        except (EngineError, OSError) as error:  # tried again when it is time
            _log.warning("compaction: %s", error)
