"""What a webhook's receiver hears from the real server."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.e2e.serving import Forking, Server, Shop, purchase, until
from tests.postgres_server import PostgresServer, postgres, postgres_dsn

from tilltal.runtime.live.contract import Message
from tilltal.runtime.live.serving import lags, reloading
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.progress import Silent

__all__ = ["postgres", "postgres_dsn"]
pytestmark = pytest.mark.slow

SECRET = "a secret of tests"


class Receiver:
    """Hears calls; the first answers are those it is told to give."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.calls: list[tuple[int, Mapping[str, str], bytes]] = []
        self.port = 0

    def heard(self) -> list[Any]:
        """Return the changes of the calls that were answered 200."""
        bodies = [msgspec.json.decode(body) for status, _, body in self.calls if status == 200]
        return [change for body in bodies for change in body["changes"]]


@contextmanager
def receiving() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = found.answers.pop(0) if found.answers else 200
            found.calls.append((status, dict(self.headers.items()), body))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()


def is_signed(headers: Mapping[str, str], body: bytes) -> bool:
    """Verify a signature as a receiver would, from the documentation alone."""
    parts = dict(part.split("=", 1) for part in headers["tilltal-signature"].split(","))
    assert abs(time.time() - int(parts["t"])) < 60
    expected = hmac.new(SECRET.encode(), f"{parts['t']}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts["v1"])


def test_each_change_is_told_in_order_though_calls_fail(tmp_path: Path, forking: Forking) -> None:
    with receiving() as receiver:
        shop = Shop(tmp_path / "shop", settings=_hooks(receiver))
        receiver.answers = [500, 503]
        with Server(shop, shop.key(), forking=forking, environment={"HOOK_SECRET": SECRET}) as server:
            server.send(*(purchase(number, f"u{number}") for number in range(2)))
            server.send(*(purchase(10 + number, f"u{number}") for number in range(2)))
            until(lambda: len(receiver.heard()) >= 2, 30)
            server.send(purchase(20, "u0"))
            until(lambda: len(receiver.heard()) >= 3, 30)
            server.kill()
            server.start()
            server.send(purchase(21, "u0"))
            until(lambda: len(receiver.heard()) >= 4, 30)
        heard = list({change["position"]: change for change in receiver.heard()}.values())
        u0 = heard[2]["profile"]
    assert [change["name"] for change in heard] == ["even"] * 4
    assert sorted(one["position"] for one in heard) == [one["position"] for one in heard]
    assert [one["kind"] for one in heard if one["profile"] == u0] == ["entered", "left", "entered"]
    assert all(is_signed(headers, body) for _, headers, body in _lowered(receiver))
    first, second, third = (headers["idempotency-key"] for _, headers, _ in _lowered(receiver)[:3])
    assert first == second == third, "the same changes again have the same key"
    assert [status for status, _, _ in receiver.calls[:3]] == [500, 503, 200]


def test_a_database_that_was_away_is_told_of_afterwards(
    tmp_path: Path, forking: Forking, postgres: PostgresServer, postgres_dsn: str
) -> None:
    with receiving() as receiver:
        shop = Shop(tmp_path / "shop", postgres_dsn, settings=_hooks(receiver))
        with Server(shop, shop.key(), forking=forking, environment={"HOOK_SECRET": SECRET}) as server:
            postgres.kill()
            try:
                until(lambda: server.readiness() == 503, 10)
                time.sleep(1.5)  # longer than a webhook's pause between two looks
            finally:
                postgres.start()
            server.wait_ready()
            server.send(purchase(1, "u0"), purchase(2, "u0"))
            until(lambda: receiver.heard(), 30)
            assert [change["name"] for change in receiver.heard()] == ["even"]


def test_definitions_that_come_into_force_change_who_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(lags, "_LOOK_SECONDS", 0.05)
    with receiving() as first, receiving() as second:
        shop = Shop(tmp_path / "shop", settings=_hooks(first))

        async def come_into_force(server: LiveServer, settings: str, *stages: str) -> None:
            version = server.force.version
            Shop(shop.root, settings=settings)
            await _soon(lambda: server.force.version != version)
            await _soon(lambda: _hook_stages(server) == list(stages))

        async def story() -> None:
            environment = {"HOOK_SECRET": SECRET}
            async with open_server(shop.root, _now, Silent(), environment) as server:
                await _soon(lambda: _hook_stages(server) == ["webhook crm"])
                await _enter(server, "u1")
                await _soon(lambda: len(first.heard()) == 1)
                await come_into_force(server, _hooks(second), "webhook crm")
                await _enter(server, "u2")
                await _soon(lambda: len(second.heard()) == 1)
                await come_into_force(server, "webhooks: {}\n")
                await _enter(server, "u3")
                await asyncio.sleep(1.5)  # longer than a webhook's pause between two looks
            assert [len(one.heard()) for one in (first, second)] == [1, 1]

        asyncio.run(story())


def test_definitions_whose_webhook_lacks_its_secret_do_not_come_into_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reloading, "_LOOK_SECONDS", 0.05)
    with receiving() as receiver:
        shop = Shop(tmp_path / "shop", settings=_hooks(receiver))

        async def story() -> None:
            environment = {"HOOK_SECRET": SECRET}
            async with open_server(shop.root, _now, Silent(), environment) as server:
                version = server.force.version
                settings = (shop.root / "tilltal.yaml").read_text("utf-8")
                shop.write("tilltal.yaml", settings.replace("HOOK_SECRET", "ABSENT"))
                await _soon(lambda: "definitions not taken over" in caplog.text)
                assert "E541" in caplog.text
                assert server.force.version == version
                await _enter(server, "u1")
                await _soon(lambda: len(receiver.heard()) == 1)

        asyncio.run(story())


def _now() -> datetime:
    return datetime.now(UTC)


def _hook_stages(server: LiveServer) -> list[str]:
    return [stage for stage in server.figures.behind if stage.startswith("webhook ")]


async def _enter(server: LiveServer, customer: str) -> None:
    """Let a customer buy twice."""
    number = 10 * int(customer[1:])
    documents = [purchase(number + each, customer) for each in range(2)]
    messages = [
        Message(
            index=index, type="track", message_id=f"m{number + index}", user_id=customer, anonymous_id=None,
            event="purchase", timestamp=_now(), document=document,
        )
        for index, document in enumerate(documents)
    ]  # fmt: skip
    assert (await server.collect(messages, _now())).accepted == 2


async def _soon(condition: Callable[[], object]) -> None:
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen in time")


def _hooks(receiver: Receiver) -> str:
    url = f"http://127.0.0.1:{receiver.port}/"
    return f"""
        webhooks:
          crm: {{url: "{url}", secret: HOOK_SECRET, audiences: [even], changes: [entered, left]}}
        """


def _lowered(receiver: Receiver) -> list[tuple[int, dict[str, str], bytes]]:
    return [
        (status, {name.lower(): value for name, value in headers.items()}, body)
        for status, headers, body in receiver.calls
    ]
