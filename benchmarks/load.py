"""The load on a server, over HTTP: as fast as answers come, or at a rate whether it is ready or not.

It has to cost little itself: while it reads one answer, those who wait for theirs wait for it too.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do the work of a load, on a loop that is as fast as the server's."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


class Connection(asyncio.Protocol):
    """One keep-alive connection that speaks as much HTTP as is needed."""

    def __init__(self, port: int, secret: str) -> None:
        self._port = port
        head = f"Host: bench\r\nAuthorization: Bearer {secret}\r\nContent-Type: application/json\r\n"
        self._head = f"{head}Content-Length: "
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._got = b""

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_connection(lambda: self, "127.0.0.1", self._port)

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        self._answer = asyncio.get_running_loop().create_future()
        head = f"{method} {path} HTTP/1.1\r\n{self._head}{len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if end and self._answer and len(body) >= (int(length[1]) if length else 0):
            self._got = b""
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("The server closed the connection."))


async def closed_loop(
    ports: Sequence[int], secret: str, make: Callable[[int], tuple[str, bytes]], width: int, seconds: float
) -> tuple[float, int]:
    """Send as fast as answers come on `width` connections; return requests a second, and those refused."""
    done, refused = 0, 0
    end = time.perf_counter() + seconds

    async def one(number: int) -> None:
        nonlocal done, refused
        connection = Connection(ports[number % len(ports)], secret)
        await connection.open()
        while time.perf_counter() < end:
            path, body = make(number)
            status, _ = await connection.ask("POST", path, body)
            done += status == 200
            refused += status != 200

    started = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(width)))
    return done / (time.perf_counter() - started), refused


async def open_loop(
    ports: Sequence[int],
    secret: str,
    make: Callable[[int], tuple[str, bytes]],
    rate: float,
    seconds: float,
    width: int,
    after: str = "",
) -> list[float]:
    """Send at a rate, each request at its own instant; return seconds from there to its answer, sorted.

    `after` is a path asked once the answer is there, its time included: what was sent is readable then.
    """
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for number in range(width):
        connection = Connection(ports[number % len(ports)], secret)
        await connection.open()
        free.put_nowait(connection)
    times: list[float] = []

    async def one(due: float, path: str, body: bytes) -> None:
        connection = await free.get()
        status, _ = await connection.ask("POST", path, body)
        if after:
            await connection.ask("GET", after)
        times.append(time.perf_counter() - due)
        free.put_nowait(connection)
        assert status == 200, status

    start, tasks = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        due = start + number / rate
        path, body = make(number)
        delay = due - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        tasks.append(asyncio.create_task(one(due, path, body)))
    await asyncio.gather(*tasks)
    return sorted(times)


def percentile(times: Sequence[float], share: float) -> float:
    return times[min(int(len(times) * share), len(times) - 1)]


def wait_until_ready(port: int, secret: str) -> float:
    async def ready() -> bool:
        connection = Connection(port, secret)
        await connection.open()
        return (await connection.ask("GET", "/readyz"))[0] == 200

    started = time.perf_counter()
    while time.perf_counter() - started < 300:
        try:
            if run(ready()):
                return time.perf_counter() - started
        except OSError:
            time.sleep(0.05)
    sys.exit("The server did not become ready.")
