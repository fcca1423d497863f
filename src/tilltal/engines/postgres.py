"""PostgreSQL 15 or newer as the operational store: a pool of connections, as many processes as are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tilltal.core.errors import EngineError
from tilltal.core.operational import OperationalStore, Transaction, Writes
from tilltal.engines.operational.making import NextStatements
from tilltal.engines.operational.postgres_faults import Connection, Pool, driver, explained
from tilltal.engines.operational.postgres_reads import Questions
from tilltal.engines.operational.postgres_writes import Writing, WritingNext
from tilltal.engines.operational.steps import VERSION, VERSION_TABLE, missing_steps

OLDEST = 15
CONNECTIONS = 8
ANSWER_SECONDS = 30.0
_READY_SECONDS = 2.0
_STEPS_LOCK = 0x7469_6C6C_7461_6C01
_SETTINGS = {
    "application_name": "tilltal",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",  # every lookup is by key, whatever the keys are
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "5min",  # a process that hangs must not hold profiles for ever
    "synchronous_commit": "on",
}


class PostgresStore(Questions):
    """An open store in a database; fills `core.operational.OperationalStore`."""

    def __init__(self, pool: Pool, *, is_next: bool = False) -> None:
        """Take a pool; `is_next`: all is over what is in the making."""
        super().__init__(NextStatements(pool) if is_next else pool)
        self._pool = pool
        self._is_next = is_next

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Begin a transaction; commit at the end of the block, roll back if it raises."""
        async with _borrowed(self._pool) as connection:
            block = connection.transaction()
            with explained():
                await block.start()
            try:
                yield (WritingNext if self._is_next else Writing)(connection)
            except BaseException:
                with suppress(Exception):  # a lost connection rolls back by itself
                    await block.rollback()
                raise
            with explained():
                await block.commit()

    async def write(self, writes: Writes) -> None:
        """Write in a transaction of its own."""
        async with self.transaction() as transaction:
            await transaction.write(writes)

    async def warm(self) -> None:
        """Do nothing: other processes change customers too, so PostgreSQL's own memory is what there is."""

    def making(self) -> OperationalStore:
        """Return the same store over what is in the making."""
        return PostgresStore(self._pool, is_next=True)

    async def is_ready(self) -> bool:
        """True if the server answers within two seconds."""
        try:
            await asyncio.wait_for(self.mark(""), _READY_SECONDS)
        except (EngineError, TimeoutError):
            return False
        return True

    async def backup(self, target: str) -> None:
        """Not offered: PostgreSQL has its own means.

        Raises:
            EngineError: E535.
        """
        raise EngineError.of(
            "E535",
            f"The operational store in PostgreSQL is not copied to {target}.",
            hint="Use `pg_dump --format=custom`, or the server's own backups.",
        )

    async def close(self) -> None:
        """Close all connections after what runs; over what is in the making, do nothing."""
        if self._is_next:
            return
        with explained():
            await self._pool.close()


async def open_postgres(dsn: str) -> PostgresStore:
    """Open a PostgreSQL store; its tables are made or brought up to date.

    Raises:
        EngineError: E530 if it cannot be reached, E532 if a newer Tilltal wrote it, E533 if it refuses or is
            older than PostgreSQL 15, E534 without the extra.
    """
    pool: Pool = driver().create_pool(
        dsn,
        min_size=0,
        max_size=CONNECTIONS,
        timeout=5,
        command_timeout=ANSWER_SECONDS,
        server_settings=_SETTINGS,
        reset=_keep,
    )
    try:
        with explained():
            await pool
        await _migrate(pool)
    except ValueError as error:
        raise EngineError.of("E533", f"The address of PostgreSQL cannot be used: {error}.") from error
    except BaseException:
        pool.terminate()
        raise
    return PostgresStore(pool)


async def _keep(connection: object) -> None:
    """Nothing of a session is ever changed, so nothing has to be put back: saves a round trip."""


@asynccontextmanager
async def _borrowed(pool: Pool) -> AsyncIterator[Connection]:
    with explained():
        connection = await pool.acquire(timeout=ANSWER_SECONDS)
    try:
        yield connection
    finally:
        with suppress(Exception):  # the pool has dropped a connection that could not be given back
            await pool.release(connection)


async def _migrate(pool: Pool) -> None:
    """Run the steps that the store still needs, all or none; who needs none waits for nobody."""
    async with _borrowed(pool) as connection:
        _refuse_old(connection)
        with explained():
            ((found,),) = await connection.fetch("SELECT to_regclass('schema_version')")
            if found is not None:
                ((version,),) = await connection.fetch(VERSION)
                if not missing_steps("postgres", version, "in PostgreSQL"):
                    return
        block = connection.transaction()
        with explained():
            await block.start()
            await connection.fetch("SELECT pg_advisory_xact_lock($1)", _STEPS_LOCK)
            await connection.execute(VERSION_TABLE)
            ((version,),) = await connection.fetch(VERSION)
            for step in missing_steps("postgres", version, "in PostgreSQL"):
                await connection.execute(step.script)
                await connection.execute(step.note)
            await block.commit()


def _refuse_old(connection: Connection) -> None:
    major = connection.get_server_version()[0]
    if major < OLDEST:
        text = f"PostgreSQL {major} is too old for the operational store; {OLDEST} or newer is needed."
        raise EngineError.of("E533", text, hint="Upgrade the server, or name a newer one.")
