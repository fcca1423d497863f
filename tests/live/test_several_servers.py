"""Several servers on one operational store: each piece of work is done once, and all know what one learns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.e2e.serving import Shop
from tests.postgres_server import PostgresServer, postgres
from tests.unit.test_live_learning import ADAPTIVE

from tilltal.core.operational import Change, OperationalStore, Writes
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.contract import DecideRequest, Response
from tilltal.runtime.live.serving import leases
from tilltal.runtime.live.serving.changes import Feed, Hook
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.progress import Silent
from tilltal.workspace.definitions.settings import Webhook

__all__ = ["postgres"]
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "live.db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_dsn()


class Telling:
    """A server's webhook, with a process that can die."""

    def __init__(self, store: OperationalStore, name: str, heard: list[tuple[str, int]]) -> None:
        self._name, self._heard = name, heard
        self.feed = Feed(store)
        definition = Webhook(url="http://receiver.example", secret="S", changes=("entered",))
        self.hook = Hook("crm", definition, {"S": "secret"}, store, self.feed, lambda: NOW)
        self._client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self._task = asyncio.create_task(self.hook.run(self._client))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        body = msgspec.json.decode(request.content)
        self._heard += [(self._name, change["position"]) for change in body["changes"]]
        return httpx.Response(200)

    async def die(self) -> None:
        """End without giving anything back, as a killed process does."""

        async def nothing() -> None:
            """Give nothing back."""

        self.hook._lease._give_back = nothing  # type: ignore[method-assign]
        await self.stop()

    async def stop(self) -> None:
        self.feed.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._client.aclose()


async def change(store: OperationalStore, *numbers: int) -> None:
    found = [Change(at=number, profile=number, kind="entered", name="all") for number in numbers]
    async with store.transaction() as tx:
        await tx.write(Writes(changes=found))


async def heard_all(hook: Hook, count: int) -> None:
    """Wait until a receiver heard of so many changes, and the store knows that."""
    for _ in range(400):
        if await hook.place() == count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not all was told")


def test_one_server_tells_a_receiver_and_another_takes_over_if_it_dies(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases.Lease.__init__, "__defaults__", (1.5,))

    async def story() -> None:
        stores = [await open_store(place) for _ in range(2)]
        heard: list[tuple[str, int]] = []
        first = Telling(stores[0], "first", heard)
        await asyncio.sleep(0.3)
        second = Telling(stores[1], "second", heard)
        await asyncio.sleep(0.3)
        for number in range(1, 6):
            await change(stores[number % 2], number)
        await heard_all(first.hook, 5)
        assert heard == [("first", number) for number in range(1, 6)]
        await first.die()
        await change(stores[1], 6, 7)
        await heard_all(second.hook, 7)
        assert heard[5:] == [("second", 6), ("second", 7)]
        third = Telling(stores[0], "third", heard)
        await second.stop()  # what is given back is taken at once
        await change(stores[1], 8)
        await heard_all(third.hook, 8)
        assert heard[7:] == [("third", 8)]
        await third.stop()
        for store in stores:
            await store.close()

    asyncio.run(story())


@asynccontextmanager
async def two_servers(tmp_path: Path, place: str) -> AsyncIterator[tuple[LiveServer, LiveServer]]:
    shop = Shop(tmp_path / "shop", operational=place)
    shop.write("actions/hello/action.yaml", ADAPTIVE)
    async with open_server(shop.root, lambda: NOW, Silent(), {}) as one:  # noqa: SIM117
        async with open_server(shop.root, lambda: NOW, Silent(), {}) as other:
            yield one, other


async def rate(server: LiveServer) -> tuple[str, float]:
    answer = await server.decide(DecideRequest(identity={"crm": "u1"}, channel="push", budget_ms=5000))
    (advised,) = answer.actions
    return answer.decision_id, advised.factors.P


def test_what_one_server_learns_the_other_decides_by_within_a_second(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async def story() -> None:
        async with two_servers(tmp_path, postgres.new_dsn()) as (one, other):
            decision, before = await rate(one)
            assert (await rate(other))[1] == before
            for teacher, pupil in ((one, other), (other, one)):
                answer = Response(
                    id=f"r{teacher is one}", decision_id=decision, action="hello", kind="accept"
                )
                assert (await teacher.respond([answer], NOW))[0].outcome == "accepted"
                decision, taught = await rate(teacher)
                assert taught > before
                await asyncio.sleep(1)
                assert (await rate(pupil))[1] == taught
                before = taught

    asyncio.run(story())


def test_many_answers_at_once_in_two_servers_teach_all_of_them(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async def story() -> None:
        async with two_servers(tmp_path, postgres.new_dsn()) as (one, other):
            made = [(await rate(one))[0] for _ in range(24)]
            answers: list[Any] = [
                (one if number % 2 else other).respond(
                    [Response(id=f"r{number}", decision_id=decision, action="hello", kind="accept")], NOW
                )
                for number, decision in enumerate(made)
            ]
            await asyncio.gather(*answers)
            await asyncio.sleep(1)
            together = [(await rate(server))[1] for server in (one, other)]
            assert together[0] == together[1]
        alone_place = postgres.new_dsn()
        async with two_servers(tmp_path / "alone", alone_place) as (one, _):
            for number in range(24):
                decision, _p = await rate(one)
                answer = Response(id=f"r{number}", decision_id=decision, action="hello", kind="accept")
                await one.respond([answer], NOW)
            assert (await rate(one))[1] == pytest.approx(together[0])

    asyncio.run(story())
