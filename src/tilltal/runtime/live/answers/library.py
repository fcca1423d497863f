"""Definitions of then, at hand: those in force, and the last few that were asked for, compiled."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from tilltal.core.errors import TilltalError
from tilltal.core.operational import Reads
from tilltal.runtime.live.answers.archive import definitions_of
from tilltal.runtime.live.answers.replaying import Then

_MOST = 4  # versions that are kept compiled


class Library:
    """Finds the definitions that decided."""

    def __init__(self, store: Reads) -> None:
        self._store = store
        self._then: OrderedDict[str, Then] = OrderedDict()

    async def find(self, version: str) -> Then | None:
        """Return the definitions of a content hash, compiled; None if they cannot be read.

        Raises:
            EngineError: E530 if the store cannot be reached.
        """
        found = self._then.get(version)
        if found is None:
            found = await self._read(version)
        if found is not None:
            self._then[version] = found
            self._then.move_to_end(version)
            while len(self._then) > _MOST:
                self._then.popitem(last=False)
        return found

    async def _read(self, version: str) -> Then | None:
        try:
            workspace = await definitions_of(self._store, version)
            return None if workspace is None else await asyncio.to_thread(Then, workspace)
        except TilltalError as error:
            if any(fault.code.startswith("E53") for fault in error.faults):
                raise
            return None
