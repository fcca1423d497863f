"""Webhooks that are added, changed and taken out while a server runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import pytest

from tilltal.core.errors import DataError
from tilltal.core.operational import Change, OperationalStore, Writes
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.serving import changes
from tilltal.runtime.live.serving.changes import Feed
from tilltal.runtime.live.serving.hooks import Hooks
from tilltal.workspace.definitions.settings import Webhook

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
OLD, NEW = "http://old.example/", "http://new.example/"


class Receivers:
    """Hear calls, by host; those that are down answer 503."""

    def __init__(self) -> None:
        self.heard: dict[str, list[int]] = {}
        self.keys: list[str] = []
        self.down: set[str] = set()

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a call."""
        if request.url.host in self.down:
            return httpx.Response(503)
        told = msgspec.json.decode(request.content)["changes"]
        self.heard.setdefault(request.url.host, []).extend(one["position"] for one in told)
        self.keys.append(request.headers["idempotency-key"])
        return httpx.Response(200)


class Scene:
    """A store, receivers, and the webhooks of a server."""

    def __init__(self, store: OperationalStore) -> None:
        self.store = store
        self.receivers = Receivers()
        self.feed = Feed(store)
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self.receivers.answer))
        self.hooks = Hooks({"S": "secret"}, store, self.feed, self.client, lambda: NOW)

    async def take_up(self, **urls: str) -> None:
        """Let webhooks with these addresses be defined; wait until each knows its place."""
        await self.hooks.take_up({name: Webhook(url=url, secret="S") for name, url in urls.items()})
        for hook in self.hooks.running:
            while await hook.place() is None:
                await asyncio.sleep(0.01)

    async def change(self, number: int) -> None:
        """Let somebody enter an audience."""
        async with self.store.transaction() as tx:
            await tx.write(Writes(changes=[Change(at=number, profile=number, kind="entered", name="all")]))
        self.feed.notify()

    async def hears(self, host: str, *positions: int) -> None:
        """Wait until a receiver has heard of exactly these changes."""
        while self.receivers.heard.get(host) != list(positions):
            await asyncio.sleep(0.01)


def play(tmp_path: Path, story: Callable[[Scene], Coroutine[None, None, None]]) -> None:
    """Let something happen, in ten seconds at most."""

    async def played() -> None:
        store = await open_store(str(tmp_path / "live.db"))
        scene = Scene(store)
        try:
            async with asyncio.timeout(10):
                await story(scene)
        finally:
            await scene.hooks.close()
            await scene.client.aclose()
            await store.close()

    asyncio.run(played())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_LEASE_SECONDS", 0.02)


def test_a_changed_webhook_goes_on_at_its_new_address_from_its_place(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.take_up(crm=OLD)
        await scene.change(1)
        await scene.hears("old.example", 1)
        scene.receivers.down.add("old.example")
        await scene.change(2)
        await scene.take_up(crm=NEW)
        await scene.change(3)
        await scene.hears("new.example", 2, 3)
        assert scene.receivers.heard["old.example"] == [1]

    play(tmp_path, story)


def test_what_is_defined_as_before_is_left_alone(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.take_up(crm=OLD)
        (before,) = scene.hooks.running
        await scene.take_up(crm=OLD, mail=NEW)
        assert [hook.name for hook in scene.hooks.running] == ["crm", "mail"]
        assert scene.hooks.running[0] is before
        await scene.change(1)
        await scene.hears("old.example", 1)
        await scene.hears("new.example", 1)

    play(tmp_path, story)


def test_a_webhook_that_was_taken_out_hears_nothing_until_it_is_put_back(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.take_up(crm=OLD, mail=NEW)
        await scene.change(1)
        await scene.hears("old.example", 1)
        await scene.take_up(mail=NEW)
        assert [hook.name for hook in scene.hooks.running] == ["mail"]
        await scene.change(2)
        await scene.hears("new.example", 1, 2)
        assert scene.receivers.heard["old.example"] == [1]
        await scene.take_up(crm=OLD, mail=NEW)
        await scene.hears("old.example", 1, 2)

    play(tmp_path, story)


def test_without_its_secret_a_webhook_is_refused_and_the_others_stay(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.take_up(crm=OLD)
        with pytest.raises(DataError, match="E541"):
            await scene.hooks.take_up({"mail": Webhook(url=NEW, secret="ABSENT")})
        assert [hook.name for hook in scene.hooks.running] == ["crm"]
        await scene.change(1)
        await scene.hears("old.example", 1)

    play(tmp_path, story)


def test_a_name_of_any_letters_can_be_told(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.hooks.take_up({"måndag\n": Webhook(url=OLD, secret="S")})
        while await scene.hooks.running[0].place() is None:
            await asyncio.sleep(0.01)
        await scene.change(1)
        await scene.hears("old.example", 1)
        assert scene.receivers.keys == ["m%C3%A5ndag%0A-1-1"]

    play(tmp_path, story)


def test_an_address_that_the_client_cannot_read_is_a_call_that_failed(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.take_up(crm="http://[::1/")
        (hook,) = scene.hooks.running
        await scene.change(1)
        while not hook.failures:
            await asyncio.sleep(0.01)
        await scene.take_up(crm=NEW)
        await scene.hears("new.example", 1)

    play(tmp_path, story)
