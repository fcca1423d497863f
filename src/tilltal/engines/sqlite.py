"""SQLite as the operational store: one file, one server process, one writer and a few readers.

The writer has a connection and a thread of its own; so have the readers. What is committed is on disk
(`synchronous=FULL`), and readers see the last commit while the next one is being written (WAL). A question
about a few keys is answered on the event loop's own thread: that takes less than handing it over.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import cast

from tilltal.core.errors import EngineError
from tilltal.core.operational import (
    ApiKey,
    OperationalStore,
    State,
    Transaction,
    Writes,
)
from tilltal.engines.operational import making, sqlite_reads, sqlite_writes
from tilltal.engines.operational.sqlite_connection import (
    back_up,
    begin,
    checkpoint,
    commit,
    connected,
    explained,
    explanation,
    migrate,
    roll_back,
)
from tilltal.engines.operational.sqlite_questions import LAST, Answer, Given, Question, Questions

READERS = 3
FOLD_ROWS = 10_000  # changed rows after which the WAL is folded into the file wholly, and begins anew
FOLD_SECONDS = 1.0  # how often it is folded in the background: of little at a time nobody notices
SOME_ROWS = 500


class _Writing(Questions):
    """An open transaction: everything happens on the writer's connection."""

    def __init__(self, store: SQLiteStore) -> None:
        self._store = store
        self._known_due: dict[int, int | None] = {}

    async def _ask(
        self, question: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        return await self._store.on_writer(question, *args, **kwargs)

    async def lock_states(self, profiles: Iterable[int]) -> dict[int, State]:
        """Return states; there is no other writer to keep away."""
        found = await self._ask(sqlite_reads.states, profiles)
        self._known_due.update((state.profile, state.due) for state in found.values())
        return found

    async def lock_mark(self, name: str) -> bytes | None:
        """Return a mark; there is no other writer to keep away."""
        return await self.mark(name)

    async def lock_contacts(self, profiles: Collection[int], tokens: Iterable[int]) -> None:
        """Do nothing: there is no other writer to keep away."""

    async def write(self, writes: Writes) -> None:
        """Write everything of a batch."""
        await self._ask(sqlite_writes.write, writes, self._known_due)

    async def put_api_key(self, key: ApiKey) -> None:
        """Add or replace an API key."""
        await self._ask(sqlite_writes.put_api_key, key)

    async def hold_customers(self) -> None:
        """Do nothing: there is no other writer to keep away."""

    async def swap(self) -> None:
        """Put what is in the making into use."""
        await self._store.on_writer(making.swap_sqlite)

    async def former(self, profiles: Iterable[int]) -> dict[int, bytes]:
        """Return states of before the last swap."""
        found = await self._store.on_writer(_over_next(sqlite_reads.states), profiles)
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

    async def forget(
        self,
        before: int,
        *,
        changes: int | None = None,
        told: int | None = None,
        contacts: int | None = None,
    ) -> int:
        """Remove a portion of what is old."""
        first = before if changes is None else changes
        heard = LAST if told is None else told
        return await self._ask(sqlite_writes.forget, before, first, heard, contacts)


class _WritingNext(_Writing):
    """The same over what is in the making."""

    async def _ask(
        self, question: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        return await self._store.on_writer(_over_next(question), *args, **kwargs)

    async def write(self, writes: Writes) -> None:
        """Write what concerns customers in the making."""
        await super().write(making.alone(writes))


class SQLiteStore(Questions):
    """An open store in one file; fills `core.operational.OperationalStore`."""

    def __init__(self, path: Path, writer: sqlite3.Connection, readers: Sequence[sqlite3.Connection]) -> None:
        self._path = path
        self._writer = writer
        self._readers = readers
        self._idle: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        self._here, self._folder, *others = readers
        for reader in others:
            self._idle.put(reader)
        self._turn = asyncio.Lock()
        self._is_closed = False
        self._folding: asyncio.Task[None] | None = None
        self._folded = writer.total_changes
        self._begun = self._folded  # when the WAL began anew
        self._fold_at = 0.0
        self._writing = ThreadPoolExecutor(1, "tilltal-writer")
        self._reading = ThreadPoolExecutor(READERS, "tilltal-reader")

    async def _ask(
        self, question: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        def call() -> Answer:
            connection = self._idle.get()
            try:
                with explained(self._path):
                    return question(connection, *args, **kwargs)
            finally:
                self._idle.put(connection)

        return await self._run(self._reading, call)

    async def _look(
        self, question: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        if self._is_closed:
            raise self._closed()
        try:  # `explained` would cost as much as a short answer
            return question(self._here, *args, **kwargs)
        except sqlite3.Error as error:
            raise explanation(self._path, error) from error

    async def on_writer(
        self, work: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        """Run something on the writer's thread, in order of asking."""

        def call() -> Answer:
            with explained(self._path):
                return work(self._writer, *args, **kwargs)

        return await self._run(self._writing, call)

    async def _run(self, pool: ThreadPoolExecutor, call: Callable[[], Answer]) -> Answer:
        if self._is_closed:
            raise self._closed()
        return await asyncio.get_running_loop().run_in_executor(pool, call)

    @asynccontextmanager
    async def transaction(self, *, is_next: bool = False) -> AsyncIterator[Transaction]:
        """Begin a transaction; commit at the end of the block, roll back if it raises.

        `is_next`: over what is in the making.
        """
        async with self._turn:
            await self.on_writer(begin)
            try:
                yield (_WritingNext if is_next else _Writing)(self)
            except BaseException:
                await self.on_writer(roll_back)
                raise
            await self.on_writer(commit)
        self._fold_if_long()

    async def write(self, writes: Writes) -> None:
        """Write in a transaction of its own: one visit to the writer's thread."""
        async with self._turn:
            await self.on_writer(_write_alone, writes)
        self._fold_if_long()

    def making(self) -> OperationalStore:
        """Return the same store over what is in the making."""
        return _Next(self)

    async def read(
        self, question: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        """Ask on a reader's thread."""
        return await self._ask(question, *args, **kwargs)

    def _fold_if_long(self) -> None:
        if self._folding is not None:
            return
        now, done = asyncio.get_running_loop().time(), self._writer.total_changes
        is_whole = done - self._begun > FOLD_ROWS
        if is_whole or (done - self._folded > SOME_ROWS and now > self._fold_at):
            self._fold_at, self._folded = now + FOLD_SECONDS, done
            self._folding = asyncio.create_task(self._fold(is_whole=is_whole))

    async def _fold(self, *, is_whole: bool) -> None:
        """Fold the WAL into the file while the writer goes on; if wholly, the rest too: so it begins anew."""
        try:
            with suppress(EngineError):  # nothing is lost while it waits in the WAL
                await self._run(self._reading, lambda: checkpoint(self._folder, self._path))
                if is_whole:
                    self._begun = self._writer.total_changes
                    async with self._turn:
                        await self._run(self._writing, lambda: checkpoint(self._writer, self._path))
        finally:
            self._folding = None

    def _closed(self) -> EngineError:
        return EngineError.of("E530", f"The operational store {self._path} is closed.")

    async def is_ready(self) -> bool:
        """True if the file answers."""
        try:
            await self.mark("")
        except EngineError:
            return False
        return True

    async def backup(self, target: str) -> None:
        """Write a consistent copy as of the last commit to one file, which appears when it is whole."""
        await self._ask(back_up, Path(target))

    async def close(self) -> None:
        """Close all connections after what runs; the last one folds the WAL into the file."""
        if self._folding is not None:
            await self._folding
        async with self._turn:
            self._is_closed = True
            for pool in (self._reading, self._writing):
                await asyncio.to_thread(pool.shutdown)
            for connection in (*self._readers, self._writer):
                await asyncio.to_thread(connection.close)


class _Next(Questions):
    """A store over what is in the making."""

    def __init__(self, store: SQLiteStore) -> None:
        self._store = store

    async def _ask(
        self, question: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        return await self._store.read(_over_next(question), *args, **kwargs)

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction."""
        return self._store.transaction(is_next=True)

    async def write(self, writes: Writes) -> None:
        """Write in a transaction of its own."""
        async with self.transaction() as tx:
            await tx.write(writes)

    def making(self) -> OperationalStore:
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


def _over_next(question: Question[Given, Answer]) -> Question[Given, Answer]:
    def asked(connection: sqlite3.Connection, /, *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        return question(cast("sqlite3.Connection", making.NextSQLite(connection)), *args, **kwargs)

    return asked


def _write_alone(connection: sqlite3.Connection, writes: Writes) -> None:
    begin(connection)
    try:
        sqlite_writes.write(connection, writes, {})
    except BaseException:
        roll_back(connection)
        raise
    commit(connection)


async def open_sqlite(path: str | Path) -> SQLiteStore:
    """Open a SQLite store; the file and its tables are made or brought up to date.

    Raises:
        EngineError: E532 if a newer Tilltal wrote it; E501, E503, E505 or E531 if SQLite refuses.
    """
    return await asyncio.to_thread(_open, Path(path))


def _open(path: Path) -> SQLiteStore:
    with explained(path):
        writer = connected(path, cache_mb=384)
        try:
            migrate(writer, str(path))
            readers = [connected(path, cache_mb=48) for _ in range(READERS + 2)]
        except BaseException:
            writer.close()
            raise
    return SQLiteStore(path, writer, readers)
