"""New definitions while customers live: everybody is brought to them once, also across restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.serving import Shop, purchase

from tilltal.core.instants import micros
from tilltal.core.operational import Change, Membership, OperationalStore, State, Writes
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.contract import Message
from tilltal.runtime.live.history.ingested import up_to
from tilltal.runtime.live.history.taking_over import TakeOver
from tilltal.runtime.live.serving import reloading, sweeping
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.live.serving.sweeping import Place, Sweep, place_mark, place_of
from tilltal.runtime.progress import Silent

CUSTOMERS = 25
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
STRANGER = 12_345


class Bank:
    """A shop served in this process, on a clock of our own; customer n has bought n % 3 times."""

    def __init__(self, root: Path) -> None:
        self.now = START
        self.shop = Shop(root)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[LiveServer]:
        """Serve until the block ends."""
        async with open_server(self.shop.root, lambda: self.now, Silent(), {}) as server:
            yield server

    @asynccontextmanager
    async def store(self) -> AsyncIterator[OperationalStore]:
        """Open the store beside the server."""
        store = await open_store(str(self.shop.root / ".tilltal/live.sqlite"))
        try:
            yield store
        finally:
            await store.close()

    async def fill(self, server: LiveServer) -> None:
        """Let customers come and buy."""
        documents: list[Mapping[str, Any]] = []
        for number in range(CUSTOMERS):
            documents += [purchase(10 * number + each, f"u{number}") for each in range(number % 3)]
            documents.append({"type": "identify", "userId": f"u{number}", "messageId": f"i{number}"})
        await server.collect([_message(*one) for one in enumerate(documents)], self.now)

    async def members(self, audience: str) -> dict[int, int]:
        """Return profile → since."""
        async with self.store() as store:
            return dict(await store.members(audience))

    async def changes(self, after: int = 0) -> list[Change]:
        """Return all changes after a position."""
        async with self.store() as store:
            return await store.changes_after(after, 10_000)

    async def settled(self, server: LiveServer) -> None:
        """Wait until the sweep to the definitions in force is done."""
        await until(lambda: self._is_swept(server))

    async def is_tidy(self) -> bool:
        """True once nothing is left of customers as they were made before."""
        async with self.store() as store:
            following = store.making()
            return not await following.profiles_after(None, 1) and await up_to(following) is None

    async def _is_swept(self, server: LiveServer) -> bool:
        async with self.store() as store:
            return (await place_of(store, server.force.program.edition)).is_done


def _message(index: int, document: Mapping[str, Any]) -> Message:
    return Message(
        index=index,
        type=document["type"],
        message_id=document["messageId"],
        user_id=document["userId"],
        anonymous_id=None,
        event=document.get("event"),
        timestamp=START,
        document=dict(document),
    )


async def until(condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Wait until something is so."""
    for _ in range(400):
        if await condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
    monkeypatch.setattr(sweeping, "PORTION", 4)
    monkeypatch.setattr(reloading, "_LOOK_SECONDS", 0.05)
    return Bank(tmp_path / "shop")


def turns(changes: list[Change]) -> list[tuple[str, str, int]]:
    return sorted((one.kind, one.name, one.profile) for one in changes)


def test_a_changed_condition_reaches_everybody_while_the_server_runs(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.settled(server)
            await bank.fill(server)
            before = await bank.members("buyers")
            assert len(before) == len([n for n in range(CUSTOMERS) if n % 3])
            position = (await bank.changes())[-1].position
            bank.now += HOUR
            edition = server.force.program.edition
            bank.shop.write("audiences/buyers.yaml", "condition: purchases != 1")
            await until(lambda: _is_other(server, edition))
            await bank.settled(server)
            after = await bank.members("buyers")
            assert len(after) == len([n for n in range(CUSTOMERS) if n % 3 != 1])
            assert {profile: since for profile, since in after.items() if profile in before} == {
                profile: since for profile, since in before.items() if profile in after
            }
            entered, left = after.keys() - before.keys(), before.keys() - after.keys()
            assert turns(await bank.changes(position)) == sorted(
                [("entered", "buyers", one) for one in entered] + [("left", "buyers", one) for one in left]
            )
            assert {one.at for one in await bank.changes(position)} == {micros(bank.now)}

    async def _is_other(server: LiveServer, edition: str) -> bool:
        return server.force.program.edition != edition

    asyncio.run(story())


def test_a_sweep_goes_on_where_a_restart_broke_it_off(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[bool] = []
    whole = Sweep.portion

    async def broken_off(self: Sweep, edition: str, lookalikes: Mapping[int, frozenset[str]]) -> bool:
        if len(done) == 3:
            await asyncio.Event().wait()
        done.append(await whole(self, edition, lookalikes))
        return done[-1]

    async def story() -> None:
        async with bank.serving() as server:
            await bank.settled(server)
            await bank.fill(server)
            await bank.settled(server)
        position = (await bank.changes())[-1].position
        bank.shop.write("audiences/buyers.yaml", "condition: purchases != 1")
        with monkeypatch.context() as patch:
            patch.setattr(Sweep, "portion", broken_off)
            async with bank.serving() as server:
                await until(_is_in_the_middle)
        async with bank.store() as store:
            (first, last), place = (0, 12), await place_of(store, server.force.program.edition)
            profiles = await store.profiles_after(None, 100)
        assert (place.after, place.is_done) == (profiles[last - 1], False)
        early = await bank.changes(position)
        assert {one.profile for one in early} <= set(profiles[first:last])
        async with bank.serving() as server:
            await bank.settled(server)
        assert len(await bank.members("buyers")) == len([n for n in range(CUSTOMERS) if n % 3 != 1])
        told = turns(await bank.changes(position))
        assert len(told) == len(set(told)) == len([n for n in range(CUSTOMERS) if n % 3 != 2])

    async def _is_in_the_middle() -> bool:
        return len(done) == 3

    asyncio.run(story())


def test_nobody_stays_a_member_of_an_audience_that_is_no_more(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.fill(server)
        even = await bank.members("even")
        position = (await bank.changes())[-1].position
        assert even
        (bank.shop.root / "audiences/even.yaml").unlink()
        async with bank.serving() as server:
            await bank.settled(server)
        assert await bank.members("even") == {}
        assert turns(await bank.changes(position)) == sorted(("left", "even", one) for one in even)

    asyncio.run(story())


def test_lookalikes_of_a_new_snapshot_reach_their_members(bank: Bank) -> None:
    bank.shop.write("audiences/alike.yaml", "lookalike: {of: buyers, size: 3}")

    async def story() -> None:
        async with bank.serving() as server:
            await bank.fill(server)
            await bank.settled(server)
            async with bank.store() as store:
                profiles = await store.profiles_after(None, 100)
                await swept(server, store, {one: frozenset({"alike"}) for one in profiles[:6]})
                assert sorted(await bank.members("alike")) == profiles[:6]
                await swept(server, store, {one: frozenset({"alike"}) for one in profiles[5:9]})
                assert sorted(await bank.members("alike")) == profiles[5:9]

    async def swept(
        server: LiveServer, store: OperationalStore, lookalikes: Mapping[int, frozenset[str]]
    ) -> None:
        async with store.transaction() as tx:
            await tx.write(Writes(marks=place_mark(Place("an earlier snapshot"))))
        await Sweep(server, store, lambda: bank.now).run(lookalikes)

    asyncio.run(story())


def test_definitions_that_ask_for_other_facts_make_everybody_again(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.fill(server)
        async with bank.store() as store, store.transaction() as tx:
            left_over = Membership("buyers", STRANGER, micros(START), is_member=True)
            await tx.write(Writes(states=[State(STRANGER, b"\x90")], members=[left_over]))
        before, position = await bank.members("buyers"), (await bank.changes())[-1].position
        bank.now += HOUR
        bank.shop.write("traits/looks.yaml", "{measure: count, from: [look]}")
        bank.shop.write("audiences/even.yaml", "condition: purchases = 0 AND looks = 0")
        even = await bank.members("even")
        async with bank.serving() as server:
            await bank.settled(server)
            await until(bank.is_tidy)
        after = await bank.members("buyers")
        assert after == {profile: since for profile, since in before.items() if profile != STRANGER}
        assert set(after.values()) == {micros(START)}
        now_even = await bank.members("even")
        assert len(now_even) == len([n for n in range(CUSTOMERS) if n % 3 == 0])
        assert turns(await bank.changes(position)) == sorted(
            [("left", "buyers", STRANGER), ("merged", "", STRANGER)]
            + [("left", "even", one) for one in even]
            + [("entered", "even", one) for one in now_even]
        )
        async with bank.store() as store:
            assert STRANGER not in await store.states([STRANGER])
            assert len(await store.profiles_after(None, 100)) == CUSTOMERS

    asyncio.run(story())


LOOKS = "{measure: count, from: [look]}"
DEAR = "{measure: sum, of: number, from: [purchase], where: number > 10}"


@pytest.mark.parametrize("then", ["other facts", "the facts before"])
def test_definitions_that_change_again_while_customers_are_made(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    whole, begun = TakeOver.run, asyncio.Event()

    async def held_up(self: TakeOver, *given: Any) -> int:
        if begun.is_set():
            return await whole(self, *given)
        begun.set()
        return await asyncio.Event().wait()

    async def story() -> None:
        async with bank.serving() as server:
            await bank.settled(server)
            await bank.fill(server)
            members, position = await bank.members("buyers"), (await bank.changes())[-1].position
            monkeypatch.setattr(TakeOver, "run", held_up)
            bank.shop.write("traits/looks.yaml", LOOKS)
            await begun.wait()
            assert not await bank.is_tidy()
            bank.shop.root.joinpath("traits/looks.yaml").unlink()
            if then == "other facts":
                bank.shop.write("traits/dear.yaml", DEAR)
                bank.shop.write("audiences/dear.yaml", "condition: dear > 100")
                await until(lambda: _has(server, "dear"))
            await until(bank.is_tidy)
            await bank.settled(server)
            assert not await _has(server, "looks")
            assert await bank.members("buyers") == members
            entered = turns(await bank.changes(position))
            assert {one[:2] for one in entered} == ({("entered", "dear")} if then == "other facts" else set())

    async def _has(server: LiveServer, name: str) -> bool:
        return name in server.force.program.names

    asyncio.run(story())
