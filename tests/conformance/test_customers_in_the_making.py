"""Customers in the making on both stores: beside those in use, until they take their place in one moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.postgres_server import PostgresServer, postgres

from tilltal.core.operational import Change, Logged, Membership, OperationalStore, Owned, State, Writes
from tilltal.engines.operational.opening import open_store

__all__ = ["postgres"]
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OperationalStore]:
    place = str(tmp_path / "store.db")
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        place = server.new_dsn()
    opened = await open_store(place)
    yield opened
    await opened.close()


async def write(store: OperationalStore, **parts: Any) -> None:
    async with store.transaction() as tx:
        await tx.write(Writes(**parts))


def owned(token: int, profile: int) -> dict[int, tuple[Owned, ...]]:
    return {token: (Owned(token, None, None, profile),)}


async def fill(store: OperationalStore) -> None:
    """Put profile 1 into use, and profile 2 into the making."""
    await write(store, owners=owned(7, 1), states=[State(1, b"old", 5)], marks={"a": b"1", "b": b"1"})
    await write(store, members=[Membership("buyers", 1, 3, is_member=True)])
    await write(store.making(), owners=owned(7, 2), states=[State(2, b"new", 6)], marks={"b": b"2"})


async def test_what_is_in_the_making_is_apart(store: OperationalStore) -> None:
    await fill(store)
    following = store.making()
    assert (await store.owners([7]), await following.owners([7])) == (owned(7, 1), owned(7, 2))
    assert (await store.due(9, 9), await following.due(9, 9)) == ([1], [2])
    assert (await store.whose([7], 0), await following.whose([7], 0)) == (
        (1, State(1, b"old", 5)),
        (2, State(2, b"new", 6)),
    )
    assert (await store.mark("b"), await following.mark("b"), await following.mark("a")) == (b"1", b"2", None)


async def test_nobody_is_told_of_what_is_in_the_making(store: OperationalStore) -> None:
    await fill(store)
    row = Logged(
        event_id=bytes(16),
        token=7,
        ids=(7,),
        kind="event",
        name="page",
        source="web",
        at=1,
        received=1,
        body=b"",
    )
    await write(
        store.making(),
        log=[row],
        seen=[b"s" * 16],
        members=[Membership("buyers", 2, 3, is_member=True)],
        changes=[Change(at=1, profile=2, kind="entered", name="buyers")],
        gone=[1],
    )
    assert await store.log_after(0, 9) == []
    assert await store.changes_after(0, 9) == []
    assert await store.members("buyers") == [(1, 3)]
    assert await store.known_ids([bytes(16), b"s" * 16]) == {b"s" * 16}


async def test_a_swap_exchanges_and_clearing_removes(store: OperationalStore) -> None:
    await fill(store)
    async with store.making().transaction() as tx:
        await tx.hold_customers()
        await tx.swap()
    assert await store.whose([7], 0) == (2, State(2, b"new", 6))
    assert (await store.mark("a"), await store.mark("b")) == (b"1", b"2")
    assert (await store.due(9, 9), await store.memberships(1)) == ([2], {"buyers": 3})
    async with store.transaction() as tx:
        assert await tx.former([1, 2]) == {1: b"old"}
        while await tx.clear():
            pass
        assert await tx.former([1, 2]) == {}
    following = store.making()
    assert (await following.owners([7]), await following.mark("b")) == ({}, None)
    assert await store.whose([7], 0) == (2, State(2, b"new", 6))
    await write(store, states=[State(3, b"more")])
    assert (await store.sizes())["profiles"] in (2, -1)


async def test_a_swap_that_fails_changes_nothing(store: OperationalStore) -> None:
    await fill(store)

    async def swap() -> None:
        async with store.making().transaction() as tx:
            await tx.hold_customers()
            await tx.swap()
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await swap()
    assert await store.whose([7], 0) == (1, State(1, b"old", 5))
    assert await store.making().mark("b") == b"2"


async def test_who_writes_meanwhile_writes_before_or_after_as_a_whole(store: OperationalStore) -> None:
    await fill(store)
    is_in, may_end = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with store.transaction() as tx:
            await tx.owners([7])
            await tx.lock_states([1])
            is_in.set()
            await may_end.wait()
            await tx.write(Writes(states=[State(1, b"later")]))

    async def swap() -> None:
        await is_in.wait()
        async with store.making().transaction() as tx:
            await tx.hold_customers()
            await tx.swap()

    working, swapping = asyncio.create_task(work()), asyncio.create_task(swap())
    await is_in.wait()
    await asyncio.sleep(0.2)
    assert not swapping.done()
    may_end.set()
    await asyncio.gather(working, swapping)
    async with store.transaction() as tx:
        assert await tx.former([1]) == {1: b"later"}
