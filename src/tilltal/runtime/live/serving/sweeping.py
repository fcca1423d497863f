"""Bringing every customer to the definitions in force, a few dozen at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from tilltal.core.errors import EngineError
from tilltal.core.operational import OperationalStore, Writes
from tilltal.rules.clock import Clock
from tilltal.runtime.live.serving.service import LiveServer

MARK = "edition"
PORTION = 50  # profiles in one transaction, so that nobody waits long behind it
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
