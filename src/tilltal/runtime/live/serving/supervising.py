"""Work in the background that is to go on whatever happens: begun again after a failure, ever more slowly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 300.0
_log = logging.getLogger("tilltal.server")


def supervised(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Begin work that goes on until it returns or is cancelled.

    A failure is logged and the work begun again after a pause, which doubles with every failure up to five
    minutes, and is short again after work that lasted longer than that.
    """
    return asyncio.create_task(_for_ever(name, work), name=name)


async def ended(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait for all of them; what one dies of is logged and keeps nobody from ending."""
    for task in tasks:
        task.cancel()
    for task, outcome in zip(tasks, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
        if isinstance(outcome, Exception):
            _log.error("%s ended badly", task.get_name(), exc_info=outcome)


async def _for_ever(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
    while True:
        began = loop.time()
        try:
            return await work()
        except Exception:
            if loop.time() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            _log.exception("%s failed, begun again in %g s", name, pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
