"""One group of work, one transaction: what came in, what was decided, what was answered, what timed out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TypeAlias

from tilltal.core.errors import EngineError, SupersededError
from tilltal.core.instants import micros
from tilltal.core.operational import OperationalStore, Transaction, Writes
from tilltal.rules.clock import Clock
from tilltal.runtime.live.answers import replying
from tilltal.runtime.live.answers.deciding import Made
from tilltal.runtime.live.answers.replying import Overdue, Replies
from tilltal.runtime.live.contacts import reserving, taking
from tilltal.runtime.live.contacts.books import Books, Wanted
from tilltal.runtime.live.contacts.contract import ContactAnswers, ContactStep
from tilltal.runtime.live.contacts.pieces import Claims, Step
from tilltal.runtime.live.contract import Collected, ResponseOutcome, Unavailable
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.intake.applying import Applier
from tilltal.runtime.live.intake.collecting import Call
from tilltal.runtime.live.intake.setting_aside import SetAside
from tilltal.runtime.live.serving.changes import Feed
from tilltal.runtime.live.serving.lessons import Lessons

Piece: TypeAlias = Call | Made | Replies | Overdue | Claims | Step
Result: TypeAlias = Collected | list[ResponseOutcome] | Made | ContactAnswers | ContactStep | None

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
        self.lessons = Lessons(store)

    async def run(
        self,
        pieces: Sequence[Piece],
        force: InForce,
        applier: Applier,
        renewed: Callable[[InForce], Awaitable[tuple[InForce, Applier]]],
    ) -> list[Result]:
        """Do a group of pieces in one transaction; return one result per piece, once all of it is durable.

        Where customers were made anew meanwhile it is done by the definitions that `renewed` gives.

        Raises:
            EngineError: if the store cannot be reached; nothing was stored.
            Unavailable: if the disk refuses what goes to the quarantine; nothing was stored.
        """
        clock = Clock(self._now(), force.workspace.zone)
        calls = [piece for piece in pieces if isinstance(piece, Call)]
        for call in calls:
            force.desk.keep_secrets(call.batch)
        await self._set_aside(calls, clock.now)
        try:
            results = await self._committed(pieces, force, applier, clock)
        except SupersededError:
            force, applier = await renewed(force)
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
        if all(isinstance(piece, Made) and piece.asked is None for piece in pieces):
            await self._store.write(_decisions(pieces))
            return [None] * len(pieces)
        if not any(isinstance(piece, Replies | Overdue) for piece in pieces):
            async with self._store.transaction() as tx:
                return await _results(tx, pieces, force, applier, clock)
        async with self.lessons.taught() as version:
            return await self._taught(pieces, force, applier, clock, version)

    async def _taught(
        self, pieces: Sequence[Piece], force: InForce, applier: Applier, clock: Clock, version: bytes
    ) -> list[Result]:
        """Do a group that adaptive models learn from."""
        try:
            async with self._store.transaction() as tx:
                results = await _results(tx, pieces, force, applier, clock, is_teaching=True)
                await self.lessons.tell(tx, version)
                return results
        except BaseException:
            await self._forget(force)
            raise

    async def _forget(self, force: InForce) -> None:
        """Take back what adaptive models learned in a transaction that failed."""
        with suppress(EngineError):
            force.learn_from(await self._store.adaptive(), micros(self._now()))


async def _results(
    tx: Transaction,
    pieces: Sequence[Piece],
    force: InForce,
    applier: Applier,
    clock: Clock,
    *,
    is_teaching: bool = False,
) -> list[Result]:
    fresh = await _applied(tx, applier, [piece for piece in pieces if isinstance(piece, Call)], clock)
    if is_teaching:
        force.catch_up(await tx.adaptive())  # once: nobody else learns until the end
    books = await _opened(tx, force, pieces, clock)
    taking.judge(books, pieces)
    final = [reserving.settled(force, books, one) if isinstance(one, Made) else one for one in pieces]
    await tx.write(_decisions([one for one in final if one is not None]))
    results = [None if piece is None else await _result(tx, force, books, piece, fresh) for piece in final]
    await tx.write(books.writes())
    return results


async def _opened(tx: Transaction, force: InForce, pieces: Sequence[Piece], clock: Clock) -> Books:
    """Open the books of contacts that pieces need; the lock of who learns is taken before, theirs after."""
    wanted = Wanted()
    taking.want(force, wanted, pieces)
    await replying.want(tx, force, wanted, pieces)
    for piece in pieces:
        if isinstance(piece, Made) and piece.asked is not None:
            wanted.people.append(piece.asked.tokens)
            wanted.instants.append(piece.answer.at)
            wanted.is_rationed |= bool(force.contacts.rations.capacities)  # it may be decided otherwise
    return await taking.opened(tx, force, wanted, clock)


async def _applied(
    tx: Transaction, applier: Applier, calls: Sequence[Call], clock: Clock
) -> frozenset[bytes]:
    messages = [one for call in calls for one in call.batch.messages]
    if not messages:
        return frozenset()
    identities = [one for call in calls for one in call.batch.identities]
    applied = await applier.apply(tx, messages, identities, clock)
    return applied.fresh


async def _result(
    tx: Transaction, force: InForce, books: Books, piece: Piece, fresh: frozenset[bytes]
) -> Result:
    if isinstance(piece, Call):
        return piece.collected(fresh)
    if isinstance(piece, Claims):
        return taking.answers(books, piece)
    if isinstance(piece, Step):
        return taking.taken(books, piece)
    if isinstance(piece, Replies):
        return await replying.take_replies(tx, force, books, piece)
    if isinstance(piece, Overdue):
        await replying.take_overdue(tx, force, books, piece)
    return piece if isinstance(piece, Made) else None


def unheard(result: Result, now: datetime) -> list[Piece]:
    """Return what is owed where a result reached nobody: what a decision reserved is released."""
    shown = result.answer.actions if isinstance(result, Made) else ()
    return [Step(id=one.contact, what="fail", at=now) for one in shown if one.contact is not None]


def _was_overtaken(error: EngineError) -> bool:
    """True if the same transaction would probably succeed now; a store that is away is left to the caller."""
    if isinstance(error, SupersededError):
        return False
    return all(fault.code == "E531" for fault in error.faults)


def _decisions(pieces: Sequence[Piece]) -> Writes:
    return Writes(decisions=[piece.row for piece in pieces if isinstance(piece, Made)])
