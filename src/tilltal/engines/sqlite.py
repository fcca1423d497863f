"""SQLite as the operational store: one file, one server process, one writer and a few readers.

The writer has a connection and a thread of its own; so have the readers. What is committed is on disk
(`synchronous=FULL`), and readers see the last commit while the next one is being written (WAL). A question
about a few keys is answered on the event loop's own thread: that takes less than handing it over.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Concatenate, ParamSpec, TypeVar

from tilltal.core.errors import EngineError
from tilltal.core.operational import (
    Answered,
    ApiKey,
    Change,
    Decided,
    Identified,
    Logged,
    Observed,
    Owned,
    State,
    Transaction,
    Waiting,
    Writes,
)
from tilltal.engines.operational import sqlite_reads, sqlite_writes
from tilltal.engines.operational.sqlite_connection import (
    back_up,
    begin,
    checkpoint,
    commit,
    connected,
    explained,
    migrate,
    roll_back,
)

READERS = 3
FEW = 8  # keys that are looked up at once; more go to a reader's thread
_FIRST, _LAST = -(2**63), 2**63 - 1
FOLD_ROWS = 10_000  # changed rows after which the WAL is folded into the file, in the background

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")
_Question = Callable[Concatenate[sqlite3.Connection, _Given], _Answer]


class _Questions:
    """The reading half of the port; how a question reaches a connection is the subclass's."""

    async def _ask(
        self, question: _Question[_Given, _Answer], *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Answer:
        raise TypeError("a store or a transaction asks")

    async def _look(
        self, question: _Question[_Given, _Answer], *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Answer:
        """Ask something that takes some 20 µs."""
        return await self._ask(question, *args, **kwargs)

    async def _look_up(
        self, question: Callable[[sqlite3.Connection, Collection[int]], _Answer], keys: Iterable[int]
    ) -> _Answer:
        """Ask about keys."""
        asked = set(keys)
        return await (self._look if len(asked) <= FEW else self._ask)(question, asked)

    async def known_ids(self, event_ids: Sequence[bytes]) -> set[bytes]:
        """Return which message ids were accepted before."""
        return await self._ask(sqlite_reads.known, "seen", "event_id", event_ids)

    async def owners(self, tokens: Iterable[int]) -> dict[int, tuple[Owned, ...]]:
        """Return each known token's spans."""
        return await self._look_up(sqlite_reads.owners, tokens)

    async def tokens_of(self, profile: int) -> list[Owned]:
        """Return every span that a profile owns."""
        return await self._ask(sqlite_reads.tokens_of, profile)

    async def identities(self, tokens: Iterable[int]) -> dict[int, Identified]:
        """Return what is known of tokens."""
        return await self._look_up(sqlite_reads.identities, tokens)

    async def component(self, tokens: Iterable[int]) -> list[Observed]:
        """Return all observations reachable from tokens."""
        return await self._ask(sqlite_reads.component, tokens)

    async def observations_named(self, ids: Sequence[str]) -> list[Observed]:
        """Return those of these observations that are known."""
        return await self._ask(sqlite_reads.observations_named, ids)

    async def states(self, profiles: Iterable[int]) -> dict[int, State]:
        """Return the states of those profiles that have one."""
        return await self._look_up(sqlite_reads.states, profiles)

    async def profiles_after(self, profile: int | None, limit: int) -> list[int]:
        """Return profiles that have a state."""
        return await self._ask(sqlite_reads.profiles_after, _FIRST if profile is None else profile, limit)

    async def events_of(
        self,
        tokens: Iterable[int],
        *,
        since: int | None = None,
        until: int | None = None,
        limit: int = 1_000_000,
    ) -> list[Logged]:
        """Return the latest log rows led by tokens."""
        first, last = _FIRST if since is None else since, _LAST if until is None else until
        return await self._ask(sqlite_reads.events_of, tokens, first, last, limit)

    async def log_after(self, position: int, limit: int) -> list[Logged]:
        """Return log rows after a position."""
        return await self._ask(sqlite_reads.log_after, position, limit)

    async def due(self, until: int, limit: int) -> list[int]:
        """Return profiles that are due."""
        return await self._ask(sqlite_reads.due, until, limit)

    async def members(
        self, audience: str, *, after: int | None = None, limit: int = 1000
    ) -> list[tuple[int, int]]:
        """Return an audience's members."""
        first = _FIRST if after is None else after
        return await self._ask(sqlite_reads.members, audience, first, limit)

    async def memberships(self, profile: int) -> dict[str, int]:
        """Return a profile's audiences."""
        return await self._look(sqlite_reads.memberships, profile)

    async def changes_after(self, position: int, limit: int) -> list[Change]:
        """Return changes after a position."""
        return await self._ask(sqlite_reads.changes_after, position, limit)

    async def decision(self, decision_id: bytes) -> Decided | None:
        """Return a logged decision."""
        return await self._look(sqlite_reads.decision, decision_id)

    async def responses(self, decision_id: bytes) -> list[Answered]:
        """Return the responses to a decision."""
        return await self._ask(sqlite_reads.responses, decision_id)

    async def known_responses(self, ids: Sequence[bytes]) -> set[bytes]:
        """Return which response ids were accepted before."""
        return await self._ask(sqlite_reads.known, "responses", "id", ids)

    async def waiting(self, until: int, limit: int) -> list[Waiting]:
        """Return what waits until an instant or shorter."""
        return await self._ask(sqlite_reads.waiting, until, limit)

    async def waits(self, decision_id: bytes) -> set[str]:
        """Return the actions of a decision that wait."""
        return await self._look(sqlite_reads.waits, decision_id)

    async def adaptive(self) -> dict[str, bytes]:
        """Return all states of adaptive models."""
        return await self._ask(sqlite_reads.adaptive)

    async def mark(self, name: str) -> bytes | None:
        """Return a mark."""
        return await self._look(sqlite_reads.mark, name)

    async def api_keys(self) -> list[ApiKey]:
        """Return all API keys."""
        return await self._ask(sqlite_reads.api_keys)

    async def sizes(self) -> Mapping[str, int]:
        """Return row counts."""
        return await self._ask(sqlite_reads.sizes)


class _Writing(_Questions):
    """An open transaction: everything happens on the writer's connection."""

    def __init__(self, store: SQLiteStore) -> None:
        self._store = store
        self._known_due: dict[int, int | None] = {}

    async def _ask(
        self, question: _Question[_Given, _Answer], *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Answer:
        return await self._store.on_writer(question, *args, **kwargs)

    async def lock_states(self, profiles: Iterable[int]) -> dict[int, State]:
        """Return states; there is no other writer to keep away."""
        found = await self._ask(sqlite_reads.states, profiles)
        self._known_due.update((state.profile, state.due) for state in found.values())
        return found

    async def write(self, writes: Writes) -> None:
        """Write everything of a batch."""
        await self._ask(sqlite_writes.write, writes, self._known_due)

    async def put_api_key(self, key: ApiKey) -> None:
        """Add or replace an API key."""
        await self._ask(sqlite_writes.put_api_key, key)

    async def drop_log(self, until: int) -> int:
        """Remove a portion of log rows."""
        return await self._ask(sqlite_writes.drop_log, until)

    async def forget(self, before: int, *, told: int | None = None) -> int:
        """Remove a portion of what is old."""
        return await self._ask(sqlite_writes.forget, before, _LAST if told is None else told)


class SQLiteStore(_Questions):
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
        self._writing = ThreadPoolExecutor(1, "tilltal-writer")
        self._reading = ThreadPoolExecutor(READERS, "tilltal-reader")

    async def _ask(
        self, question: _Question[_Given, _Answer], *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Answer:
        def call() -> _Answer:
            connection = self._idle.get()
            try:
                with explained(self._path):
                    return question(connection, *args, **kwargs)
            finally:
                self._idle.put(connection)

        return await self._run(self._reading, call)

    async def _look(
        self, question: _Question[_Given, _Answer], *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Answer:
        if self._is_closed:
            raise self._closed()
        with explained(self._path):
            return question(self._here, *args, **kwargs)

    async def on_writer(
        self, work: _Question[_Given, _Answer], *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Answer:
        """Run something on the writer's thread, in order of asking."""

        def call() -> _Answer:
            with explained(self._path):
                return work(self._writer, *args, **kwargs)

        return await self._run(self._writing, call)

    async def _run(self, pool: ThreadPoolExecutor, call: Callable[[], _Answer]) -> _Answer:
        if self._is_closed:
            raise self._closed()
        return await asyncio.get_running_loop().run_in_executor(pool, call)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Begin a transaction; commit at the end of the block, roll back if it raises."""
        async with self._turn:
            await self.on_writer(begin)
            try:
                yield _Writing(self)
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

    def _fold_if_long(self) -> None:
        if self._folding is None and self._writer.total_changes - self._folded > FOLD_ROWS:
            self._folding = asyncio.create_task(self._fold())

    async def _fold(self) -> None:
        """Fold the WAL into the file while the writer goes on, then the rest: so it begins anew."""
        self._folded = self._writer.total_changes
        try:
            with suppress(EngineError):  # nothing is lost while it waits in the WAL
                await self._run(self._reading, lambda: checkpoint(self._folder, self._path))
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
        writer = connected(path, cache_mb=128)
        try:
            migrate(writer, str(path))
            readers = [connected(path, cache_mb=16) for _ in range(READERS + 2)]
        except BaseException:
            writer.close()
            raise
    return SQLiteStore(path, writer, readers)
