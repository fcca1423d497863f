"""Limits of time for many tasks, by one timer of the loop: as `asyncio.timeout`, at a part of its cost.

Every decision has one, and hardly any is ever reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from heapq import heappop, heappush
from itertools import count
from types import TracebackType, coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_GRAIN = 0.001  # seconds; loops count whole milliseconds


class Limits:
    """The limits under way, by when they end; one that is no longer needed stays until its end, empty."""

    def __init__(self) -> None:
        self._ends: list[tuple[float, int, Limit]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._fires = 0.0

    def within(self, seconds: float) -> Limit:
        """Return a limit for the task at hand, which begins now; to be used as a context at once."""
        loop = asyncio.get_running_loop()  # asked for once: it asks the system which process this is
        task = asyncio.current_task(loop)
        assert task is not None, "only a task can be limited"
        return Limit(self, loop, task, loop.time() + seconds)

    async def done(self, work: Coroutine[Any, Any, T], seconds: float) -> tuple[T, bool]:
        """Return what work gives, and whether it had to wait for anything: only then it has a limit.

        Raises:
            TimeoutError: if it waited longer.
        """
        try:
            waits_for = work.send(None)
        except StopIteration as end:
            return end.value, False
        with self.within(seconds):
            return await _gone_on(work, waits_for), True

    def watch(self, limit: Limit) -> None:
        """End a limit when its time is over."""
        heappush(self._ends, (limit.ends, next(self._numbers), limit))
        if self._timer is None or limit.ends < self._fires:
            self._wake(limit.loop)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop look again when the first limit ends."""
        if self._timer is not None:
            self._timer.cancel()
        self._fires = self._ends[0][0]
        self._timer = loop.call_at(self._fires, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what is over."""
        self._timer, now = None, loop.time() + _GRAIN
        while self._ends and (self._ends[0][0] <= now or self._ends[0][2].is_done):
            heappop(self._ends)[2].end()
        if self._ends:
            self._wake(loop)


class Limit:
    """Cancels what its task waits for when time is over, and raises TimeoutError instead."""

    __slots__ = ("_cancelling", "_is_due", "_is_over", "_is_paused", "_limits", "_task", "ends", "loop")

    def __init__(
        self, limits: Limits, loop: asyncio.AbstractEventLoop, task: asyncio.Task[object], ends: float
    ) -> None:
        self.ends = ends
        self.loop = loop
        self._limits = limits
        self._task: asyncio.Task[object] | None = task
        self._cancelling = task.cancelling()
        self._is_due = self._is_over = self._is_paused = False

    @property
    def is_done(self) -> bool:
        """True once it is not needed any more."""
        return self._task is None

    def __enter__(self) -> Limit:
        self._limits.watch(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if not self._is_over or task is None:
            return
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def extend(self, seconds: float) -> None:
        """Let it end so much later."""
        self.ends += seconds

    def pause(self) -> None:
        """Let nothing be given up until `resume`, though time runs on."""
        self._is_paused = True

    def resume(self) -> None:
        """Let it count again; what is waited for next is given up soon if time is over by then."""
        self._is_paused = False
        if self._is_due:
            self.loop.call_soon(self.end)

    def end(self) -> None:
        """Give up what the task waits for, unless it has done so or has more time."""
        if self._task is None or self._is_over:
            return
        self._is_due = self._is_paused
        if self._is_paused:
            return
        if self.ends > self.loop.time() + _GRAIN:
            self._limits.watch(self)
        else:
            self._is_over = True
            self._task.cancel()


@coroutine
def _gone_on(work: Coroutine[Any, Any, T], waits_for: object) -> Generator[Any, Any, T]:
    """Go on with work that waits for something already."""
    try:
        while True:
            try:
                came = yield waits_for
            except BaseException as error:  # such as that it is cancelled
                waits_for = work.throw(error)
            else:
                waits_for = work.send(came)
    except StopIteration as end:
        result: T = end.value
        return result
