"""One group of work, one transaction: what came in, what was decided, what was answered, what timed out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TypeAlias

from tilltal.core.errors import EngineError
from tilltal.core.operational import OperationalStore, Transaction, Writes
from tilltal.rules.clock import Clock
from tilltal.runtime.live.answers import deciding
from tilltal.runtime.live.answers.deciding import Made, Overdue, Replies
from tilltal.runtime.live.contract import Collected, ResponseOutcome, Unavailable
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.instants import micros
from tilltal.runtime.live.intake.applying import Applier
from tilltal.runtime.live.intake.collecting import Call
from tilltal.runtime.live.intake.setting_aside import SetAside
from tilltal.runtime.live.serving.changes import Feed

Piece: TypeAlias = Call | Made | Replies | Overdue
Result: TypeAlias = Collected | list[ResponseOutcome] | None

_ATTEMPTS = 6
_OVERTAKEN_SECONDS = 0.01  # longest pause before the second attempt; doubles


class Committer:
    """Stores groups of pieces."""

    def __init__(
        self, store: OperationalStore, quarantine: SetAside, feed: Feed, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._quarantine = quarantine
        self._feed = feed
        self._now = now

    async def run(self, pieces: Sequence[Piece], force: InForce, applier: Applier) -> list[Result]:
        """Do a group of pieces in one transaction; return one result per piece, once all of it is durable.

        Raises:
            EngineError: if the store cannot be reached; nothing was stored.
            Unavailable: if the disk refuses what goes to the quarantine; nothing was stored.
        """
        clock = Clock(self._now(), force.workspace.zone)
        calls = [piece for piece in pieces if isinstance(piece, Call)]
        for call in calls:
            force.desk.keep_secrets(call.batch)
        await self._set_aside(calls, clock.now)
        results = await self._committed(pieces, force, applier, clock)
        self._feed.notify()
        return results

    async def _set_aside(self, calls: Sequence[Call], now: datetime) -> None:
        """Put refused messages into quarantine; in a thread, since fsync would hold up everybody."""
        found = [aside for call in calls for aside in call.aside]
        if not found:
            return
        try:
            await asyncio.to_thread(self._quarantine.keep, found, now)
        except OSError as error:
            raise Unavailable(f"The quarantine cannot be written: {error.strerror or error}.") from error

    async def _committed(
        self, pieces: Sequence[Piece], force: InForce, applier: Applier, clock: Clock
    ) -> list[Result]:
        """Do a group in one transaction, and again if another process on the same store was faster."""
        for attempt in range(_ATTEMPTS):
            try:
                return await self._attempted(pieces, force, applier, clock)
            except EngineError as error:
                if attempt == _ATTEMPTS - 1 or not _was_overtaken(error):
                    raise
                await asyncio.sleep(random.uniform(0, _OVERTAKEN_SECONDS * 2**attempt))  # noqa: S311
        raise AssertionError("the last attempt returns or raises")

    async def _attempted(
        self, pieces: Sequence[Piece], force: InForce, applier: Applier, clock: Clock
    ) -> list[Result]:
        if all(isinstance(piece, Made) for piece in pieces):
            await self._store.write(_decisions(pieces))
            return [None] * len(pieces)
        calls = [piece for piece in pieces if isinstance(piece, Call)]
        try:
            async with self._store.transaction() as tx:
                fresh = await _applied(tx, applier, calls, clock)
                await tx.write(_decisions(pieces))
                if any(isinstance(piece, Replies | Overdue) for piece in pieces):
                    force.learning.catch_up(await tx.adaptive())  # once: nobody else learns until the end
                return [await _result(tx, force, piece, fresh) for piece in pieces]
        except BaseException:
            if any(isinstance(piece, Replies | Overdue) for piece in pieces):
                await self._forget(force)
            raise

    async def _forget(self, force: InForce) -> None:
        """Take back what adaptive models learned in a transaction that failed."""
        with suppress(EngineError):
            force.learn_from(await self._store.adaptive(), micros(self._now()))


async def _applied(
    tx: Transaction, applier: Applier, calls: Sequence[Call], clock: Clock
) -> frozenset[bytes]:
    messages = [one for call in calls for one in call.batch.messages]
    if not messages:
        return frozenset()
    identities = [one for call in calls for one in call.batch.identities]
    applied = await applier.apply(tx, messages, identities, clock)
    return applied.fresh


async def _result(tx: Transaction, force: InForce, piece: Piece, fresh: frozenset[bytes]) -> Result:
    if isinstance(piece, Call):
        return piece.collected(fresh)
    if isinstance(piece, Replies):
        return await deciding.take_replies(tx, force, piece)
    if isinstance(piece, Overdue):
        await deciding.take_overdue(tx, force, piece)
    return None


def _was_overtaken(error: EngineError) -> bool:
    """True if the same transaction would probably succeed now; a store that is away is left to the caller."""
    return all(fault.code == "E531" for fault in error.faults)


def _decisions(pieces: Sequence[Piece]) -> Writes:
    return Writes(decisions=[piece.row for piece in pieces if isinstance(piece, Made)])
