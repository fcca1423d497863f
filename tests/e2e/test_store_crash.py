"""kill -9 at random moments: what was acknowledged is there, and nothing is there in part.

A child commits numbered batches as fast as it can and prints each number once its commit has returned.
"""

from __future__ import annotations

import asyncio
import random
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.postgres_server import PostgresServer, postgres

from tilltal.core.errors import EngineError
from tilltal.core.operational import Transaction
from tilltal.engines.operational.opening import open_store

__all__ = ["postgres"]
ROWS = 20
ROUNDS = 200
CHILD = """
import asyncio, sys
from tilltal.core.operational import Logged, Membership, State, Writes
from tilltal.engines import sqlite
from tilltal.engines.operational.opening import open_store

ROWS = int(sys.argv[2])
sqlite.FOLD_ROWS = 200  # so that some die while the WAL is folded into the file

def rows(batch):
    for row in range(ROWS):
        name = (batch * ROWS + row).to_bytes(16, "big")
        yield Logged(event_id=name, token=row, ids=(row,), kind="event", name="page", source="web",
                     at=batch, received=batch, body=bytes(300))

async def commit(store, batch):
    data = batch.to_bytes(8, "big") * 250
    async with store.transaction() as tx:
        await tx.lock_states(range(ROWS))
        await tx.write(Writes(
            log=list(rows(batch)),
            states=[State(profile, data, batch) for profile in range(ROWS)],
            members=[Membership("buyers", batch % ROWS, batch, batch % 3 != 0)],
            marks={"batch": batch.to_bytes(8, "big")},
        ))
    print(batch, flush=True)

async def main():
    store = await open_store(sys.argv[1])
    batch = int.from_bytes(await store.mark("batch") or b"")
    while True:
        batch += 1
        await commit(store, batch)

asyncio.run(main())
"""


class Child:
    """The writing process, with one batch behind it."""

    def __init__(self, place: str) -> None:
        command = [sys.executable, "-c", CHILD, place, str(ROWS)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._out = self._process.stdout
        assert select.select([self._out], [], [], 30)[0], "the child does not begin"
        self._first = self._out.readline()
        assert self._first, self._errors()

    def end(self, kill: Callable[[], None] | None = None) -> int:
        """Kill it, or what `kill` kills; returns the last batch that it acknowledged."""
        if kill is None:
            self._process.kill()
        else:
            kill()
            self._process.wait(timeout=30)
        lines = [self._first, *self._out.read().splitlines(keepends=True)]
        self._process.wait()
        self._out.close()
        assert self._process.stderr is not None
        self._process.stderr.close()
        return int([line for line in lines if line.endswith("\n")][-1])

    def _errors(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read()


async def check(store: Transaction, acknowledged: int) -> int:
    """Every batch up to the last one is whole; returns the last one."""
    states = await store.lock_states(range(ROWS))  # waits for what a server still does for a dead client
    last = int.from_bytes(await store.mark("batch") or b"")
    assert last in (acknowledged, acknowledged + 1)
    logged = await store.log_after(max(last - 50, 0) * ROWS, 100 * ROWS)
    first = max(last - 50, 0) + 1
    assert [(item.position, item.at) for item in logged] == [
        (batch * ROWS + row - ROWS + 1, batch) for batch in range(first, last + 1) for row in range(ROWS)
    ]
    names = [
        (batch * ROWS + row).to_bytes(16, "big") for batch in range(first, last + 2) for row in range(ROWS)
    ]
    assert await store.known_ids(names) == set(names[:-ROWS])
    assert {(state.data, state.due) for state in states.values()} == {(last.to_bytes(8, "big") * 250, last)}
    expected = {profile: batch for batch in range(1, last + 1) for profile in [batch % ROWS]}
    members = {profile: batch for profile, batch in expected.items() if batch % 3 != 0}
    assert dict(await store.members("buyers")) == members
    return last


async def checked(place: str, acknowledged: int) -> int:
    store = await open_store(place)
    try:
        async with store.transaction() as tx:
            return await check(tx, acknowledged)
    finally:
        await store.close()


def survive(place: str, rounds: int, seed: int, kill: Callable[[], None] | None = None) -> int:
    """Kill and look again, so many times; returns the last batch."""
    seeded = random.Random(seed)
    last = 0
    for _ in range(rounds):
        child = Child(place)
        time.sleep(seeded.uniform(0.0, 0.06))
        last = asyncio.run(checked(place, child.end(kill)))
    return last


@pytest.mark.slow
def test_sqlite_loses_nothing(tmp_path: Path) -> None:
    assert survive(str(tmp_path / "store.db"), ROUNDS, seed=1) > ROUNDS


@pytest.mark.slow
def test_postgres_loses_nothing_with_a_client(postgres: PostgresServer) -> None:
    assert survive(postgres.new_dsn(), ROUNDS, seed=2) > ROUNDS


@pytest.mark.slow
def test_postgres_loses_nothing_with_the_server(postgres: PostgresServer) -> None:
    def kill() -> None:
        postgres.kill()
        postgres.start()

    assert survive(postgres.new_dsn(), 5, seed=3, kill=kill) > 0


def test_a_store_recovers_by_itself_when_the_server_comes_back(postgres: PostgresServer) -> None:
    place = postgres.new_dsn()

    async def main() -> None:
        store = await open_store(place)
        assert await store.is_ready()
        await asyncio.to_thread(postgres.kill)
        assert not await store.is_ready()
        with pytest.raises(EngineError, match="E530"):
            await store.mark("m")
        with pytest.raises(EngineError, match="E530"):
            async with store.transaction():
                pass
        await asyncio.to_thread(postgres.start)
        assert await store.is_ready()
        assert await store.mark("m") is None
        await store.close()

    asyncio.run(main())
