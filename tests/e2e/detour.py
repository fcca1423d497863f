"""A proxy before a server that answers some requests badly: what a client meets on a bad day."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import ClassVar, Literal

import httpx

Trouble = Literal["busy", "unavailable", "unanswered"]

_ANSWERS: dict[Trouble, tuple[int, bytes]] = {
    "busy": (429, b'{"code":"H611","message":"the server is busy"}'),
    "unavailable": (503, b'{"code":"H612","message":"the service is not available"}'),
}


class Detour:
    """Requests seen, and what is to happen to the next ones.

    busy, unavailable: answered so without asking the server. unanswered: the server takes the request, and
    the connection closes without its answer.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.target = ""
        self.troubles: deque[Trouble] = deque()
        self.times: list[float] = []
        self.statuses: list[int] = []
        self.encodings: set[str] = set()
        self.retries: list[str] = []

    def expect(self, *troubles: Trouble) -> None:
        """Begin anew, with these troubles for the first requests."""
        self.troubles = deque(troubles)
        self.times.clear()
        self.statuses.clear()
        self.encodings.clear()
        self.retries.clear()


class _Handler(BaseHTTPRequestHandler):
    detour: ClassVar[Detour]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        detour = self.detour
        body = self.rfile.read(int(self.headers["content-length"]))
        detour.times.append(time.monotonic())
        detour.encodings.add(self.headers.get("content-encoding", ""))
        detour.retries.append(self.headers.get("x-retry-count", ""))
        trouble = detour.troubles.popleft() if detour.troubles else None
        if trouble in _ANSWERS:
            self._answer(*_ANSWERS[trouble])
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        found = httpx.post(f"{detour.target}{self.path}", content=body, headers=headers, timeout=30)
        if trouble == "unanswered":
            detour.statuses.append(0)
            self.close_connection = True
            return
        self._answer(found.status_code, found.content)

    def _answer(self, status: int, body: bytes) -> None:
        self.detour.statuses.append(status)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if status in (429, 503):
            self.send_header("retry-after", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def detour_to(target: str) -> Iterator[Detour]:
    """Run a proxy to a server for the block."""
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        detour = Detour(f"http://127.0.0.1:{server.server_address[1]}")
        detour.target = target
        handler.detour = detour  # type: ignore[attr-defined]
        running = threading.Thread(target=server.serve_forever, daemon=True)
        running.start()
        try:
            yield detour
        finally:
            server.shutdown()


def pauses(times: Sequence[float]) -> list[float]:
    """Return the seconds between requests."""
    return [later - earlier for earlier, later in pairwise(times)]
