"""Long work in a process of its own, so that nobody who is served waits for the interpreter meanwhile.

It leaves the processor to others, its memory goes with it, and it ends if whoever began it is cancelled or
dies.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import ParamSpec

Given = ParamSpec("Given")

_NICE = 19
_PATIENCE_SECONDS = 10.0  # others may wait for what it does
_CONTEXT = get_context("spawn")  # a fork would take over threads' locks, and a server's memory


async def apart(work: Callable[Given, None], *args: Given.args, **kwargs: Given.kwargs) -> None:
    """Do work in a process of its own.

    Args:
        work: a function of a module.
        args: what it takes; like `kwargs`, what can be pickled.
        kwargs: the same by name.

    Raises:
        OSError: if the process dies of something else than an error; and what the work raises.
    """
    told, tells = _CONTEXT.Pipe(duplex=False)
    packed = pickle.dumps((work, args, kwargs))
    process = _CONTEXT.Process(target=_done, args=(tells, packed), daemon=True)
    running = asyncio.ensure_future(asyncio.to_thread(_run, process, told, tells))
    try:
        error = await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            if process.pid is not None:
                process.kill()
            await asyncio.wait([running], timeout=0.1)
        raise
    if error is not None:
        raise error


def _run(process: BaseProcess, told: connection.Connection, tells: connection.Connection) -> Exception | None:
    """Run a process to its end; return what went wrong."""
    with told:
        with tells:
            process.start()
        try:
            error: Exception | None = told.recv()
        except Exception as fault:
            process.join()
            return OSError(f"A process of Tilltal's own died (exit code {process.exitcode}): {fault!r}.")
        process.join()
        return error


def _done(tells: connection.Connection, packed: bytes) -> None:
    """Do work and tell of its error, if it raises any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # typed for all; the parent says what it means
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _stand_back()
    try:
        work, args, kwargs = pickle.loads(packed)  # noqa: S301 - of the process that began this one
        work(*args, **kwargs)
    except Exception as error:
        tells.send(error)
    else:
        tells.send(None)


def _stand_back() -> None:
    """Use a processor only while nobody else wants it, or seldom where the system has no such way."""
    with suppress(OSError):  # where a sandbox forbids it
        if hasattr(os, "nice"):
            os.nice(_NICE)
        if hasattr(os, "SCHED_IDLE"):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _end_with_parent() -> None:
    """End as soon as the parent does; after some patience, take a turn now and then."""
    parent = parent_process()
    if parent is None:
        return
    if not connection.wait([parent.sentinel], _PATIENCE_SECONDS):
        with suppress(OSError):  # threads may end meanwhile
            for thread in Path("/proc/self/task").iterdir():
                os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))
        connection.wait([parent.sentinel])
    os._exit(1)
