"""The webhooks that run: those of the definitions in force.

When others come into force, what is defined as before goes on untouched. A webhook keeps its place in the log
of changes by its name: one that is defined anew, or put back after it was taken out, goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

import httpx
import msgspec

from tilltal.core.operational import OperationalStore
from tilltal.runtime.live.serving.changes import Feed, Hook, secret_of
from tilltal.runtime.live.serving.supervising import ended, supervised
from tilltal.workspace.definitions.settings import Webhook


class _Begun(msgspec.Struct, frozen=True):
    definition: Webhook
    hook: Hook
    task: asyncio.Task[None]


class Hooks:
    """Begins and ends webhooks as definitions ask for them."""

    def __init__(
        self,
        environment: Mapping[str, str],
        store: OperationalStore,
        feed: Feed,
        client: httpx.AsyncClient,
        now: Callable[[], datetime],
    ) -> None:
        """Take what all webhooks share; `take_up` begins them."""
        self._environment = environment
        self._store = store
        self._feed = feed
        self._client = client
        self._now = now
        self._begun: dict[str, _Begun] = {}

    @property
    def running(self) -> tuple[Hook, ...]:
        """The webhooks that run now."""
        return tuple(one.hook for one in self._begun.values())

    def examine(self, definitions: Mapping[str, Webhook]) -> None:
        """Refuse definitions that could not be taken up.

        Raises:
            DataError: E541 if the environment lacks a secret.
        """
        for name, definition in definitions.items():
            secret_of(name, definition, self._environment)

    async def take_up(self, definitions: Mapping[str, Webhook]) -> None:
        """End what is defined no more, or otherwise by now, and begin what does not run yet.

        Raises:
            DataError: E541 as `examine`; then nothing is changed.
        """
        self.examine(definitions)
        await self._end(
            [name for name, one in self._begun.items() if definitions.get(name) != one.definition]
        )
        for name, definition in definitions.items():
            if name not in self._begun:
                self._begun[name] = self._begin(name, definition)

    async def close(self) -> None:
        """End all of them."""
        await self._end(list(self._begun))

    def _begin(self, name: str, definition: Webhook) -> _Begun:
        hook = Hook(name, definition, self._environment, self._store, self._feed, self._now)
        return _Begun(definition, hook, supervised(f"webhook {name}", partial(hook.run, self._client)))

    async def _end(self, names: list[str]) -> None:
        await ended(*(self._begun[name].task for name in names))
        for name in names:
            del self._begun[name]
