"""What adaptive models learn in one server, heard of by all others on the same operational store.

Whoever learns leaves a mark that differs from the one before. The others look at it a few times a second,
and read the states only when it has changed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tilltal.core.operational import OperationalStore, Transaction, Writes
from tilltal.runtime.live.definitions import InForce

_MARK = "learned"


class Lessons:
    """Keeps one server's adaptive models as the store has them."""

    def __init__(self, store: OperationalStore) -> None:
        self._store = store
        self._turn = (
            asyncio.Lock()
        )  # models in memory are ahead of the store while a transaction teaches them
        self._heard: bytes | None = None
        self._force: InForce | None = None

    @asynccontextmanager
    async def taught(self) -> AsyncIterator[bytes]:
        """Keep `look` away while a transaction teaches; gives what it is to `tell`."""
        async with self._turn:
            version = secrets.token_bytes(8)
            yield version
            self._heard = version

    async def tell(self, tx: Transaction, version: bytes) -> None:
        """Let others know, once the transaction is committed."""
        await tx.write(Writes(marks={_MARK: version}))

    async def look(self, force: InForce) -> bool:
        """Take up what others taught the models; True if there was anything new.

        Raises:
            EngineError: E530 if the store cannot be reached.
        """
        version = await self._store.mark(_MARK)
        if version == self._heard and force is self._force:
            return False
        async with self._turn:
            force.catch_up(await self._store.adaptive())
            self._heard, self._force = version, force
        return True
