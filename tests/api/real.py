"""The application over the real service: SQLite in a workspace of its own, in process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from tilltal.api.app import LiveApp, create_app
from tilltal.runtime.intake import quarantine
from tilltal.runtime.intake.ingest import open_vault
from tilltal.runtime.live.places import files_of
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.progress import Silent
from tilltal.workspace.check import usable

SCOPES = ("collect", "decide", "read", "read-identity", "admin")


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body, read."""
        return json.loads(self.body)


class RealApi:
    """Calls the application as a server of ASGI would, any number of requests at a time."""

    def __init__(self, server: LiveServer, app: LiveApp, key: str) -> None:
        self.server = server
        self.app = app
        self.key = key

    async def send(self, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] = {}) -> Answer:
        """Send a request; `url` is percent-encoded, as it stands in the request's first line."""
        raw, _, query = url.encode().partition(b"?")
        stated = {"authorization": f"Bearer {self.key}", **headers}
        scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": method, "scheme": "http", "path": _decoded(raw), "raw_path": raw, "query_string": query,
            "root_path": "", "server": ("test", 80), "client": ("test", 1),
            "headers": [(name.lower().encode(), value.encode()) for name, value in stated.items()],
        }  # fmt: skip
        sent: list[Any] = []
        requests = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            return next(requests, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)  # type: ignore[arg-type]
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, b"".join(one.get("body", b"") for one in sent[1:]))

    async def post(self, url: str, body: object) -> Answer:
        """Send JSON, or bytes as they are."""
        return await self.send("POST", url, body if isinstance(body, bytes) else msgspec.json.encode(body))

    async def get(self, url: str) -> Answer:
        """Ask."""
        return await self.send("GET", url)


@asynccontextmanager
async def real_api(
    root: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> AsyncIterator[RealApi]:
    """Serve a workspace in process."""
    async with open_server(root, now, Silent()) as server:
        key = await server.create_key("tests", SCOPES)  # type: ignore[arg-type]
        yield RealApi(server, create_app(server), key.secret)


def set_aside(root: Path) -> list[tuple[tuple[str, ...], quarantine.Opened]]:
    """Return what lies in a workspace's quarantine: codes, and what they seal."""
    workspace = usable(root)
    with open_vault(workspace, {}) as vault:
        found = quarantine.entries(files_of(workspace))
        return [(one.codes, quarantine.opened(vault, one)) for one in found]


def _decoded(raw: bytes) -> str:
    """Return a path as a server decodes it."""
    from urllib.parse import unquote

    return unquote(raw.decode())
