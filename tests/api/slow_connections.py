"""A process that opens connections, says half a request on each, and waits: `slow_connections.py PORT COUNT`.

It prints `ready` once all are open and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import resource
import sys

HEAD = b"POST /v1/decide HTTP/1.1\r\nhost: x\r\n"
WHOLE_HEAD = HEAD + b"content-length: 25\r\n\r\n{"


async def main(port: int, count: int) -> None:
    """Open the connections, half of them without a whole head, half without a whole body."""
    writers = []
    for number in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD if number % 2 else WHOLE_HEAD)
        writers.append(writer)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
