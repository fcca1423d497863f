"""Work that one server at a time does, of all that share an operational store.

A lease is a row of the store with an owner and an end, by the store's own clock. Its owner renews it every
few seconds; if that server dies another takes over once it has ended. A server that was held up for longer
finds that it holds it no more (`is_held`), and another's `term` has begun.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tilltal.core.errors import EngineError
from tilltal.core.operational import OperationalStore, Transaction

SECONDS = 6.0
_log = logging.getLogger("tilltal.server")


class Lease:
    """One kind of work, as one server sees it."""

    def __init__(self, store: OperationalStore, name: str, seconds: float = SECONDS) -> None:
        """Take what the work is called, and for how long it is taken each time."""
        self._store = store
        self._name = name
        self._seconds = seconds
        self._owner = secrets.token_hex(8)
        self._ends = 0.0  # by the loop's clock, and so a little early
        self.term = 0  # goes up whenever it is taken after it was not held

    @property
    def is_held(self) -> bool:
        """True while no other server can hold it."""
        return asyncio.get_running_loop().time() < self._ends

    async def take(self) -> bool:
        """Take or renew it; True unless another server holds it.

        Raises:
            EngineError: as `OperationalStore.transaction`.
        """
        asked, was_held = asyncio.get_running_loop().time(), self.is_held
        async with self._store.transaction() as tx:
            is_mine = await self.confirm(tx)
        self.term += is_mine and not was_held
        self._ends = asked + self._seconds if is_mine else 0.0
        return is_mine

    async def confirm(self, tx: Transaction) -> bool:
        """True if no other server holds it as of a transaction, nor can until that ends."""
        return await tx.lease(self._name, self._owner, self._seconds)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Try to hold it as long as the block lasts; then another server may have it at once."""
        with suppress(EngineError):
            await self.take()
        keeping = asyncio.create_task(self._keep(), name=f"lease {self._name}")
        try:
            yield
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            if self.is_held:
                await self._give_back()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / 3)
            try:
                await self.take()
            except EngineError as error:
                _log.warning("lease %s: %s", self._name, error)
            except Exception:
                _log.exception("lease %s", self._name)

    async def _give_back(self) -> None:
        with suppress(EngineError):  # it ends by itself
            async with self._store.transaction() as tx:
                await tx.lease(self._name, self._owner, 0)
        self._ends = 0.0
