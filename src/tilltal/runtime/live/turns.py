"""Short work of many callers, done together: what came at the same time takes each step at the same time.

A processor takes one step for many faster than all steps for one after another: its caches hold the code
and the tables that the step needs. So a portion waits while every look at the network brings somebody, until
it is full. Other work of the loop has its turn after each portion.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]  # work that pauses after each step but the last, and returns what it gives


class Turns:
    """Does work in the order in which it came; `most` pieces of it before the loop may do anything else."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._before = 0  # who waited at the last look
        self._waiting: deque[tuple[Steps[Any], asyncio.Future[Any]]] = deque()

    async def take(self, work: Steps[T]) -> T:
        """Return what work gives, or raise what it raises; it is not done for a caller who has gone."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._look, loop)
        self._waiting.append((work, future))
        return await future

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Do a portion, unless more are coming."""
        count = len(self._waiting)
        if self._before < count < self._most:
            self._before = count
            loop.call_soon(self._look, loop)
        else:
            self._before = 0
            self._do(loop)

    def _do(self, loop: asyncio.AbstractEventLoop) -> None:
        """Do a portion; the rest is done after what else the loop has to do."""
        waiting = self._waiting
        portion = [waiting.popleft() for _ in range(min(self._most, len(waiting)))]
        if waiting:
            loop.call_soon(self._look, loop)
        while portion:
            portion = [one for one in portion if _has_more(*one)]


def _has_more(work: Steps[T], future: asyncio.Future[T]) -> bool:
    """Take a step; false once nothing is left to do, or nobody waits for it."""
    if future.done():
        return False
    try:
        next(work)
    except StopIteration as end:
        future.set_result(end.value)
    except Exception as error:  # it is the caller's
        future.set_exception(error)
    else:
        return True
    return False


def done(work: Steps[T]) -> T:
    """Do work at once, alone."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
