"""Making customers anew by other definitions, beside those in use, while a server goes on serving by the old.

First from history in bulk, as of a position of the log and the files that count; then, portion by portion,
from what the log and files have brought since; and once nothing is left, in one transaction, they take the
place of those in use. Marks among what is in the making say how far it has come, so that another server or a
restart goes on there. Nobody is told before the swap; afterwards a sweep tells of everybody once.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from tilltal.core.errors import EngineError
from tilltal.core.instants import micros
from tilltal.core.operational import (
    Change,
    Identified,
    Logged,
    Membership,
    OperationalStore,
    Transaction,
    Writes,
)
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.history.catching_up import CatchUp, name_messages
from tilltal.runtime.live.history.compaction import alone, hot_until
from tilltal.runtime.live.history.ingested import UpTo, files_in, shown_by, up_to, up_to_mark
from tilltal.runtime.live.history.past import CountingStore, Past
from tilltal.runtime.live.history.taking_over import TakeOver
from tilltal.runtime.live.intake.appliers import applier_of
from tilltal.runtime.live.intake.facts import message_of
from tilltal.runtime.live.intake.incoming import Incoming
from tilltal.runtime.live.places import MADE, files_of
from tilltal.runtime.live.serving.leases import Lease
from tilltal.runtime.progress import Progress, Silent

LEASE = "customers in the making"
PORTION = 100  # rows in one transaction, so that nobody waits long behind it
_REMOVED = 200  # profiles in one transaction
_RETRY_SECONDS = 0.25


class Remaking:
    """Makes customers anew by one version of the definitions."""

    def __init__(
        self,
        store: OperationalStore,
        force: InForce,
        lookalikes: Mapping[int, frozenset[str]],
        now: Callable[[], datetime],
        *,
        rest: float = 1.0,
        progress: Progress | None = None,
    ) -> None:
        """Take definitions.

        Args:
            store: of the customers.
            force: the definitions to make them by.
            lookalikes: of the last snapshot.
            now: the clock.
            rest: how long others have the machine, for each second of work.
            progress: is told of the part that is done in bulk.
        """
        self._store = store
        self._next = store.making()
        self._force = force
        self._lookalikes = lookalikes
        self._now = now
        self._rest = rest
        self._progress = progress or Silent()
        self._files = files_of(force.workspace)
        self._lease = Lease(store, LEASE)

    async def run(self, put_in_force: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> None:
        """Make customers and put them into use, unless another server does.

        Args:
            put_in_force: called once all is prepared; is given what swaps, to be called when definitions are
                ready to take effect at once.

        Raises:
            EngineError: if the store cannot be reached, or the disk refuses; run again, to go on.
        """
        async with self._lease.kept():
            while await self._store.mark(MADE) != self._force.made_by:
                if await self._lease.take():
                    await self._make(put_in_force)
                    return
                await asyncio.sleep(_RETRY_SECONDS)
        await put_in_force(_nothing)

    async def _make(self, put_in_force: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> None:
        with (
            tempfile.TemporaryDirectory(prefix="tilltal-") as spill,
            DuckDBEngine(memory_limit="1GB", threads=1, spill=Path(spill)) as engine,
        ):
            if await self._next.mark(MADE) != self._force.made_by:
                await clear(self._store, self._now)
                await self._build(engine)
            await name_messages(self._next, self._files, self._force.workspace)
            later = _Later(
                self._next, self._force, Past(engine, self._force.workspace, self._files), self._now
            )
            while await self._portion(later):
                pass
            await put_in_force(lambda: self._swap(later))

    async def _build(self, engine: DuckDBEngine) -> None:
        """Make customers as of the last position of the log, and of the files that count by now."""
        shown = await shown_by(self._store)
        files = CountingStore(self._files.root, frozenset() if shown is None else shown.files.whole)
        while True:
            try:
                with alone(self._files):  # no row moves while what there is is noted
                    hot, position = await hot_until(self._store, self._force.workspace, files)
                    await self._next.write(Writes(marks=up_to_mark(UpTo(position, files.whole))))
                    break
            except EngineError as error:
                if any(fault.code != "E504" for fault in error.faults):
                    raise
            await asyncio.sleep(_RETRY_SECONDS)
        over = TakeOver(
            engine,
            self._force.workspace,
            files,
            self._force.program,
            self._force.identity,
            self._lookalikes,
            hot,
            is_making=True,
            portion=PORTION,
            rest=self._rest,
            confirm=self._confirm,
        )
        await over.run(self._next, Clock(self._now(), self._force.workspace.zone), self._progress)

    async def _portion(self, later: _Later) -> bool:
        """Take in what came next; False once nothing is left."""
        began = asyncio.get_running_loop().time()
        try:
            is_more = await later.files_portion()
            async with self._next.transaction() as tx:
                await self._confirm(tx)
                is_more = await later.log_portion(tx) or is_more
        except EngineError as error:
            if any(fault.code != "E531" for fault in error.faults):
                raise
            is_more = True
        await asyncio.sleep(self._rest * (asyncio.get_running_loop().time() - began))
        return is_more

    async def _swap(self, later: _Later) -> None:
        """Put customers into use; what came until this moment is taken in first."""
        async with self._next.transaction() as tx:
            await tx.hold_customers()
            await self._confirm(tx)
            while await later.log_portion(tx):
                pass
            await tx.write(Writes(marks=up_to_mark(None)))
            await tx.swap()

    async def _confirm(self, tx: Transaction) -> None:
        if not await self._lease.confirm(tx):
            raise EngineError.of("E531", "Another server makes customers anew.", hint="Try again.")


class _Later:
    """What the log and files bring after customers were made in bulk."""

    def __init__(
        self, store: OperationalStore, force: InForce, past: Past, now: Callable[[], datetime]
    ) -> None:
        self._force = force
        self._now = now
        self._applier = applier_of(force, past, is_making=True)
        self._rank = {one.name: rank for rank, one in enumerate(force.identity.rules.namespaces)}
        self._store = store
        files = files_of(force.workspace)
        self._catching = CatchUp(
            store, files, past, lambda: (force, self._applier), lambda: None, now, size=PORTION
        )
        self._sources = {one.id: one.source for one in files_in(files)}
        self._files = files

    async def files_portion(self) -> bool:
        """Take in the next rows of files; False if there are none."""
        return await self._catching.portion()

    async def log_portion(self, tx: Transaction) -> bool:
        """Take in the next rows of the log; False if these were the last."""
        begin = await up_to(tx)
        if begin is None:
            raise EngineError.of("E531", "Customers in the making were cleared away.", hint="Try again.")
        rows = await tx.log_after(begin.position, PORTION)
        if rows:
            await tx.write(Writes(marks=up_to_mark(UpTo(rows[-1].position, begin.files))))
            known = await tx.identities({token for row in rows for token in row.ids})
            messages = [one for row in rows if (one := self._message(row, known)) is not None]
            by_file = await self._filed(tx, begin.files)
            twice = {one.logged.token for one in messages if one.logged.source in by_file}
            clock = Clock(self._now(), self._force.workspace.zone)
            await self._applier.take_again(tx, messages, twice, clock)
        return len(rows) == PORTION

    def _message(self, row: Logged, known: Mapping[int, Identified]) -> Incoming | None:
        """Return a row as the message it was, of those identifiers that are declared."""
        ids = [(known[token].namespace, token) for token in row.ids if known[token].namespace in self._rank]
        if row.token not in {token for _, token in ids}:
            return None
        ids.sort(key=lambda one: self._rank[one[0]])
        return Incoming(logged=row, ids=tuple(ids), message_id=message_of(row.body)[0])

    async def _filed(self, tx: Transaction, base: frozenset[str]) -> frozenset[str]:
        """Return sources of whose files some rows count that customers were not made from in bulk."""
        shown = await shown_by(tx)
        if shown is None:
            return frozenset()
        counted = shown.files.whole | ({shown.place.manifest} if shown.place else set())
        fresh = counted - base
        if fresh - self._sources.keys():
            self._sources = {one.id: one.source for one in files_in(self._files)}
        return frozenset(self._sources[name] for name in fresh if name in self._sources)


async def clear(store: OperationalStore, now: Callable[[], datetime]) -> None:
    """Remove what is in the making: what was left off, or what was in use before the last swap.

    Who was a customer then and is none now leaves all audiences.
    """
    following = store.making()
    was_left_off = await following.mark(MADE) is not None
    while profiles := await following.profiles_after(None, _REMOVED):
        if not was_left_off:
            async with store.transaction() as tx:
                await _leave(tx, profiles, micros(now()))
        async with following.transaction() as tx:
            await tx.write(Writes(gone=profiles))
    is_more = True
    while is_more:
        async with store.transaction() as tx:
            is_more = await tx.clear() > 0


async def tidy(store: OperationalStore, now: Callable[[], datetime]) -> None:
    """Clear away what nobody makes or uses, once everybody was told of who took its place.

    Raises:
        EngineError: if the store cannot be reached.
    """
    lease = Lease(store, LEASE)
    async with lease.kept():
        if await lease.take():
            await clear(store, now)


async def _leave(tx: Transaction, profiles: Sequence[int], at: int) -> None:
    """Let those of these leave all audiences who are no customers."""
    there = await tx.states(profiles)
    gone = [profile for profile in profiles if profile not in there]
    left = [(profile, name) for profile in gone for name in await tx.memberships(profile)]
    changes = [Change(at=at, profile=profile, kind="left", name=name) for profile, name in left]
    body = msgspec.msgpack.encode({})
    changes += [Change(at=at, profile=profile, kind="merged", name="", body=body) for profile in gone]
    members = [Membership(name, profile, at, is_member=False) for profile, name in left]
    await tx.write(Writes(members=members, changes=changes))


async def _nothing() -> None:
    """Do nothing: another server has put customers into use."""
