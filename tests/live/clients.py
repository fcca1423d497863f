"""Many clients of one server at once, whose clock goes on a little with every request."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import Counter
from datetime import datetime, timedelta
from random import Random
from typing import Any, ClassVar

from tests.cases.serving import CaseServer

_CLIENTS = 32
SPEED = timedelta(seconds=60)  # per second


class Clients(ABC):
    """Clients of one server; `seen` counts what became of their requests.

    With `begun`, an instant of `time.monotonic`, the server's clock goes on with that from `start`, only
    faster, as in other processes.
    """

    start: ClassVar[datetime]

    def __init__(self, server: CaseServer, seed: int, begun: float | None = None) -> None:
        self._begun = begun
        self.seen: Counter[str] = Counter()
        self._server = server
        self._random = Random(seed)
        self._seed = seed

    def run(self, count: int) -> None:
        """Let clients ask `count` times in all, each waiting for its answers."""
        numbers = iter(range(count))

        async def client() -> None:
            for number in numbers:
                await self._ask(number)

        async def all_clients() -> None:
            await asyncio.gather(*(client() for _ in range(_CLIENTS)))

        self._server.wait(all_clients())

    @abstractmethod
    async def _ask(self, number: int) -> None:
        """Ask once, and do something with what is given."""

    def _go_on_by(self, time_span: timedelta) -> None:
        if self._begun is None:
            self._server.now += time_span
        else:
            self._server.now = self.start + (time.monotonic() - self._begun) * SPEED

    async def _post(self, url: str, body: object) -> dict[str, Any]:
        answer = await self._server.api.post(url, body)
        self.seen["errors"] += answer.status != 200
        found: dict[str, Any] = answer.json()
        return found
