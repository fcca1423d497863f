"""Group commit: everybody is answered after the disk has it, one bad piece fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from tilltal.core.errors import EngineError
from tilltal.runtime.live.contract import Busy, Unavailable
from tilltal.runtime.live.serving.group import GroupCommit


class Piece(msgspec.Struct, frozen=True):
    name: str
    weight: int = 1


class Disk:
    """Notes groups; is slow, so that pieces meet; refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.fails: dict[str, Exception] = {}

    async def run(self, pieces: Sequence[Piece]) -> list[str]:
        await asyncio.sleep(0.001)
        for piece in pieces:
            if piece.name in self.fails:
                raise self.fails[piece.name]
        self.groups.append([piece.name for piece in pieces])
        return [piece.name.upper() for piece in pieces]


async def all_of(group: GroupCommit[Piece, str], *pieces: Piece) -> list[str | BaseException]:
    return list(await asyncio.gather(*(group.submit(one) for one in pieces), return_exceptions=True))


def test_what_comes_meanwhile_shares_a_transaction() -> None:
    async def main() -> None:
        disk = Disk()
        group = GroupCommit(disk.run)
        group.start()
        first = asyncio.create_task(group.submit(Piece("a")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await all_of(group, Piece("b"), Piece("c")) == ["B", "C"]
        assert await first == "A"
        assert disk.groups == [["a"], ["b", "c"]]
        await group.close()

    asyncio.run(main())


def test_a_group_is_no_heavier_than_allowed() -> None:
    async def main() -> None:
        disk = Disk()
        group = GroupCommit(disk.run, most=5)
        pieces = [Piece("a", 2), Piece("b", 2), Piece("c", 2), Piece("huge", 50), Piece("d", 1)]
        waiting = asyncio.gather(*(group.submit(piece) for piece in pieces))
        await asyncio.sleep(0)
        group.start()
        assert await waiting == ["A", "B", "C", "HUGE", "D"]
        assert disk.groups == [["a", "b"], ["c"], ["huge"], ["d"]]
        await group.close()

    asyncio.run(main())


def test_one_bad_piece_fails_alone() -> None:
    async def main() -> None:
        disk = Disk()
        disk.fails["b"] = ValueError("bad")
        group = GroupCommit(disk.run)
        waiting = asyncio.gather(*(group.submit(Piece(name)) for name in "abc"), return_exceptions=True)
        await asyncio.sleep(0)
        group.start()
        found = await waiting
        assert found[0] == "A"
        assert isinstance(found[1], ValueError)
        assert found[2] == "C"
        await group.close()

    asyncio.run(main())


def test_a_store_that_is_gone_is_unavailable_and_work_goes_on() -> None:
    async def main() -> None:
        disk = Disk()
        disk.fails["a"] = EngineError.of("E530", "No answer.")
        group = GroupCommit(disk.run)
        group.start()
        with pytest.raises(Unavailable, match="No answer"):
            await group.submit(Piece("a"))
        assert await group.submit(Piece("b")) == "B"
        await group.close()

    asyncio.run(main())


def test_whoever_comes_when_too_much_waits_is_told_to_come_back() -> None:
    async def main() -> None:
        group = GroupCommit(Disk().run, most_waiting=3)
        waiting = [asyncio.create_task(group.submit(Piece(name))) for name in "abc"]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await group.submit(Piece("d"))
        assert group.waiting == 3
        group.start()
        assert await asyncio.gather(*waiting) == ["A", "B", "C"]
        assert await group.submit(Piece("e")) == "E"
        await group.close()

    asyncio.run(main())


def test_closing_finishes_what_waits_and_takes_no_more() -> None:
    async def main() -> None:
        disk = Disk()
        group = GroupCommit(disk.run)
        group.start()
        waiting = [asyncio.create_task(group.submit(Piece(name))) for name in "ab"]
        await asyncio.sleep(0)
        await group.close()
        assert await asyncio.gather(*waiting) == ["A", "B"]
        with pytest.raises(Unavailable):
            await group.submit(Piece("c"))

    asyncio.run(main())


def test_what_is_answered_anyway_may_still_wait_when_others_are_turned_away() -> None:
    async def main() -> None:
        group = GroupCommit(Disk().run, most_waiting=2)
        waiting = [asyncio.create_task(group.submit(Piece(name))) for name in "ab"]
        waiting += [asyncio.create_task(group.submit(Piece(name), is_owed=True)) for name in "cd"]
        await asyncio.sleep(0)
        for is_owed in (False, True):
            with pytest.raises(Busy):
                await group.submit(Piece("e"), is_owed=is_owed)
        group.start()
        assert await asyncio.gather(*waiting) == ["A", "B", "C", "D"]
        await group.close()

    asyncio.run(main())


def test_work_of_a_caller_who_has_gone_is_not_done() -> None:
    async def main() -> None:
        disk = Disk()
        group = GroupCommit(disk.run)
        gone = asyncio.create_task(group.submit(Piece("a")))
        await asyncio.sleep(0)
        gone.cancel()
        group.start()
        assert await group.submit(Piece("b")) == "B"
        assert disk.groups == [["b"]]
        assert group.waiting == 0
        await group.close()

    asyncio.run(main())


@pytest.mark.parametrize("is_done", [False, True], ids=["under way", "done"])
def test_a_result_that_nobody_hears_of_is_made_good_even_as_the_server_stops(is_done: bool) -> None:
    async def main() -> None:
        disk = Disk()

        async def run(pieces: Sequence[Piece]) -> list[str]:
            results = await disk.run(pieces)
            if is_done:
                asyncio.get_running_loop().call_soon(task.cancel)  # when the result is there, not yet heard
            else:
                task.cancel()
                await asyncio.sleep(0)
            return results

        group = GroupCommit(run, unheard=lambda result: [Piece("undo " + result)] if len(result) == 1 else [])
        group.start()
        task = asyncio.create_task(group.submit(Piece("a")))
        await asyncio.sleep(0)
        await group.close()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert disk.groups == [["a"], ["undo A"]]
        assert group.waiting == 0

    asyncio.run(main())
