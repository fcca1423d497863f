"""Work by turns: who came at the same time takes each step together, one failure is one caller's."""

from __future__ import annotations

import asyncio

import pytest

from tilltal.runtime.live.turns import Steps, Turns, done


class Diary:
    """Makes work that notes its steps, and fails in the second where told to."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def work(self, name: str, *, fails: bool = False) -> Steps[str]:
        self.steps.append(f"{name}1")
        yield
        if fails:
            raise ValueError(name)
        self.steps.append(f"{name}2")
        return name.upper()


def test_who_came_together_takes_each_step_together() -> None:
    async def main() -> None:
        diary, turns = Diary(), Turns(most=8)
        found = await asyncio.gather(*(turns.take(diary.work(name)) for name in "abc"))
        assert found == ["A", "B", "C"]
        assert diary.steps == ["a1", "b1", "c1", "a2", "b2", "c2"]
        assert await turns.take(diary.work("d")) == "D"

    asyncio.run(main())


def test_other_work_has_its_turn_after_each_portion() -> None:
    async def main() -> None:
        diary, turns = Diary(), Turns(most=2)

        async def other() -> None:
            for _ in range(4):
                diary.steps.append("-")
                await asyncio.sleep(0)

        await asyncio.gather(*(turns.take(diary.work(name)) for name in "abcde"), other())
        assert "".join(diary.steps) == "-a1b1a2b2-c1d1c2d2--e1e2"

    asyncio.run(main())


def test_who_comes_with_the_next_look_at_the_network_is_of_the_portion() -> None:
    async def main() -> None:
        diary, turns = Diary(), Turns(most=8)

        async def later(name: str) -> None:
            await asyncio.sleep(0)
            await turns.take(diary.work(name))

        await asyncio.gather(turns.take(diary.work("a")), later("b"))
        assert diary.steps == ["a1", "b1", "a2", "b2"]

    asyncio.run(main())


def test_a_portion_that_is_not_full_waits_for_nobody_once_a_look_brought_nobody() -> None:
    async def main() -> None:
        diary, turns, rounds = Diary(), Turns(most=8), 0

        async def count() -> None:
            nonlocal rounds
            while True:
                rounds += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        for name in "abcd":
            assert await turns.take(diary.work(name)) == name.upper()
        counting.cancel()
        assert rounds <= 20  # of the loop; each of the four takes two looks and is told: no time passes

    asyncio.run(main())


def test_what_fails_is_the_callers_alone() -> None:
    async def main() -> None:
        diary, turns = Diary(), Turns(most=8)
        waiting = (turns.take(diary.work(name, fails=name == "b")) for name in "abc")
        one, two, three = await asyncio.gather(*waiting, return_exceptions=True)
        assert (one, three) == ("A", "C")
        assert isinstance(two, ValueError)
        assert diary.steps == ["a1", "b1", "c1", "a2", "c2"]

    asyncio.run(main())


def test_nothing_is_done_for_a_caller_who_has_gone() -> None:
    async def main() -> None:
        diary, turns = Diary(), Turns(most=8)
        gone, stays = (asyncio.create_task(turns.take(diary.work(name))) for name in "ab")
        asyncio.get_running_loop().call_soon(gone.cancel)
        assert await stays == "B"
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert diary.steps == ["b1", "b2"]

    asyncio.run(main())


def test_alone_all_steps_are_taken_at_once() -> None:
    diary = Diary()
    assert done(diary.work("a")) == "A"
    with pytest.raises(ValueError, match="b"):
        done(diary.work("b", fails=True))
    assert diary.steps == ["a1", "a2", "b1"]
