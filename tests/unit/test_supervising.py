"""Background work: begun again after every failure, ever more slowly, and never in the way of the end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tilltal.runtime.live.serving import supervising
from tilltal.runtime.live.serving.supervising import ended, supervised


def test_work_is_begun_again_with_growing_pauses_until_it_returns(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []
    tries: list[int] = []
    monkeypatch.setattr(supervising, "_LONGEST_PAUSE", 1.5)

    async def paused(seconds: float) -> None:
        pauses.append(seconds)

    async def work() -> None:
        tries.append(len(tries))
        if len(tries) < 5:
            raise KeyError("anything")

    async def story() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", paused)
            await supervised("work", work)

    with caplog.at_level(logging.ERROR, "tilltal.server"):
        asyncio.run(story())
    assert len(tries) == 5
    assert pauses == [0.5, 1.0, 1.5, 1.5]
    assert caplog.records[0].message == "work failed, begun again in 0.5 s"
    assert len(caplog.records) == 4


def test_pauses_are_short_again_after_work_that_lasted(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(supervising, "_LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(supervising, "_FIRST_PAUSE", 0.01)
    sleep = asyncio.sleep

    async def paused(seconds: float) -> None:
        pauses.append(seconds)

    async def work() -> None:
        if len(pauses) == 3:
            await sleep(0.1)
        if len(pauses) < 5:
            raise OSError

    async def story() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", paused)
            await supervised("work", work)

    asyncio.run(story())
    assert pauses == [0.01, 0.02, 0.04, 0.01, 0.02]


def test_what_a_task_dies_of_keeps_nobody_from_ending(caplog: pytest.LogCaptureFixture) -> None:
    async def dead() -> None:
        raise RuntimeError

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError

    async def endless() -> None:
        await asyncio.Event().wait()

    async def story() -> list[bool]:
        tasks = [
            asyncio.create_task(dead()),
            asyncio.create_task(stubborn(), name="stubborn"),
            supervised("endless", endless),
        ]
        await asyncio.sleep(0)
        await ended(*tasks)
        return [task.done() for task in tasks]

    with caplog.at_level(logging.ERROR, "tilltal.server"):
        assert asyncio.run(story()) == [True, True, True]
    assert "stubborn ended badly" in caplog.text
