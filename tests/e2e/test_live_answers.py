"""What is told of the past: after definitions changed, after members left, while the log is moved."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.serving import Shop, purchase

from tilltal.core.errors import EngineError
from tilltal.core.operational import Logged
from tilltal.runtime.live.contract import DecideRequest, Message
from tilltal.runtime.live.history.compaction import compact, compact_apart
from tilltal.runtime.live.places import files_of
from tilltal.runtime.live.serving import lags, opening, reloading, supervising, sweeping
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.progress import Silent
from tilltal.workspace.check import usable

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clockwork:
    """A shop and its clock."""

    def __init__(self, root: Path, settings: str = "") -> None:
        self.now = START
        self.shop = Shop(root, settings=settings)

    def serve(self, story: Callable[[LiveServer], Coroutine[Any, Any, None]], **environment: str) -> None:
        """Let something happen to a server."""

        async def served() -> None:
            async with open_server(self.shop.root, lambda: self.now, Silent(), environment) as server:
                await story(server)

        asyncio.run(served())

    async def buy(self, server: LiveServer, number: int) -> None:
        """Let the customer buy."""
        document = purchase(number, "u1")
        message = Message(
            index=0, type="track", message_id=f"m{number}", user_id="u1", anonymous_id=None,
            event="purchase", timestamp=self.now, document=dict(document),
        )  # fmt: skip
        assert (await server.collect([message], self.now)).accepted == 1


@pytest.fixture
def clockwork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clockwork:
    monkeypatch.setattr(reloading, "_LOOK_SECONDS", 0.05)
    return Clockwork(tmp_path / "shop")


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen in time")


def test_a_decision_of_earlier_definitions_is_explained_by_those(clockwork: Clockwork) -> None:
    async def story(server: LiveServer) -> None:
        await clockwork.buy(server, 1)
        made = await server.decide(DecideRequest(identity={"crm": "u1"}, channel="push"))
        before = await server.explain(made.decision_id)
        assert before is not None
        assert not before.has_changed
        assert before.is_proved
        assert [one.action for one in before.chosen] == ["thanks"]
        version = server.force.version
        shutil.rmtree(clockwork.shop.root / "actions/thanks")
        await until(lambda: server.force.version != version)
        after = await server.explain(made.decision_id)
        assert after is not None
        assert after.has_changed
        assert after.definitions == version
        assert after.known == before.known
        assert after.is_proved
        assert after.not_chosen == before.not_chosen
        assert after.chosen == before.chosen
        assert [one.title for one in after.chosen] == ["Thank you"]  # as it was

    clockwork.serve(story)


def test_audiences_of_a_past_instant_are_those_of_then(clockwork: Clockwork) -> None:
    async def story(server: LiveServer) -> None:
        await clockwork.buy(server, 1)
        clockwork.now += HOUR
        await clockwork.buy(server, 2)
        between = clockwork.now
        clockwork.now += HOUR
        await clockwork.buy(server, 3)  # even no more

        async def told(at: datetime | None) -> dict[str, datetime | None]:
            answer = await server.profile("crm", "u1", as_of=at)
            assert answer is not None
            return answer.audiences

        assert await told(START - HOUR) == {}
        assert await told(START) == {"buyers": START}
        assert await told(between) == {"buyers": START, "even": None}
        assert await told(None) == {"buyers": START}

    clockwork.serve(story)


def test_what_is_moved_while_it_is_asked_for_is_told_once(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(server: LiveServer) -> None:
        for number in range(3):
            await clockwork.buy(server, number)
            clockwork.now += HOUR
        store, workspace = server._store, server.force.workspace
        read_log = store.events_of

        async def move() -> None:
            assert await compact(store, workspace, files_of(workspace), clockwork.now) == 3

        async def moved_after(tokens: Iterable[int]) -> list[Logged]:
            found = await read_log(tokens)
            await move()
            return found

        async def moved_before(tokens: Iterable[int]) -> list[Logged]:
            await move()
            return await read_log(tokens)

        for number, moved in enumerate((moved_after, moved_before)):
            with monkeypatch.context() as patch:
                patch.setattr(store, "events_of", moved)
                told = await server.timeline("crm", "u1")
            assert told is not None
            assert len(told.entries) == 3 * (number + 1)
            if not number:
                for again in range(3, 6):
                    await clockwork.buy(server, again)
                clockwork.now += HOUR

    clockwork.serve(story)


def test_background_work_goes_on_after_anything(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(opening, "_COMPACT_SECONDS", 0.05)
    monkeypatch.setattr(supervising, "_FIRST_PAUSE", 0.05)
    failures: list[str] = []
    portion = sweeping.Sweep.portion

    def once(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any) -> Any:
            if name not in failures:
                failures.append(name)
                raise RuntimeError(name)
            return real(*given)

        return called

    monkeypatch.setattr(opening, "compact_apart", once("compaction", compact_apart))
    monkeypatch.setattr(reloading, "usable", once("reloading", usable))
    monkeypatch.setattr(sweeping.Sweep, "portion", once("sweep", portion))

    async def story(server: LiveServer) -> None:
        await until(lambda: len(failures) == 3)
        await clockwork.buy(server, 1)
        version = server.force.version
        clockwork.shop.write("audiences/buyers.yaml", "condition: purchases != 1")
        await until(lambda: server.force.version != version)
        manifests = files_of(server.force.workspace).root / "ingested"
        await until(lambda: manifests.is_dir() and any(manifests.iterdir()))

    clockwork.serve(story)
    for name in ("compaction", "reloading", "sweep"):
        assert f"{name} failed, begun again" in caplog.text


def test_corrections_that_could_not_be_taken_up_are_tried_again(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = LiveServer.take_up

    async def away_first(self: LiveServer, force: Any) -> None:
        await real(self, force)
        asked.append(force.version)
        if len(asked) == 2:  # the first is the start
            raise EngineError.of("E530", "away", hint="wait")

    monkeypatch.setattr(LiveServer, "take_up", away_first)

    async def story(_: LiveServer) -> None:
        clockwork.shop.write("audiences/buyers.yaml", "condition: purchases != 1")
        await until(lambda: len(asked) == 3)
        assert asked[0] != asked[1] == asked[2]

    clockwork.serve(story)


def test_stages_in_the_background_tell_how_far_they_are_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lags, "_LOOK_SECONDS", 0.05)
    hook = "webhooks: {crm: {url: 'http://127.0.0.1:9/none', secret: HOOK, audiences: [buyers]}}\n"
    clockwork = Clockwork(tmp_path / "shop", hook)

    async def story(server: LiveServer) -> None:
        async with asyncio.timeout(5):
            while await server._store.mark("webhook:crm") is None:
                await asyncio.sleep(0.02)
        await clockwork.buy(server, 1)
        clockwork.now += HOUR
        wanted = HOUR.total_seconds()
        await until(lambda: server.figures.behind.get("compaction") == wanted)
        await until(lambda: server.figures.behind.get("webhook crm") == wanted)
        told = (await server.readiness()).lag_seconds
        assert (told["compaction"], told["webhook crm"], told["sweep"]) == (wanted, wanted, 0.0)
        workspace = server.force.workspace
        await compact(server._store, workspace, files_of(workspace), clockwork.now)
        await until(lambda: server.figures.behind["compaction"] == 0.0)

    clockwork.serve(story, HOOK="a secret of a webhook")
