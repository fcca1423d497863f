"""Ways to call the application in tests."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import httpx
import msgspec
from tests.api.live_fake import FakeService

from tilltal.api.app import create_app
from tilltal.api.serving.server import LiveServer, live_server
from tilltal.api.settings import ApiSettings
from tilltal.api.telemetry.logs import AccessLog


class Api:
    """Calls an application in process, one request at a time."""

    def __init__(
        self, service: FakeService, settings: ApiSettings, access_log: AccessLog | None = None
    ) -> None:
        self.app = create_app(service, settings, access_log)

    def call(self, method: str, url: str, key: str | None = None, **more: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(cast("Any", self.app))
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, url, **more)

        if key:
            more["headers"] = {"Authorization": f"Bearer {key}", **more.get("headers", {})}
        return asyncio.run(once())

    def post(self, url: str, body: object, key: str = "key-collect", **more: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return self.call("POST", url, key, content=content, **more)

    def get(self, url: str, key: str | None = "key-read", **more: Any) -> httpx.Response:
        return self.call("GET", url, key, **more)


class Listening(msgspec.Struct, frozen=True):
    """An application that listens on loopback."""

    url: str
    port: int
    server: LiveServer


@contextmanager
def listening(
    service: FakeService, settings: ApiSettings | None = None, port: int = 0
) -> Iterator[Listening]:
    """Run the server in a thread of its own."""
    allowed = settings or ApiSettings()
    taken = socket.create_server(("127.0.0.1", port), reuse_port=False)
    server = live_server(create_app(service, allowed), allowed, host="127.0.0.1", port=port, drain_seconds=2)
    running = threading.Thread(target=lambda: asyncio.run(server.serve([taken])), daemon=True)
    running.start()
    try:
        number = taken.getsockname()[1]
        _until_ready(f"http://127.0.0.1:{number}")
        yield Listening(f"http://127.0.0.1:{number}", number, server)
    finally:
        server.should_exit = True
        running.join(timeout=15)
        taken.close()
    assert not running.is_alive(), "the server does not stop"


def _until_ready(url: str) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(retries=20)) as client:
        assert client.get(f"{url}/healthz", timeout=10).status_code == 200


def problem(response: httpx.Response, status: int, code: str) -> Mapping[str, Any]:
    """Check that an answer is a problem as promised, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: Mapping[str, Any] = response.json()
    assert body["code"] == code, body
    assert body["message"]
    assert body["status"] == status
    assert body["type"] == f"urn:tilltal:error:{code}"
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["errors"][0]["code"] == code
    return body
