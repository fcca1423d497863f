"""Limits of time: as `asyncio.timeout` in all that they are used for."""

from __future__ import annotations

import asyncio
import time

import pytest

from tilltal.runtime.live.limits import Limits

SHORT, LONG = 0.02, 30.0


def test_what_lasts_too_long_is_given_up_and_nothing_else() -> None:
    async def waits(limits: Limits, budget: float, needs: float) -> str:
        try:
            with limits.within(budget):
                await asyncio.sleep(needs)
        except TimeoutError:
            return "late"
        return "in time"

    async def main() -> None:
        limits, began = Limits(), time.perf_counter()
        asked = [(LONG, 0.0), (SHORT, LONG), (LONG, 0.05), (SHORT / 4, LONG), (1e-9, LONG), (SHORT, 0.0)]
        found = await asyncio.gather(*(waits(limits, *each) for each in asked))
        assert found == ["in time", "late", "in time", "late", "late", "in time"]
        assert time.perf_counter() - began < LONG / 2
        assert await waits(limits, SHORT, LONG) == "late"

    asyncio.run(main())


def test_while_it_is_paused_nothing_is_given_up() -> None:
    async def main() -> None:
        limits = Limits()
        with limits.within(SHORT) as limit:
            limit.pause()
            await asyncio.sleep(2 * SHORT)
            limit.resume()
            limit.extend(LONG)
            await asyncio.sleep(SHORT)

        async def waits_on() -> None:
            with limits.within(SHORT) as limit:
                limit.pause()
                await asyncio.sleep(2 * SHORT)
                limit.resume()
                await asyncio.sleep(LONG)

        with pytest.raises(TimeoutError):
            await waits_on()

    asyncio.run(main())


def test_whoever_is_cancelled_is_cancelled() -> None:
    async def main() -> None:
        limits = Limits()

        async def waits() -> None:
            with limits.within(LONG):
                await asyncio.sleep(LONG)

        async def late() -> None:
            with limits.within(SHORT):
                await asyncio.sleep(LONG)

        task, other = asyncio.create_task(waits()), asyncio.create_task(late())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        asyncio.get_running_loop().call_later(SHORT, other.cancel)
        with pytest.raises((asyncio.CancelledError, TimeoutError)):
            await other

    asyncio.run(main())


def test_an_inner_limit_leaves_the_outer_one_alone() -> None:
    async def main() -> None:
        limits = Limits()

        async def waits(outer: float, inner: float) -> None:
            with limits.within(outer), limits.within(inner):
                await asyncio.sleep(LONG)

        for outer, inner in ((LONG, SHORT), (SHORT, LONG)):
            with pytest.raises(TimeoutError):
                await waits(outer, inner)
        with limits.within(LONG):
            with pytest.raises(TimeoutError):
                await waits(LONG, SHORT)
            await asyncio.sleep(0)

    asyncio.run(main())


def test_what_fails_fails_as_it_does() -> None:
    async def main() -> None:
        limits = Limits()
        with pytest.raises(KeyError), limits.within(SHORT):
            raise KeyError("a")
        with limits.within(1e-9):
            pass
        await asyncio.sleep(SHORT)  # nobody is cancelled later

    asyncio.run(main())


def test_what_need_not_wait_has_no_limit_and_what_waits_has_one() -> None:
    async def main() -> None:
        limits = Limits()

        async def gives(seconds: float, *more: float) -> int:
            for each in (seconds, *more):
                if each:
                    await asyncio.sleep(each)
            return len(more)

        assert await limits.done(gives(0), 1e-9) == (0, False)
        assert await limits.done(gives(0, SHORT, SHORT), LONG) == (2, True)
        with pytest.raises(TimeoutError):
            await limits.done(gives(SHORT, LONG), 2 * SHORT)

    asyncio.run(main())


def test_what_is_waited_for_hears_of_its_end() -> None:
    async def main() -> None:
        limits, came = Limits(), asyncio.Event()
        heard: list[str] = []

        async def waits() -> str:
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                heard.append("cancelled")
                raise
            finally:
                heard.append("over")
            return "never"

        async def fails() -> str:
            await came.wait()
            raise KeyError("a")

        task, failing = (asyncio.create_task(limits.done(each, LONG)) for each in (waits(), fails()))
        await asyncio.sleep(0)
        task.cancel()
        came.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert heard == ["cancelled", "over"]
        with pytest.raises(KeyError):
            await failing

    asyncio.run(main())
