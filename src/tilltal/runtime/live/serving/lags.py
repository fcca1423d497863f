"""How far what runs in the background is behind, in seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from tilltal.core.errors import EngineError
from tilltal.core.instants import micros
from tilltal.core.operational import OperationalStore
from tilltal.runtime.live.history.catching_up import CatchUp
from tilltal.runtime.live.linking.linking import Linking
from tilltal.runtime.live.serving.figures import Figures
from tilltal.runtime.live.serving.hooks import Hooks
from tilltal.runtime.live.serving.reloading import Reloading

_LOOK_SECONDS = 5.0


class Lags:
    """Looks now and then, and notes what it finds in the server's figures."""

    def __init__(
        self,
        store: OperationalStore,
        reloading: Reloading,
        linking: Linking,
        catching: CatchUp,
        hooks: Hooks,
        figures: Figures,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._reloading = reloading
        self._linking = linking
        self._catching = catching
        self._hooks = hooks
        self._figures = figures
        self._now = now

    async def run(self) -> None:
        """Keep looking until cancelled."""
        while True:
            with suppress(EngineError):  # while the store is away others tell of it
                await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Note how old the first of what waits is: rows of the log, changes untold, files, a sweep."""
        behind: dict[str, float] = {}
        rows = await self._store.log_after(0, 1)
        behind["compaction"] = self._age(rows[0].received) if rows else 0.0
        behind["ingested files"] = self._since(self._catching.behind_since)
        behind["linking"] = await self._linking.lag()
        for hook in self._hooks.running:
            place = await hook.place()
            untold = [] if place is None else await self._store.changes_after(place, 1)
            behind[f"webhook {hook.name}"] = self._age(untold[0].at) if untold else 0.0
        behind["customers in the making"] = self._since(self._reloading.making_since)
        behind["sweep"] = self._since(self._reloading.sweeping_since)
        self._figures.behind = behind  # as a whole: a webhook that is defined no more is behind no more

    def _since(self, began: datetime | None) -> float:
        return 0.0 if began is None else self._age(micros(began))

    def _age(self, instant: int) -> float:
        return max(0.0, (micros(self._now()) - instant) / 1_000_000)
