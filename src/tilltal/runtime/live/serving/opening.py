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
from tilltal.runtime.live.history.catching_up import CatchUp, name_messages
from tilltal.runtime.live.history.compaction import compact_apart, hot_tables
from tilltal.runtime.live.history.ingested import files_in, shown_by
from tilltal.runtime.live.history.keeping import Keeping
from tilltal.runtime.live.history.past import Past
from tilltal.runtime.live.history.remaking import Remaking
from tilltal.runtime.live.history.taking_over import TakeOver
from tilltal.runtime.live.intake.setting_aside import SetAside
from tilltal.runtime.live.linking.linking import Linking
from tilltal.runtime.live.linking.verdicts import Verdicts
from tilltal.runtime.live.places import MADE, files_of, store_place
from tilltal.runtime.live.reference import Snapshotted, snapshotted
from tilltal.runtime.live.serving.hooks import Hooks
from tilltal.runtime.live.serving.keys import Keys
from tilltal.runtime.live.serving.lags import Lags
from tilltal.runtime.live.serving.reloading import Reloading, compiled
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.live.serving.supervising import ended, supervised
from tilltal.runtime.progress import Progress
from tilltal.runtime.storage.still import StillStore
from tilltal.runtime.storage.store import Store
from tilltal.workspace.check import usable
from tilltal.workspace.workspace import Workspace

_HOOK_SECONDS = 10.0
_COMPACT_SECONDS = 600.0
_MANY = 100_000  # rows of files: making customers anew as a whole is quicker than letting them catch up
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
        store = await open_store(place, workspace.settings.server.memory_mb)
        taken = snapshotted(workspace)
        force = await compiled(workspace, taken.reference, vault, store, now)
        await _take_over_once(engine, workspace, store, force, taken, now, progress)
        await name_messages(store, files, workspace)
        past = Past(engine, workspace, files)
        server = LiveServer(store, force, SetAside(files, vault), past, now)
        client = httpx.AsyncClient(timeout=_HOOK_SECONDS)
        hooks = Hooks(environment, store, server.feed, client, now)
        hooks.examine(workspace.settings.server.webhooks)
        await server.start()
        reloading = Reloading(root, server, hooks, store, vault, now, taken)
        catching = CatchUp(
            store, files, past, lambda: (server.force, server.applier), server.feed.notify, now
        )
        linking = Linking(server, store, environment, now)
        lags = Lags(store, reloading, linking, catching, hooks, server.figures, now)
        await hooks.take_up(workspace.settings.server.webhooks)
        tasks = [
            supervised("reloading", reloading.run),
            supervised("warming", store.warm),
            supervised("ingested files", catching.run),
            supervised("linking", linking.run),
            supervised("decisions on links", Verdicts(server, vault).run),
            supervised("compaction", partial(_compact, server, store, place, now)),
            supervised("keeping", Keeping(store, lambda: server.force.workspace, now, place).run),
            supervised("lags", lags.run),
        ]
        try:
            yield server
        finally:
            await ended(*tasks)
            await hooks.close()
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
    """Make customers from history, unless that was done by these definitions, for most of its files."""
    files, by = StillStore(files_of(workspace).root), await store.mark(MADE)
    if by == force.made_by and await _is_near(store, files):
        return
    if by and by != force.made_by:  # other servers may serve them; and whole or not at all is one swap
        remaking = Remaking(store, force, taken.lookalikes, now, rest=0.0, progress=progress)
        await remaking.run(lambda swap: swap())
        return
    hot = await hot_tables(store, workspace, files)
    over = TakeOver(engine, workspace, files, force.program, force.identity, taken.lookalikes, hot)
    await over.run(store, Clock(now(), workspace.zone), progress)


async def _is_near(store: OperationalStore, files: Store) -> bool:
    """True if customers know of files but for a few rows, which they catch up with while they are served."""
    shown = await shown_by(store)
    if shown is None:
        return False
    return sum(one.taken for one in files_in(files) if one.id not in shown.files.whole) <= _MANY


async def _compact(
    server: LiveServer, store: OperationalStore, place: str, now: Callable[[], datetime]
) -> None:
    """Move the log to Parquet from time to time."""
    while True:
        await asyncio.sleep(_COMPACT_SECONDS)
        try:
            await compact_apart(store, place, server.force.workspace, now())
        except (EngineError, OSError) as error:  # tried again when it is time
            _log.warning("compaction: %s", error)
