"""A SQLite store with customers and a sieve of ids in memory answers as its file does, whatever happened."""

from __future__ import annotations

import asyncio
import random
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tilltal.core.operational import Owned, State, Transaction, Writes
from tilltal.engines import sqlite
from tilltal.engines.operational.recent import Recent
from tilltal.engines.operational.sqlite_questions import Questions
from tilltal.engines.sqlite import SQLiteStore, open_sqlite

PEOPLE = st.integers(1, 5)
TOKENS = st.integers(11, 15)
IDS = tuple(bytes([number]) * 16 for number in range(8))
SIZE, ROOM = 1000, 3000  # bytes of a state, and of memory: two fit


@st.composite
def spans(draw: st.DrawFn, token: int) -> tuple[Owned, ...]:
    owner = st.none() | PEOPLE
    if draw(st.booleans()):
        return (Owned(token, 0, None, draw(owner)),)
    return Owned(token, 0, 50, draw(owner)), Owned(token, 50, None, draw(owner))


@st.composite
def batches(draw: st.DrawFn) -> Writes:
    """States, owners and who goes, of a few people, so that they meet again and again."""
    gone = draw(st.lists(PEOPLE, max_size=1))
    people = draw(st.lists(PEOPLE.filter(lambda one: one not in gone), unique=True, max_size=2))
    states = [
        State(one, bytes([draw(st.integers(0, 255))]) * SIZE, draw(st.none() | PEOPLE)) for one in people
    ]
    owners = {token: draw(spans(token)) for token in draw(st.lists(TOKENS, unique=True, max_size=2))}
    seen = draw(st.lists(st.sampled_from(IDS), unique=True, max_size=2))
    return Writes(states=states, gone=gone, owners=owners, seen=seen)


KINDS = ("write", "transaction", "failed", "cancelled", "other process", "swap", "warm")
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), batches()), min_size=1, max_size=14)


async def check(tx: Transaction) -> None:
    """A transaction locks what the file has as of its writes, and knows the ids that the file has."""
    assert await tx.lock_states(range(1, 6)) == await tx.states(range(1, 6))
    assert await tx.known_ids(IDS) == await Questions.known_ids(cast("Questions", tx), IDS)


async def go(step: str, given: Writes, store: SQLiteStore, other: SQLiteStore) -> None:
    """Do a step; ids that were accepted are not written again."""
    known = await other.known_ids(IDS)
    given = msgspec.structs.replace(given, seen=[name for name in given.seen if name not in known])
    if step == "write":
        await store.write(given)
    elif step == "transaction":
        async with store.transaction() as tx:
            await check(tx)
            await tx.write(given)
            await check(tx)
    elif step == "failed":
        with suppress(ZeroDivisionError):
            async with store.transaction() as tx:
                await tx.write(given)
                await check(tx)
                raise ZeroDivisionError
    elif step == "cancelled":
        task = asyncio.create_task(store.write(given))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        async with store.transaction() as tx:
            await check(tx)
    elif step == "other process":
        await other.write(given)
        await asyncio.sleep(2 * sqlite._LOOK_SECONDS)
    elif step == "swap":
        await store.making().write(given)
        async with store.transaction() as tx:
            await tx.swap()
            await check(tx)
        async with store.transaction() as tx:
            while await tx.clear():
                pass
    else:
        await store.warm()


async def told(path: Path, steps: list[tuple[str, Writes]]) -> int:
    """Go through steps; after each compare with the file. Return how often memory had an answer."""
    store, file = await open_sqlite(path), await open_sqlite(path, 0)
    store.recent = Recent(ROOM)
    count = 0
    for step, writes in steps:
        await go(step, writes, store, file)
        for token in range(11, 16):
            count += store.recent.whose([token]) is not None
            for tokens, at in (([token], 10), ([token], 60), ([token, 11], 60)):
                assert await store.whose(tokens, at) == await file.whose(tokens, at), step
    await store.close()
    await file.close()
    return count


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_memory_tells_what_the_file_has(steps: list[tuple[str, Writes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(told(Path(folder) / "live.db", steps))


def test_memory_has_an_answer() -> None:
    state = State(1, bytes(SIZE))
    owners: dict[int, tuple[Owned, ...]] = {11: (Owned(11, 0, None, 1),)}
    steps = [("write", Writes(states=[state], owners=owners)), ("write", Writes(states=[state]))] * 2
    with tempfile.TemporaryDirectory() as folder:
        assert asyncio.run(told(Path(folder) / "live.db", steps)) >= 3


def test_another_process_is_heard_of_before_the_next_transaction() -> None:
    async def main(path: Path) -> None:
        store, other = await open_sqlite(path), await open_sqlite(path)
        await store.write(Writes(states=[State(1, b"first")]))
        await other.write(Writes(states=[State(1, b"second")]))
        async with store.transaction() as tx:
            assert (await tx.lock_states([1]))[1].data == b"second"
        await store.close()
        await other.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "live.db"))


def test_of_ids_a_whole_sieve_asks_the_file_for_few() -> None:
    async def main(path: Path) -> None:
        store = await open_sqlite(path)
        await store.write(Writes(seen=list(IDS)))
        await whole(store)
        rng = random.Random(3)
        asked = [*IDS, *(rng.randbytes(16) for _ in range(1000))]
        assert set(IDS) <= set(store.sieve.passing(asked))
        assert len(store.sieve.passing(asked)) < 50
        async with store.transaction() as tx:
            assert await tx.known_ids(asked) == set(IDS)
        await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "live.db"))


def test_what_another_process_accepts_passes_the_sieve() -> None:
    async def main(path: Path) -> None:
        store, other = await open_sqlite(path), await open_sqlite(path)
        await whole(store)
        await other.write(Writes(seen=[IDS[0]]))
        async with store.transaction() as tx:
            assert await tx.known_ids(IDS) == {IDS[0]}
        await whole(store)
        async with store.transaction() as tx:
            assert await tx.known_ids(IDS) == {IDS[0]}
        await store.close()
        await other.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "live.db"))


async def whole(store: SQLiteStore) -> None:
    """Wait until a store has read all its ids."""
    async with asyncio.timeout(10):
        while not store.sieve.is_whole:
            async with store.transaction():
                pass
            await asyncio.sleep(0.001)
