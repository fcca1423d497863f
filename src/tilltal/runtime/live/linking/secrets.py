"""The vault asked from a thread of its own, so that opening many sealed values holds up nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

from tilltal.governance.vault import Vault
from tilltal.runtime.intake.ingest import open_vault
from tilltal.workspace.workspace import Workspace

T = TypeVar("T")


class Secrets:
    """A second opening of a workspace's vault."""

    def __init__(self, workspace: Workspace, environment: Mapping[str, str]) -> None:
        self._workspace = workspace
        self._environment = environment
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vault")
        self._stack = ExitStack()
        self._vault: Vault | None = None

    async def ask(self, question: Callable[[Vault], T]) -> T:
        """Return what a question finds in the vault.

        Raises:
            DataError: S341, S342 for a wrong key.
            EngineError: E501, E503, E505 if the vault cannot be used.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._asked, question)

    async def close(self) -> None:
        """Let go of the vault."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._stack.close)
        self._thread.shutdown()

    def _asked(self, question: Callable[[Vault], T]) -> T:
        if self._vault is None:
            self._vault = self._stack.enter_context(open_vault(self._workspace, self._environment))
        return question(self._vault)
