"""A decision in time: what was decided by then is answered, else the fallback, and that alone is stored."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.serving import Shop

from tilltal.core.errors import EngineError
from tilltal.core.operational import Writes
from tilltal.runtime.live.contract import Busy, DecideRequest, Unavailable
from tilltal.runtime.live.serving import service
from tilltal.runtime.live.serving.group import Away
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.progress import Silent

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
BUDGET_MS = 400.0  # so long that a busy machine stores a row meanwhile
ASKED = DecideRequest(identity={"crm": "u1"}, channel="push", budget_ms=BUDGET_MS)
PATIENT = DecideRequest(identity={"crm": "u1"}, channel="push", budget_ms=5000)
FIRST = DecideRequest(identity={"crm": "u2"}, budget_ms=5000)


class Slow:
    """Stands before a store: writes wait until they may go on."""

    def __init__(self, server: LiveServer, patch: pytest.MonkeyPatch) -> None:
        self.stored: list[bytes] = []
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self._write: Callable[[Writes], Awaitable[None]] = server._store.write
        patch.setattr(server._store, "write", self.write)

    async def write(self, writes: Writes) -> None:
        self.begun.set()
        await self.gate.wait()
        await self._write(writes)
        self.stored += [row.id for row in writes.decisions if row.id not in self.stored]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what lets a story happen in a server with a store whose writes can be held up."""

    def run(story: Callable[[LiveServer, Slow], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            async with open_server(Shop(tmp_path / "shop").root, lambda: NOW, Silent(), {}) as server:
                slow = Slow(server, monkeypatch)
                try:
                    await story(server, slow)
                finally:
                    slow.gate.set()  # else the server waits for ever when it closes

        asyncio.run(main())

    return run


def test_a_decision_that_waits_for_the_disk_is_answered_and_stored_once(told: Callable[..., None]) -> None:
    async def story(server: LiveServer, slow: Slow) -> None:
        first = asyncio.create_task(server.decide(FIRST))
        await slow.begun.wait()
        asked = asyncio.create_task(server.decide(ASKED))  # waits behind the first
        while not server._in_time.owed:
            await asyncio.sleep(0.005)
        assert not asked.done()  # it waits for the disk a little longer
        slow.gate.set()
        answers = [await first, await asked]
        assert [answer.is_fallback for answer in answers] == [False, False]
        assert [one.hex() for one in slow.stored] == [answer.decision_id for answer in answers]

    told(story)


@pytest.mark.parametrize("is_begun", [True, False], ids=["begun", "waiting"])
def test_a_decision_is_answered_before_it_is_stored_if_the_disk_is_too_slow(
    told: Callable[..., None], is_begun: bool
) -> None:
    async def story(server: LiveServer, slow: Slow) -> None:
        firsts = [] if is_begun else [asyncio.create_task(server.decide(FIRST))]
        if firsts:
            await slow.begun.wait()
        began = time.perf_counter()
        answer = await server.decide(ASKED)
        assert not answer.is_fallback
        assert time.perf_counter() - began >= 2 * BUDGET_MS / 1000 - 0.01  # as long as the budget again
        assert slow.stored == []
        slow.gate.set()
        await asyncio.gather(*firsts)
        while server._in_time.owed:
            await asyncio.sleep(0.005)
        assert bytes.fromhex(answer.decision_id) in slow.stored
        assert len(slow.stored) == 1 + len(firsts)
        account = await server.explain(answer.decision_id)
        assert account is not None
        assert [one.action for one in account.chosen] == [one.action for one in answer.actions]
        await server.close()

    told(story)


def test_a_fallback_is_durable_when_it_is_answered(
    told: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(server: LiveServer, slow: Slow) -> None:
        slow.gate.set()

        async def late(*_: object) -> None:
            await asyncio.sleep(60)

        monkeypatch.setattr(server._in_time, "decided", late)
        answer = await server.decide(ASKED)
        assert answer.is_fallback
        assert [one.hex() for one in slow.stored] == [answer.decision_id]

    told(story)


def test_what_was_decided_is_answered_though_too_much_comes_at_once(
    told: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(server: LiveServer, slow: Slow) -> None:
        slow.gate.set()
        submit = server._group.submit

        async def full(piece: Any, *, is_owed: bool = False) -> Any:
            if not is_owed:
                raise Busy
            return await submit(piece, is_owed=is_owed)

        monkeypatch.setattr(server._group, "submit", full)
        answer = await server.decide(ASKED)
        assert not answer.is_fallback
        assert [one.hex() for one in slow.stored] == [answer.decision_id]

    told(story)


@pytest.mark.parametrize("error", [Busy(), Unavailable("No answer."), ValueError("broken")])
def test_a_decision_that_cannot_be_stored_in_time_is_answered_all_the_same(
    told: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    async def story(server: LiveServer, slow: Slow) -> None:
        async def broken(piece: Any, *, is_owed: bool = False) -> Any:
            raise error if is_owed else Busy

        monkeypatch.setattr(server._group, "submit", broken)
        assert (await server.decide(ASKED)).actions
        assert slow.stored == []

    with caplog.at_level(logging.WARNING, "tilltal.server"):
        told(story)
    assert "not stored" in caplog.text


def _refusing(code: str) -> Callable[..., Awaitable[Any]]:
    async def refuse(*_: object) -> Any:
        raise EngineError.of(code, "No answer.")

    return refuse


@pytest.mark.parametrize("code", ["E501", "E505", "E536"])
def test_where_the_store_takes_no_writes_what_is_answered_is_marked(
    told: Callable[..., None], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    async def story(server: LiveServer, slow: Slow) -> None:
        slow.gate.set()
        for question, is_fallback in (("write", False), ("whose", True)):
            monkeypatch.setattr(server._store, question, _refusing(code))
            answer = await server.decide(PATIENT)
            assert [one.action for one in answer.actions] == ["hello"]
            assert (answer.is_fallback, answer.is_logged) == (is_fallback, False)
        figures = {(one.name, *one.labels.values()): one.value for one in server.metrics()}
        assert figures["tilltal_decisions_degraded_total", "store"] == 2
        assert figures["tilltal_decisions_degraded_total", "late"] == 0
        assert figures["tilltal_decisions_unlogged_total",] == 2
        assert await server.explain(answer.decision_id) is None

    told(story)


@pytest.mark.parametrize("question", ["write", "whose"])
def test_without_the_store_nobody_decides_so_that_another_server_may(
    told: Callable[..., None], monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    async def story(server: LiveServer, slow: Slow) -> None:
        slow.gate.set()
        with monkeypatch.context() as patched:
            patched.setattr(server._store, question, _refusing("E530"))
            with pytest.raises(Away):
                await server.decide(PATIENT)
            figures = {(one.name, *one.labels.values()): one.value for one in server.metrics()}
            assert figures["tilltal_decisions_unlogged_total",] == 0
        assert (await server.decide(PATIENT)).is_logged

    told(story)


def test_a_store_that_turns_out_to_be_away_when_time_is_over(
    told: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(server: LiveServer, slow: Slow) -> None:
        async def late(*_: object) -> None:
            await asyncio.sleep(60)

        monkeypatch.setattr(server._in_time, "decided", late)
        monkeypatch.setattr(server._store, "write", _refusing("E530"))
        with pytest.raises(Away):
            await server.decide(ASKED)
        assert not server._in_time.owed

    told(story)


def test_pauses_grow_while_work_fails_and_are_short_again_after(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    away = EngineError.of("E530", "away")
    outcomes: Iterator[EngineError | bool] = iter([away] * 6 + [True, False, away])

    async def portion() -> bool:
        outcome = next(outcomes, None)
        if outcome is None:
            raise asyncio.CancelledError
        if isinstance(outcome, EngineError):
            raise outcome
        if outcome:
            time.sleep(0.02)
        return outcome

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(service._repeat("waking", portion))
    assert 0.02 <= pauses.pop(6) < 0.25  # as long as the work took: half of the time is others'
    assert pauses == [0.25, 0.5, 1, 2, 4, 5, 0.25, 0.25]


def test_who_waits_for_others_to_be_decided_is_decided_whatever_the_budget(told: Callable[..., None]) -> None:
    async def story(server: LiveServer, slow: Slow) -> None:
        slow.gate.set()
        hasty = DecideRequest(identity={"crm": "u1"}, channel="push", budget_ms=0.000_001)
        answers = await asyncio.gather(*(server.decide(hasty) for _ in range(100)))
        assert not any(answer.is_fallback for answer in answers)

    told(story)
