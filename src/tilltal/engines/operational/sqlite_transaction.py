"""An open transaction of a SQLite store; and the same, and the store itself, over customers in the making."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, cast

from tilltal.core.operational import ApiKey, State, Transaction, Writes
from tilltal.engines.operational import making, sqlite_reads, sqlite_writes
from tilltal.engines.operational.recent import Recent, Touched
from tilltal.engines.operational.rows import all_seen
from tilltal.engines.operational.sieve import Sieve
from tilltal.engines.operational.sqlite_questions import LAST, Answer, Given, Question, Questions


class Store(Protocol):
    """What a transaction is of."""

    recent: Recent
    sieve: Sieve

    async def on_writer(
        self, work: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        """Run something on the writer's thread, in order of asking."""

    async def read(
        self, question: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        """Ask on a reader's thread."""

    def transaction(self, *, is_next: bool = False) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction."""

    async def is_ready(self) -> bool:
        """True if the file answers."""

    async def backup(self, target: str) -> None:
        """Write a consistent copy."""


class Writing(Questions):
    """An open transaction: everything happens on the writer's connection."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known_due: dict[int, int | None] = {}
        self.touched = Touched()

    async def _ask(
        self, question: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        return await self._store.on_writer(question, *args, **kwargs)

    async def known_ids(self, event_ids: Sequence[bytes]) -> set[bytes]:
        """Return which message ids were accepted; of most new ones memory tells that they were not."""
        asked = self._unsure(event_ids)
        return await super().known_ids(asked) if asked else set()

    def _unsure(self, event_ids: Sequence[bytes]) -> Sequence[bytes]:
        return event_ids if self.touched.seen else self._store.sieve.passing(event_ids)

    async def lock_states(self, profiles: Iterable[int]) -> dict[int, State]:
        """Return states; there is no other writer to keep away."""
        asked = set(profiles)
        found = self._remembered(asked)
        missing = asked - found.keys()
        if missing:
            found |= await self._ask(sqlite_reads.states, missing)
        self._known_due.update((state.profile, state.due) for state in found.values())
        return found

    def _remembered(self, profiles: Iterable[int]) -> dict[int, State]:
        """Return those states that are in memory and as they were when this began."""
        if self.touched.is_all:
            return {}
        recent, changed = self._store.recent, self.touched.states
        found = ((profile, recent.state(profile)) for profile in profiles if profile not in changed)
        return {profile: state for profile, state in found if state is not None}

    async def lock_mark(self, name: str) -> bytes | None:
        """Return a mark; there is no other writer to keep away."""
        return await self.mark(name)

    async def lock_contacts(self, profiles: Collection[int], tokens: Iterable[int]) -> None:
        """Do nothing: there is no other writer to keep away."""

    async def write(self, writes: Writes) -> None:
        """Write everything of a batch."""
        unsure = self._unsure(all_seen(writes))
        self.touched.add(writes)
        await self._ask(sqlite_writes.write, writes, self._known_due, unsure)

    async def put_api_key(self, key: ApiKey) -> None:
        """Add or replace an API key."""
        await self._ask(sqlite_writes.put_api_key, key)

    async def hold_customers(self) -> None:
        """Do nothing: there is no other writer to keep away."""

    async def swap(self) -> None:
        """Put what is in the making into use."""
        self.touched.is_all = True
        await self._store.on_writer(making.swap_sqlite)

    async def former(self, profiles: Iterable[int]) -> dict[int, bytes]:
        """Return states of before the last swap."""
        found = await self._store.on_writer(over_next(sqlite_reads.states), profiles)
        return {state.profile: state.data for state in found.values()}

    async def clear(self) -> int:
        """Remove a portion of what is in the making."""
        return await self._store.on_writer(making.clear_sqlite)

    async def drop_log(self, until: int) -> int:
        """Remove a portion of log rows."""
        return await self._ask(sqlite_writes.drop_log, until)

    async def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Take some work for a while."""
        return await self._ask(sqlite_writes.lease, name, owner, seconds)

    async def lock_decisions(self, ids: Sequence[bytes]) -> None:
        """Do nothing: one transaction at a time writes."""

    async def drop_decisions(self, ids: Sequence[bytes]) -> None:
        """Remove decisions with all that came of them."""
        await self._ask(sqlite_writes.drop_decisions, ids)

    async def forget(self, changes: int, *, told: int | None = None, contacts: int | None = None) -> int:
        """Remove a portion of the oldest changes and contacts."""
        return await self._ask(sqlite_writes.forget, changes, LAST if told is None else told, contacts)


class WritingNext(Writing):
    """The same over what is in the making."""

    async def _ask(
        self, question: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        return await self._store.on_writer(over_next(question), *args, **kwargs)

    def _remembered(self, profiles: Iterable[int]) -> dict[int, State]:
        return {}

    async def write(self, writes: Writes) -> None:
        """Write what concerns customers in the making."""
        alone = making.alone(writes)
        unsure = self._unsure(alone.seen)
        self.touched.seen += alone.seen
        await self._ask(sqlite_writes.write, alone, self._known_due, unsure)


class StoreNext(Questions):
    """A store over what is in the making."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def _ask(
        self, question: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        return await self._store.read(over_next(question), *args, **kwargs)

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction."""
        return self._store.transaction(is_next=True)

    async def write(self, writes: Writes) -> None:
        """Write in a transaction of its own."""
        async with self.transaction() as tx:
            await tx.write(writes)

    async def warm(self) -> None:
        """Do nothing: what is in the making is asked for by nobody."""

    def making(self) -> StoreNext:
        """Return this."""
        return self

    async def is_ready(self) -> bool:
        """True if the file answers."""
        return await self._store.is_ready()

    async def backup(self, target: str) -> None:
        """Copy the whole store."""
        await self._store.backup(target)

    async def close(self) -> None:
        """Do nothing: who opened the store closes it."""


def over_next(question: Question[Given, Answer]) -> Question[Given, Answer]:
    """Return a question over what is in the making."""

    def asked(connection: sqlite3.Connection, /, *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        return question(cast("sqlite3.Connection", making.NextSQLite(connection)), *args, **kwargs)

    return asked
