"""What a person says of pairs while the server runs: links taken back, pairs kept apart.

Accepted pairs are files of history, and reach customers as any file does that is ingested meanwhile.
"""

from __future__ import annotations

import asyncio
import logging

from tilltal.core.errors import TilltalError
from tilltal.governance.vault import Vault
from tilltal.runtime.linking.verdicts import folder
from tilltal.runtime.live.definitions import InForce, identity_of
from tilltal.runtime.live.places import files_of
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.storage.store import Store

_LOOK_SECONDS = 1.0
_log = logging.getLogger("tilltal.server")

Stamp = tuple[int, int]  # time and size


class Verdicts:
    """Looks every second whether something was decided against links, and settles whom it concerns."""

    def __init__(self, server: LiveServer, vault: Vault) -> None:
        self._server = server
        self._vault = vault
        self._seen: tuple[InForce, Stamp] | None = None
        self._is_owed = False  # what was read is not taken up yet

    async def run(self) -> None:
        """Keep looking until cancelled."""
        while True:
            try:
                await self.look()
            except (TilltalError, OSError) as error:  # tried again at the next look
                _log.warning("decisions on links: %s", error)
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Take up what was decided since the last look.

        Raises:
            EngineError: E530, E531 if it could not be taken up: look again.
        """
        force = self._server.force
        seen = force, stamp_of(files_of(force.workspace))
        if self._seen is not None and seen[1] == self._seen[1] and force is self._seen[0]:
            return
        identity = identity_of(force.workspace, self._vault)
        if self._is_owed or identity.corrections != force.identity.corrections:
            force.identity = identity
            self._is_owed = True
            await self._server.take_up(force)
            self._is_owed = False
        self._seen = seen


def stamp_of(files: Store) -> Stamp:
    """Return what changes whenever something is decided against links; zeros where nothing ever was."""
    try:
        found = (folder(files) / "verdicts.jsonl").stat()  # the file is replaced as a whole
    except FileNotFoundError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
