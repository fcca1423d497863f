"""Long work that leaves the machine to others for a part of the time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
T = TypeVar("T")


class Leisurely:
    """Does one thing after the other. Who cancels it waits until the thread has left off."""

    def __init__(self, rest: float) -> None:
        """Take how many seconds of rest each second of work is followed by."""
        self._rest = rest
        self._since = 0.0
        self._is_over = False

    async def do(self, work: Callable[Given, T], *args: Given.args, **kwargs: Given.kwargs) -> T:
        """Do something in a thread."""
        doing = asyncio.create_task(asyncio.to_thread(work, *args, **kwargs))
        self._since = time.monotonic()
        try:
            found = await asyncio.shield(doing)
        except asyncio.CancelledError:
            self._is_over = True
            await asyncio.wait([doing])
            doing.exception()
            raise
        await asyncio.sleep(self._rest * (time.monotonic() - self._since))
        return found

    async def each(self, pieces: Iterator[T]) -> AsyncIterator[T]:
        """Take one piece after the other in a thread."""
        while (found := await self.do(_next, pieces)) is not None:
            yield found

    def pause(self) -> None:
        """Rest within work, in its thread.

        Raises:
            InterruptedError: if it is to be left off.
        """
        if self._is_over:
            raise InterruptedError
        time.sleep(self._rest * (time.monotonic() - self._since))
        self._since = time.monotonic()


async def bit_by_bit(work: Callable[[], Awaitable[int]]) -> int:
    """Do some again and again until nothing is left, in half of the time; return the sum."""
    count = 0
    while True:
        began = time.perf_counter()
        done = await work()
        if not done:
            return count
        count += done
        await asyncio.sleep(time.perf_counter() - began)


def _next(pieces: Iterator[T]) -> T | None:
    return next(pieces, None)
