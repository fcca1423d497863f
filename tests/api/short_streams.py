"""A proxy that ends streams of events once they are quiet, for clients that read every answer to its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_QUIET_SECONDS = 0.1
_LAST_CHUNK = b"0\r\n\r\n"


@contextmanager
def short_streams(port: int) -> Iterator[str]:
    """Stand before the server on a port of this machine; give the proxy's own address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    serving = asyncio.run_coroutine_threadsafe(_listen(port), loop).result(10)
    try:
        yield f"http://127.0.0.1:{serving.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(_end(serving), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _listen(port: int) -> asyncio.Server:
    async def connected(caller: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        server, asked = await asyncio.open_connection("127.0.0.1", port)
        asking = asyncio.create_task(_pass_on(caller, asked))
        try:
            with suppress(OSError):
                await _answer(server, answers)
        finally:
            asking.cancel()
            asked.close()
            answers.close()

    return await asyncio.start_server(connected, "127.0.0.1", 0)


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
        target.close()


async def _answer(server: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
    """Pass on answers until the server closes, or one that is a stream has ended."""
    is_stream = False
    while True:
        try:
            async with asyncio.timeout(_QUIET_SECONDS if is_stream else None):
                data = await server.read(65_536)
        except TimeoutError:
            answers.write(_LAST_CHUNK)
            return
        if not data:
            return
        answers.write(data)
        await answers.drain()
        head = data.partition(b"\r\n\r\n")[0].lower()
        is_stream = is_stream or (head.startswith(b"http/1.1 200") and b"text/event-stream" in head)


async def _end(serving: asyncio.Server) -> None:
    serving.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)  # connections that were closed let go of their sockets
