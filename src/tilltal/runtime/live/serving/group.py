"""Group commit: whoever writes shares one transaction with everybody else who is waiting.

Fsync is what a durable write costs, so it is paid once for all that came meanwhile. Under little load
a writer waits for nobody; under much load the groups grow by themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from tilltal.core.errors import EngineError
from tilltal.runtime.live.contract import Busy, Unavailable

_log = logging.getLogger("tilltal.server")

T = TypeVar("T")

_GATHERING_SECONDS = 0.001  # at most so long a group waits for those whose requests are being read
_MANY = 20  # pieces of a group: as many again are about to come, once those were answered
_GATHERING_MANY_SECONDS = 0.005
_MOMENT_SECONDS = 0.001


class Weighed(Protocol):
    """A piece of work that knows how much it is."""

    @property
    def weight(self) -> int:
        """How many messages it holds, at least 1."""


W = TypeVar("W", bound=Weighed)


class Away(Unavailable):
    """The store cannot be reached at all: another server may reach it."""


def refused(error: EngineError) -> Unavailable:
    """Return what callers are told whose piece the store did not take."""
    is_away = all(fault.code == "E530" for fault in error.faults)
    told = Away(str(error)) if is_away else Unavailable(str(error))
    told.__cause__ = error
    return told


class GroupCommit(Generic[W, T]):
    """Runs pieces of work in groups, each group in one transaction, one group at a time."""

    def __init__(
        self,
        run: Callable[[Sequence[W]], Awaitable[Sequence[T]]],
        *,
        unheard: Callable[[T], Sequence[W]] = lambda _: (),
        most: int = 1000,
        most_waiting: int = 20_000,
    ) -> None:
        """Begin with nothing to do.

        Args:
            run: does a group and returns one result per piece, once all of it is durable.
            unheard: returns the work that is owed where a result is durable, but its caller has gone.
            most: weight of a group, unless its first piece alone is heavier.
            most_waiting: weight that may wait; whoever comes then is told to come back (`Busy`).
        """
        self._run = run
        self._unheard = unheard
        self._most = most
        self._most_waiting = most_waiting
        self._waiting: deque[tuple[W, asyncio.Future[T]]] = deque()
        self._weight = 0
        self._came = asyncio.Event()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None
        self._last = 0  # pieces of the last group
        self.groups = 0
        self.since: float | None = None  # loop time since which the oldest piece waits

    @property
    def waiting(self) -> int:
        """The weight of what waits now."""
        return self._weight

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def submit(self, piece: W, *, is_owed: bool = False) -> T:
        """Return the piece's result once it is durable.

        Args:
            piece: the work; it is not done if the caller is cancelled before its group begins.
            is_owed: it is answered whatever happens, so twice as much may wait before it is turned away.

        Raises:
            Busy: if too much waits already; nothing was stored.
            Unavailable: if the server stops, or the store refuses; `Away` if it cannot be reached. Nothing
                was stored.
        """
        if self._is_closing:
            raise Unavailable("The server is stopping.")
        most = self._most_waiting * (2 if is_owed else 1)
        if self._weight and self._weight + piece.weight > most:
            raise Busy
        future = self._put(piece)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._make_good(future.result())  # it came as the caller was going
            raise

    async def close(self) -> None:
        """Finish what waits, then stop."""
        self._is_closing = True
        self._came.set()
        if self._task:
            await self._task
            while self._waiting:  # owed by what was done last
                await self._do(self._next())

    def _put(self, piece: W) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((piece, future))
        self._weight += piece.weight
        self.since = loop.time() if self.since is None else self.since
        self._came.set()
        return future

    def _make_good(self, result: T) -> None:
        """Do what is owed, as nobody will hear of a result; even while the server stops."""
        for piece in self._unheard(result):
            self._put(piece).add_done_callback(_warn)

    async def _work(self) -> None:
        while True:
            if not self._waiting:
                if self._is_closing:
                    return
                self._came.clear()
                self.since = None
                await self._came.wait()
                continue
            await self._gather()
            await self._do(self._next())

    async def _gather(self) -> None:
        """Let whoever is about to come join the group: while each look at the network brings somebody.

        Where the last group was of many, as many are about to come: until they are there, then, while every
        moment brings somebody.
        """
        coming, loop = self._last if self._last >= _MANY else 0, asyncio.get_running_loop()
        before, deadline = 0, loop.time() + (_GATHERING_MANY_SECONDS if coming else _GATHERING_SECONDS)
        while before < self._weight < self._most and loop.time() < deadline:
            before = self._weight
            await asyncio.sleep(0)
            if before == self._weight and len(self._waiting) < coming:
                await asyncio.sleep(_MOMENT_SECONDS)

    def _next(self) -> list[tuple[W, asyncio.Future[T]]]:
        group = [self._waiting.popleft()]
        weight = group[0][0].weight
        while self._waiting and weight + self._waiting[0][0].weight <= self._most:
            group.append(self._waiting.popleft())
            weight += group[-1][0].weight
        self._weight -= weight
        self._last = len(group)
        self.since = asyncio.get_running_loop().time() if self._waiting else None
        return group

    async def _do(self, group: list[tuple[W, asyncio.Future[T]]]) -> None:
        """Run a group; if it fails as a whole, run its pieces alone, so that one bad piece fails alone.

        Pieces whose caller has gone are left out: nobody will hear of them.
        """
        group = [one for one in group if not one[1].done()]
        if not group:
            return
        try:
            results = await self._run([piece for piece, _ in group])
        except EngineError as error:
            self._fail(group, refused(error))
        except Exception as error:  # the loop must live; the caller gets the error
            if len(group) == 1:
                self._fail(group, error)
            else:
                for one in group:
                    await self._do([one])
        else:
            self.groups += 1
            for (_, future), result in zip(group, results, strict=True):
                if future.done():  # whoever asked has gone
                    self._make_good(result)
                else:
                    future.set_result(result)

    def _fail(self, group: list[tuple[W, asyncio.Future[T]]], error: Exception) -> None:
        for _, future in group:
            if not future.done():
                future.set_exception(error)


def _warn(future: asyncio.Future[T]) -> None:
    error = future.exception()
    if error is not None:
        _log.warning("what was reserved for somebody who had gone was not released: %s", error)
