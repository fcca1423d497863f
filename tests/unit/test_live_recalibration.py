"""A model's probability while a server runs follows what becomes of shown actions, exactly and with delay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.e2e.serving import Shop

from tilltal.core.instants import micros
from tilltal.customers.live.program import Reference
from tilltal.engines.operational.opening import open_store
from tilltal.models.adaptive.recalibration import Recalibrator, log_odds, recalibrated
from tilltal.runtime.live.contract import DecideAnswer, DecideRequest, Message, Response
from tilltal.runtime.live.reference import Snapshotted
from tilltal.runtime.live.serving import opening
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.progress import Silent
from tilltal.workspace.workspace import Workspace

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
SAID = 0.6
ACTION = """
    title: Hello
    group: service
    issue: care
    purpose: service
    propensity: liking
    value: 1
    """
MODEL = """
    outcome: {events: [purchase]}
    horizon: 30 days
    features: [purchases]
    """


class _Reads(msgspec.Struct, frozen=True):
    names: tuple[str, ...] = ()


class _Content(msgspec.Struct, frozen=True):
    encoding: _Reads = _Reads()


class Liking:
    """A model that says the same of everybody."""

    content = _Content()

    def score_one(self, values: Mapping[str, object], as_of: date) -> float:
        """See `Scorer`."""
        del values, as_of
        return SAID


class Bank:
    """A server in this process, on a clock of our own; `edition` is that of its model."""

    def __init__(self, root: Path) -> None:
        self.now = START
        self.shop = Shop(root, settings="recalibration: {wait: 2 days}\n")
        self.shop.write("models/liking.yaml", MODEL)
        self.shop.write("actions/hello/action.yaml", ACTION)
        self.edition = "first"
        self._number = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[LiveServer]:
        """Serve one known customer until the block ends."""
        async with open_server(self.shop.root, lambda: self.now, Silent(), {}) as server:
            identify = {"type": "identify", "userId": "u1", "messageId": f"i{self.now}", "traits": {}}
            message = Message(
                index=0,
                type="identify",
                message_id=f"i{self.now}",
                user_id="u1",
                anonymous_id=None,
                timestamp=self.now,
                document=identify,
            )
            assert not (await server.collect([message], self.now)).rejected
            yield server

    def snapshotted(self, workspace: Workspace) -> Snapshotted:
        """Stand in for the snapshot."""
        models = {"liking": Liking()} if "liking" in workspace.models else {}
        return Snapshotted(reference=Reference(models=models, editions=dict.fromkeys(models, self.edition)))

    async def decide(self, server: LiveServer) -> DecideAnswer:
        """Ask for the one action."""
        return await server.decide(DecideRequest(identity={"crm": "u1"}, channel="push"))

    async def rate(self, server: LiveServer) -> float:
        """Return P of a new decision."""
        return (await self.decide(server)).actions[0].factors.P

    async def show(self, server: LiveServer, kind: str, decision: str = "") -> str:
        """Decide and respond; return the decision."""
        self._number += 1
        decision = decision or (await self.decide(server)).decision_id
        response = Response(
            id=f"r{self._number}",
            decision_id=decision,
            action="hello",
            kind=kind,  # type: ignore[arg-type]
        )
        (outcome,) = await server.respond([response], self.now)
        assert outcome.outcome == "accepted", outcome
        return decision

    async def asked(self, question: str, *args: int) -> Any:
        """Ask the store, beside the server."""
        store = await open_store(str(self.shop.root / ".tilltal/live.sqlite"))
        try:
            return await getattr(store, question)(*args)
        finally:
            await store.close()

    async def quiet(self) -> None:
        """Wait until nothing is overdue any more."""
        for _ in range(200):
            if not await self.asked("waiting", micros(self.now), 1):
                return
            await asyncio.sleep(0.05)
        raise AssertionError("a time-out was not taken")


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
    made = Bank(tmp_path / "shop")
    monkeypatch.setattr(opening, "snapshotted", made.snapshotted)
    return made


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def expected(yes: int, no: int) -> float:
    """Return P after so many labels."""
    made = Recalibrator()
    for number in range(yes + no):
        made.learn(number.to_bytes(8, "big"), log_odds(SAID), number < yes, number)
    return recalibrated(SAID, made.line)


def test_answers_move_the_probability_and_the_explanation_says_from_where(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            before = await bank.decide(server)
            assert before.actions[0].factors.P == SAID
            assert not any("came of it" in one for one in before.actions[0].reasons)
            for number in range(40):
                await bank.show(server, "accept" if number % 4 == 0 else "reject")
            after, wanted = await bank.decide(server), expected(10, 30)
            found = after.actions[0].factors.P
            assert found == pytest.approx(wanted)
            assert after.actions[0].factors.P < 0.35
            account = await server.explain(after.decision_id)
            assert account is not None
            assert account.chosen[0].P == after.actions[0].factors.P
            assert account.scores == {"liking": SAID}
            words = f"the model said 60.0%; by what came of it of late that is {expected(10, 30):.1%}"
            assert words in account.chosen[0].because
            assert account.chosen[0].before == SAID
            assert words in after.actions[0].reasons
            earlier = await server.explain(before.decision_id)
            assert earlier is not None
            assert earlier.chosen[0].P == SAID
        async with bank.serving() as server:
            assert await bank.rate(server) == after.actions[0].factors.P

    run(story())


def test_silence_counts_after_the_wait_and_a_late_yes_revises_it(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            for _ in range(20):
                await bank.show(server, "accept")
            silent = [await bank.show(server, "impression") for _ in range(20)]
            assert await bank.rate(server) == SAID
            bank.now += 2 * DAY - timedelta(seconds=1)
            await asyncio.sleep(0.6)  # more than two looks
            assert await bank.rate(server) == SAID
            bank.now += timedelta(seconds=1)
            await bank.quiet()
            assert await bank.rate(server) == pytest.approx(expected(20, 20))
            for decision in silent[:5]:
                await bank.show(server, "accept", decision)
            assert await bank.rate(server) == pytest.approx(expected(25, 15))
            for decision in silent[:5]:
                await bank.show(server, "accept", decision)
            assert await bank.rate(server) == pytest.approx(expected(25, 15))
            assert not await bank.asked("waiting", 2**62, 10)

    run(story())


def test_a_yes_at_once_and_a_silence_count_after_the_same_wait(bank: Bank) -> None:
    """Six of ten say yes within the hour, as the model says: it is right, before and after the wait."""

    async def story() -> None:
        async with bank.serving() as server:
            for number in range(40):
                decision = await bank.show(server, "impression")
                if number % 5 < 3:
                    await bank.show(server, "accept", decision)
            bank.now += DAY
            assert await bank.rate(server) == SAID
            assert len(await bank.asked("waiting", 2**62, 100)) == 40
        async with bank.serving() as server:
            bank.now += DAY
            await bank.quiet()
            assert await bank.rate(server) == pytest.approx(expected(24, 16))
            assert expected(24, 16) == pytest.approx(SAID, abs=0.02)

    run(story())


def test_an_answer_that_is_told_before_its_impression_waits_with_it(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            for _ in range(20):
                await bank.show(server, "impression", await bank.show(server, "accept"))
                await bank.show(server, "reject")
            assert await bank.rate(server) == SAID
            bank.now += 2 * DAY
            await bank.quiet()
            assert await bank.rate(server) == pytest.approx(expected(20, 20))

    run(story())


def test_a_model_trained_anew_begins_without_a_line(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            for number in range(40):
                await bank.show(server, "accept" if number % 2 else "reject")
            late = (await bank.decide(server)).decision_id
            assert await bank.rate(server) != SAID
        bank.edition = "second"
        async with bank.serving() as server:
            assert await bank.rate(server) == SAID
            await bank.show(server, "accept", late)
            assert await bank.rate(server) == SAID
            for number in range(40):
                await bank.show(server, "accept" if number % 2 else "reject")
            assert await bank.rate(server) == pytest.approx(expected(20, 20))

    run(story())


def test_it_can_be_turned_off(bank: Bank) -> None:
    text = (bank.shop.root / "tilltal.yaml").read_text(encoding="utf-8")
    bank.shop.write("tilltal.yaml", text.replace("{wait: 2 days}", "{enabled: false}"))

    async def story() -> None:
        async with bank.serving() as server:
            for number in range(40):
                await bank.show(server, "accept" if number % 4 == 0 else "impression")
            assert await bank.rate(server) == SAID
            assert not await bank.asked("waiting", 2**62, 10)
            assert not await bank.asked("adaptive")

    run(story())
