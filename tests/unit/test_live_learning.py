"""Adaptive models while a server runs: silence counts as a no in the end, and every answer may be revised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.serving import Shop

from tilltal.core.instants import instant_of, micros
from tilltal.engines.operational.opening import open_store
from tilltal.models.adaptive.layout import layout_of
from tilltal.models.adaptive.methods import new_model
from tilltal.models.adaptive.model import probability
from tilltal.models.adaptive.team import Team
from tilltal.runtime.live.answers.learning import Learning
from tilltal.runtime.live.contract import DecideRequest, Response, ResponseKind
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.progress import Silent
from tilltal.workspace.definitions.actions import Adaptive

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
ADAPTIVE = """
    title: Hello
    group: service
    issue: care
    purpose: service
    propensity: {adaptive: {base_rate: 0.2, evidence: 4, wait: "2 days"}}
    value: 1
    """
FIXED = ADAPTIVE.replace('{adaptive: {base_rate: 0.2, evidence: 4, wait: "2 days"}}', "0.7")


def expected(*answers: bool) -> float:
    """Return P of a model that was told some answers, each once."""
    model = new_model(layout_of(Adaptive(base_rate=0.2, evidence=4), {}))
    for answer in answers:
        model.learn(model.case((), 0), answer)
    return probability(model, (), 0)


BASE, AFTER_NO, AFTER_YES = expected(), expected(False), expected(True)


class Bank:
    """A server in this process, on a clock of our own."""

    def __init__(self, root: Path) -> None:
        self.now = START
        self.shop = Shop(root)
        self.shop.write("actions/hello/action.yaml", ADAPTIVE)
        self._number = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[LiveServer]:
        """Serve until the block ends."""
        async with open_server(self.shop.root, lambda: self.now, Silent(), {}) as server:
            yield server

    async def show(self, server: LiveServer) -> tuple[str, float]:
        """Return a decision's id, and P of its action."""
        answer = await server.decide(DecideRequest(identity={"crm": "u1"}, channel="push"))
        (advised,) = answer.actions
        return answer.decision_id, advised.factors.P

    async def rate(self, server: LiveServer) -> float:
        """Return P of a new decision."""
        return (await self.show(server))[1]

    async def respond(
        self,
        server: LiveServer,
        decision: str,
        kind: ResponseKind,
        *,
        at: datetime | None = None,
        name: str = "",
    ) -> str:
        """Respond now; return what became of it."""
        self._number += 1
        response = Response(
            id=name or f"r{self._number}", decision_id=decision, action="hello", kind=kind, at=at
        )
        (outcome,) = await server.respond([response], self.now)
        return outcome.outcome

    async def states(self) -> dict[str, bytes]:
        """Return the stored states of the models, beside the server."""
        found: dict[str, bytes] = await self._asked("adaptive")
        return found

    async def waiting(self) -> int:
        """Return how many actions wait."""
        return len(await self._asked("waiting", 2**62, 100))

    async def ends(self) -> list[int]:
        """Return until when actions wait."""
        return [each.ends for each in await self._asked("waiting", 2**62, 100)]

    async def quiet(self) -> None:
        """Wait until nothing is overdue any more."""
        for _ in range(200):
            if not await self._asked("waiting", micros(self.now), 1):
                return
            await asyncio.sleep(0.05)
        raise AssertionError("a time-out was not taken")

    async def _asked(self, question: str, *args: int) -> Any:
        store = await open_store(str(self.shop.root / ".tilltal/live.sqlite"))
        try:
            return await getattr(store, question)(*args)
        finally:
            await store.close()


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path / "shop")


@pytest.fixture
def as_long_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every silence wait as long as any may."""
    monkeypatch.setattr(Team, "patience", lambda team, *_: 2 * 86_400_000_000)


LONG = pytest.mark.usefixtures("as_long_as_may_be")


def run(asked: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asked)


@LONG
def test_silence_is_a_no_after_the_wait_and_a_late_yes_revises_it(bank: Bank) -> None:
    async def story() -> None:
        assert AFTER_NO < BASE < AFTER_YES
        async with bank.serving() as server:
            decision, first = await bank.show(server)
            assert first == pytest.approx(BASE)
            await bank.respond(server, decision, "impression")
            assert await bank.waiting() == 1
            bank.now += 2 * DAY - timedelta(seconds=1)
            await asyncio.sleep(0.6)  # more than two looks
            assert await bank.rate(server) == pytest.approx(BASE)
            bank.now += timedelta(seconds=1)
            await bank.quiet()
            assert await bank.waiting() == 0
            assert await bank.rate(server) == pytest.approx(AFTER_NO)
            await bank.respond(server, decision, "accept")
            assert await bank.rate(server) == pytest.approx(AFTER_YES)

    run(story())


def test_after_a_time_out_more_of_the_same_changes_nothing(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            decision, _ = await bank.show(server)
            await bank.respond(server, decision, "impression", name="seen")
            bank.now += 3 * DAY
            await bank.quiet()
            known = await bank.states()
            assert await bank.respond(server, decision, "impression", name="seen") == "duplicate"
            await bank.respond(server, decision, "click")
            await bank.respond(server, decision, "impression", at=START)
            assert await bank.waiting() == 0
            bank.now += 30 * DAY
            await asyncio.sleep(0.6)
            assert await bank.states() == known
            assert await bank.rate(server) == pytest.approx(AFTER_NO)

    run(story())


def test_how_long_a_silence_waits_is_drawn_once(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            ends = 0
            for _ in range(60):  # until one that waits for a while
                decision, _ = await bank.show(server)
                await bank.respond(server, decision, "impression")
                (ends,) = await bank.ends() or [0]
                if ends > micros(bank.now + timedelta(minutes=1)):
                    break
                bank.now += DAY
                await bank.quiet()
            assert micros(bank.now) < ends <= micros(bank.now + 2 * DAY)
            known = await bank.rate(server)
            for _ in range(30):  # delays are known now: others hardly wait any more
                other, _ = await bank.show(server)
                await bank.respond(server, other, "impression")
                await bank.respond(server, other, "accept")
            await bank.respond(server, decision, "click")
            assert await bank.ends() == [ends]
        async with bank.serving() as server:
            await bank.respond(server, decision, "impression")
            assert await bank.ends() == [ends]
            before = await bank.rate(server)
            assert before > known
            bank.now = instant_of(ends)
            await bank.quiet()
            assert await bank.ends() == []
            assert await bank.rate(server) < before

    run(story())


def test_a_silence_waits_as_long_as_a_yes_takes(bank: Bank) -> None:
    """One in three says yes within a second, the others nothing; the wait is far from over."""

    async def story() -> None:
        async with bank.serving() as server:
            for number in range(60):
                decision, _ = await bank.show(server)
                await bank.respond(server, decision, "impression")
                if number % 3 == 0:
                    await bank.respond(server, decision, "accept")
                bank.now += timedelta(seconds=10)
            await bank.quiet()
            assert await bank.waiting() < 12
            assert 0.25 < await bank.rate(server) < 0.42

    run(story())


@pytest.mark.parametrize("kind", ["delivered", "impression", "click"])
def test_whatever_says_that_it_was_there_begins_the_wait(bank: Bank, kind: ResponseKind) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            decision, _ = await bank.show(server)
            await bank.respond(server, decision, kind)
            bank.now += 2 * DAY
            await bank.quiet()
            assert await bank.rate(server) == pytest.approx(AFTER_NO)

    run(story())


def test_an_answer_in_time_ends_the_wait(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            decision, _ = await bank.show(server)
            await bank.respond(server, decision, "impression")
            await bank.respond(server, decision, "accept")
            assert await bank.waiting() == 0
            known = await bank.states()
            bank.now += 30 * DAY
            await asyncio.sleep(0.6)
            assert await bank.states() == known
            assert await bank.rate(server) == pytest.approx(AFTER_YES)

    run(story())


def test_a_late_impression_counts_at_once(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            decision, _ = await bank.show(server)
            bank.now += 5 * DAY
            await bank.respond(server, decision, "impression", at=START)
            assert await bank.rate(server) == pytest.approx(AFTER_NO)
            assert await bank.waiting() == 0
            await bank.respond(server, decision, "reject")
            assert await bank.rate(server) == pytest.approx(AFTER_NO)

    run(story())


@LONG
def test_a_restart_in_between_changes_nothing(bank: Bank, tmp_path: Path) -> None:
    other = Bank(tmp_path / "other")

    async def story(bank: Bank, *, restarts: bool) -> list[float]:
        rates: list[float] = []
        decisions: list[str] = []
        steps: list[list[tuple[int, ResponseKind]]] = [
            [(0, "impression"), (1, "impression"), (2, "click")],
            [(1, "accept")],
            [(0, "accept"), (2, "impression")],
            [(0, "reject")],
        ]
        async with bank.serving() as server:
            decisions += [(await bank.show(server))[0] for _ in range(3)]
            if not restarts:
                for step in steps:
                    await play(bank, server, decisions, step, rates)
        if restarts:
            for step in steps:
                async with bank.serving() as server:
                    await play(bank, server, decisions, step, rates)
        return rates

    async def play(
        bank: Bank,
        server: LiveServer,
        decisions: list[str],
        step: list[tuple[int, ResponseKind]],
        rates: list[float],
    ) -> None:
        await bank.quiet()
        for number, kind in step:
            await bank.respond(server, decisions[number], kind)
        rates.append(await bank.rate(server))
        bank.now += 1.5 * DAY

    async def both() -> None:
        once = await story(bank, restarts=False)
        again = await story(other, restarts=True)
        known = [(), (True,), (True, True, False), (True, False, False)]
        assert once == pytest.approx([expected(*answers) for answers in known])
        assert again == pytest.approx(once)
        assert await bank.states() == await other.states()

    run(both())


@LONG
def test_answers_that_came_while_a_definition_was_away_count_once_it_is_back(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            decision, _ = await bank.show(server)
            await bank.respond(server, decision, "impression")
        bank.shop.write("actions/hello/action.yaml", FIXED)
        bank.now += 3 * DAY
        async with bank.serving() as server:
            await bank.quiet()
            assert await bank.rate(server) == 0.7
            await bank.respond(server, decision, "accept")
        bank.shop.write("actions/hello/action.yaml", ADAPTIVE)
        async with bank.serving() as server:
            assert await bank.rate(server) == pytest.approx(BASE)
            bank.now += DAY
            await bank.quiet()
            assert await bank.waiting() == 0
            assert await bank.rate(server) == pytest.approx(AFTER_YES)

    run(story())


def test_what_others_taught_is_taken_up_before_more_is_learned(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            (decision, _), (later, _) = await bank.show(server), await bank.show(server)
            stale = Learning(server.force.decider, {}, micros(bank.now))
            await bank.respond(server, decision, "accept")
            server.force.learning = stale  # as definitions compiled while the answer was under way
            await bank.respond(server, later, "accept")
            assert await bank.rate(server) == pytest.approx(expected(True, True))

    run(story())


def test_a_fallback_is_not_learned(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    async def late(*_: object) -> None:
        await asyncio.sleep(60)

    async def story() -> None:
        async with bank.serving() as server:
            monkeypatch.setattr(server._in_time, "decided", late)
            request = DecideRequest(identity={"crm": "u1"}, channel="push", budget_ms=0.000_001)
            answer = await server.decide(request)
            assert answer.is_fallback
            assert answer.actions[0].reasons == ("P is assumed, not predicted",)
            for _ in range(100):
                account = await server.explain(answer.decision_id)
                if account is not None:
                    break
                await asyncio.sleep(0.02)
            assert account is not None
            assert account.chosen[0].because == ("P is assumed, not predicted",)

    run(story())


def test_the_explanation_says_that_it_was_learned(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            decision, _ = await bank.show(server)
            account = await server.explain(decision)
            assert account is not None
            (chosen,) = account.chosen
            assert chosen.because == ("P is learned from the answers so far",)

    run(story())


def test_calls_that_share_a_transaction_read_the_models_once(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        read = 0
        catch_up = Learning.catch_up

        def counted(learning: Learning, stored: Mapping[str, bytes]) -> None:
            nonlocal read
            read += 1
            catch_up(learning, stored)

        async with bank.serving() as server:
            decisions = [(await bank.show(server))[0] for _ in range(6)]
            groups = server._group.groups
            monkeypatch.setattr(Learning, "catch_up", counted)
            await asyncio.gather(*(bank.respond(server, one, "accept") for one in decisions))
            assert read <= server._group.groups - groups <= 2
            assert await bank.rate(server) == pytest.approx(expected(*[True] * 6))

    run(story())
