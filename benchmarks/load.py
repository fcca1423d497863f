"""The load on a server, over HTTP: as fast as answers come, or at a rate whether it is ready or not."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence


class Connection:
    """One keep-alive connection that speaks as much HTTP as is needed."""

    def __init__(self, port: int, secret: str) -> None:
        self._port = port
        self._head = f"Host: bench\r\nAuthorization: Bearer {secret}\r\nContent-Type: application/json\r\n"

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in answer.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return int(answer[9:12]), await self._reader.readexactly(length)


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
            if asyncio.run(ready()):
                return time.perf_counter() - started
        except OSError:
            time.sleep(0.05)
    sys.exit("The server did not become ready.")
