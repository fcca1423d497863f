"""SQLite as the operational store: one file, one server process, one writer and a few readers.

The writer has a connection and a thread of its own; so have the readers. What is committed is on disk
(`synchronous=FULL`), and readers see the last commit while the next one is being written (WAL). A question
about a few keys is answered on the event loop's own thread: that takes less than handing it over. Customers
read or written lately stay in memory (`operational.recent`).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from tilltal.core.errors import EngineError
from tilltal.core.operational import (
    OperationalStore,
    State,
    Transaction,
    Writes,
)
from tilltal.engines.operational import sqlite_reads, sqlite_writes
from tilltal.engines.operational.recent import Recent, Touched
from tilltal.engines.operational.sieve import Sieve
from tilltal.engines.operational.sqlite_connection import (
    back_up,
    begin,
    checkpoint,
    commit,
    connected,
    data_version,
    drop_pages,
    explained,
    explanation,
    migrate,
    read_singly,
    roll_back,
)
from tilltal.engines.operational.sqlite_questions import (
    FIRST,
    Answer,
    Given,
    Question,
    Questions,
)
from tilltal.engines.operational.sqlite_transaction import StoreNext, Writing, WritingNext

READERS = 3
FOLD_ROWS = 10_000  # changed rows after which the WAL is folded into the file wholly, and begins anew
FOLD_SECONDS = 0.05  # how often it is folded in the background: of little at a time nobody notices
SOME_ROWS = 100
MEMORY_MB = 64  # of customers that a store keeps in memory, unless it is told otherwise
_LOOK_SECONDS = 0.002  # so long nobody looks again whether another process has committed
_WARMED = 500  # customers that are read at a time before anybody asks for them
_SIEVED = 10_000  # ids of messages that are read at a time


class SQLiteStore(Questions):
    """An open store in one file; fills `core.operational.OperationalStore`."""

    def __init__(
        self,
        path: Path,
        writer: sqlite3.Connection,
        readers: Sequence[sqlite3.Connection],
        memory_mb: int = MEMORY_MB,
    ) -> None:
        self._path = path
        self.recent = Recent(memory_mb * 1_000_000)
        self.sieve = Sieve(sqlite_reads.seen(writer))
        self._sieving: asyncio.Task[None] | None = None
        self._writer = writer
        self._readers = readers
        self._idle: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        self._here, *others, self._folder = readers
        for reader in others:
            self._idle.put(reader)
        self._turn = asyncio.Lock()
        self._looked_at = 0.0
        self._seen_here, self._seen_writing = data_version(self._here), data_version(writer)
        self._is_closed = False
        self._folding: asyncio.Task[None] | None = None
        self._folded = writer.total_changes
        self._begun = self._folded  # when the WAL began anew
        self._fold_at = 0.0
        self._writing = ThreadPoolExecutor(1, "tilltal-writer")
        self._reading = ThreadPoolExecutor(READERS, "tilltal-reader")
        self._leisure = ThreadPoolExecutor(1, "tilltal-leisure")

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
        return self._answer(question, *args, **kwargs)

    def _answer(self, question: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        if self._is_closed:
            raise self._closed()
        try:  # `explained` would cost as much as a short answer
            return question(self._here, *args, **kwargs)
        except sqlite3.Error as error:
            raise explanation(self._path, error) from error

    async def whose(self, tokens: Sequence[int], at: int) -> tuple[int | None, State | None]:
        """Return who owns the first of these tokens that is somebody's, and the state."""
        if self._is_closed:
            raise self._closed()
        self._forget_if_changed()
        known = self.recent.whose(tokens)
        if known is not None:
            return known.profile, known
        found = self._answer(sqlite_reads.whose, tokens, at)
        if found.state is not None:
            self.recent.keep(found.state, found.token)
        return found.profile, found.state

    def _forget_if_changed(self) -> None:
        """Forget what is in memory if another process has committed; asked now and then.

        While we write ourselves nobody else can: that is asked before, and at the end (`_take`).
        """
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= _LOOK_SECONDS and not self._turn.locked():
            self._looked_at = now
            self._compare()

    def _compare(self) -> None:
        """Forget what is in memory if another process has committed."""
        version = self._answer(data_version)
        if version != self._seen_here:
            self._seen_here = version
            self.recent.clear()

    async def warm(self) -> None:
        """Read customers into memory until it is full, as fast as leaves half of a disk to others."""
        token = FIRST
        while not self.recent.is_full:
            began = time.perf_counter()
            self.recent.begin_reading()
            found = await self._run(self._leisure, partial(self._ahead, token))
            self.recent.end_reading((state, owner) for owner, state in found)
            if not found:
                break
            token = found[-1][0]
            await asyncio.sleep(time.perf_counter() - began)
        await self._run(self._leisure, partial(drop_pages, self._path))

    def _ahead(self, token: int) -> list[tuple[int, State]]:
        with explained(self._path):
            return sqlite_reads.owned_after(self._folder, token, _WARMED)

    async def on_writer(
        self, work: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        """Run something on the writer's thread, in order of asking."""
        return await self._handed_over(work, *args, **kwargs)

    def _handed_over(
        self, work: Question[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> asyncio.Future[Answer]:
        def call() -> Answer:
            with explained(self._path):
                return work(self._writer, *args, **kwargs)

        return self._run(self._writing, call)

    def _run(self, pool: ThreadPoolExecutor, call: Callable[[], Answer]) -> asyncio.Future[Answer]:
        if self._is_closed:
            raise self._closed()
        return asyncio.get_running_loop().run_in_executor(pool, call)

    @asynccontextmanager
    async def transaction(self, *, is_next: bool = False) -> AsyncIterator[Transaction]:
        """Begin a transaction; commit at the end of the block, roll back if it raises.

        `is_next`: over what is in the making.
        """
        async with self._turn:
            self._compare()
            self._forget_if_other(await self.on_writer(_begun))
            self._sieve_if_not_whole()
            tx = (WritingNext if is_next else Writing)(self)
            try:
                yield tx
            except BaseException:
                await self.on_writer(roll_back)
                raise
            await self._committed(tx.touched, self._handed_over(commit))
        self._fold_if_long()

    async def write(self, writes: Writes) -> None:
        """Write in a transaction of its own: one visit to the writer's thread."""
        touched = Touched()
        touched.add(writes)
        async with self._turn:
            self._compare()
            unsure = self.sieve.passing(touched.seen)
            await self._committed(touched, self._handed_over(_write_alone, writes, unsure))
        self._fold_if_long()

    async def _committed(self, touched: Touched, commit: asyncio.Future[None]) -> None:
        """Wait for a commit, and take over what it is of, even if whoever waits goes away meanwhile.

        That happens before anything that was handed over later goes on.
        """
        commit.add_done_callback(partial(self._take, touched))
        await asyncio.shield(commit)

    def _take(self, touched: Touched, commit: asyncio.Future[None]) -> None:
        self.sieve.add(touched.seen)  # if it fails, one id more may have been seen
        if commit.cancelled() or commit.exception() is not None:
            self.recent.forget(touched)  # who knows
            return
        self._seen_here = self._answer(data_version)  # first, so that whose commit comes between is seen
        if not self._forget_if_other(data_version(self._writer)):
            self.recent.take(touched)

    def _forget_if_other(self, version: int) -> bool:
        """Forget everything if another process has committed, before or after a transaction of our own."""
        if version == self._seen_writing:
            return False
        self._seen_writing = version
        self.recent.clear()
        self.sieve = self.sieve.anew()
        return True

    def _sieve_if_not_whole(self) -> None:
        if self._sieving is None and not self.sieve.is_whole:
            self._sieving = asyncio.create_task(self._sieve(self.sieve))

    async def _sieve(self, sieve: Sieve) -> None:
        """Put the ids of all messages into a sieve, unless another takes its place meanwhile."""
        term = ""
        try:
            with suppress(EngineError):  # it is tried again
                while sieve is self.sieve and not sieve.is_whole:
                    found = await self._run(self._leisure, partial(self._ids_after, term))
                    sieve.add([bytes.fromhex(name) for name in found])
                    sieve.is_whole = not found
                    term = found[-1] if found else term
        finally:
            self._sieving = None

    def _ids_after(self, term: str) -> list[str]:
        with explained(self._path):
            return sqlite_reads.ids_after(self._folder, term, _SIEVED)

    def making(self) -> OperationalStore:
        """Return the same store over what is in the making."""
        return StoreNext(self)

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
                await self._run(self._leisure, lambda: checkpoint(self._folder, self._path))
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
        await self._run(self._reading, partial(back_up, self._path, Path(target)))

    async def close(self) -> None:
        """Close all connections after what runs; the last one folds the WAL into the file."""
        if self._folding is not None:
            await self._folding
        if self._sieving is not None:
            self.sieve = Sieve()
            await self._sieving
        async with self._turn:
            self._is_closed = True
            for pool in (self._reading, self._leisure, self._writing):
                await asyncio.to_thread(pool.shutdown)
            for connection in (*self._readers, self._writer):
                await asyncio.to_thread(connection.close)


def _begun(connection: sqlite3.Connection) -> int:
    """Begin to write; return what differs if another process has committed since."""
    begin(connection)
    return data_version(connection)


def _write_alone(connection: sqlite3.Connection, writes: Writes, unsure: Sequence[bytes]) -> None:
    begin(connection)
    try:
        sqlite_writes.write(connection, writes, {}, unsure)
    except BaseException:
        roll_back(connection)
        raise
    commit(connection)


async def open_sqlite(path: str | Path, memory_mb: int = MEMORY_MB) -> SQLiteStore:
    """Open a SQLite store; the file and its tables are made or brought up to date.

    Args:
        path: of the file.
        memory_mb: megabytes of customers that stay in memory.

    Raises:
        EngineError: E532 if a newer Tilltal wrote it; E501, E503, E505 or E531 if SQLite refuses.
    """
    return await asyncio.to_thread(_open, Path(path), memory_mb)


def _open(path: Path, memory_mb: int) -> SQLiteStore:
    with explained(path):
        writer = connected(path, cache_mb=32)
        try:
            migrate(writer, str(path))
            readers = [connected(path, cache_mb=16) for _ in range(READERS + 1)]
            read_singly(path)
            readers.append(connected(path, cache_mb=16))  # it reads ahead
        except BaseException:
            writer.close()
            raise
    return SQLiteStore(path, writer, readers, memory_mb)
