"""A stream of changes, and clients that are slow to say what they want."""

from __future__ import annotations

import asyncio
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.api.callers import Listening, listening
from tests.api.live_fake import MOMENT, PROFILE, FakeService

from tilltal.api.settings import ApiSettings
from tilltal.runtime.live.contract import ChangeNotice

SLOW = Path(__file__).with_name("slow_connections.py")
KEY = {"Authorization": "Bearer key-read"}
DECIDE = (
    b"POST /v1/decide HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-decide\r\n"
    b'content-length: 25\r\n\r\n{"identity":{"crm":"c1"}}'
)


def read_until(response: httpx.Response, text: str) -> str:
    found = ""
    for part in response.iter_text():
        found += part
        if text in found:
            return found
    raise AssertionError(f"the stream ended before {text!r}: {found!r}")


@pytest.mark.parametrize(
    ("url", "headers"),
    [("/v1/changes?after=1", {}), ("/v1/changes?after=0", {"Last-Event-ID": "1"})],
    ids=["after", "reconnect"],
)
def test_a_stream_goes_on_after_a_position(server: Listening, url: str, headers: dict[str, str]) -> None:
    with httpx.stream("GET", server.url + url, headers=KEY | headers, timeout=10) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        found = read_until(answer, "id: 3\n")
    assert "id: 1\n" not in found
    assert "id: 2\nevent: entered\ndata: {" in found


def test_a_stream_from_now_on(server: Listening, service: FakeService) -> None:
    with httpx.stream("GET", f"{server.url}/v1/changes", headers=KEY, timeout=10) as answer:
        parts = answer.iter_text()
        assert next(parts) == ": alive\n\n"
        time.sleep(0.1)
        notice = ChangeNotice(position=4, at=MOMENT, profile=PROFILE, kind="stage", name="loyal")
        service.changes.append(notice)
        service.changed.set()
        found = next(parts)
    data = found.partition("data: ")[2].strip()
    assert msgspec.json.decode(data, type=ChangeNotice) == notice


def test_signs_of_life_the_limit_and_the_end(service: FakeService) -> None:
    settings = ApiSettings(heartbeat_seconds=0.05, subscriber_limit=1)
    with listening(service, settings) as server:
        url = f"{server.url}/v1/changes"
        with httpx.stream("GET", url, headers=KEY, timeout=10) as answer:
            parts = answer.iter_text()
            assert [next(parts) for _ in range(3)] == [": alive\n\n"] * 3
            second = httpx.get(url, headers=KEY, timeout=10)
            assert (second.status_code, second.json()["code"]) == (429, "H611")
            assert service.open_subscriptions == 1
            server.server.should_exit = True
            assert set(parts) <= {": alive\n\n"}, "it ends at a stop"
    assert service.open_subscriptions == 0


def exchange(port: int, data: bytes, seconds: float = 5.0) -> bytes:
    """Send bytes and return all that comes until the server closes or the time is over."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as found:
        found.sendall(data)
        parts = []
        try:
            while part := found.recv(65_536):
                parts.append(part)
        except TimeoutError:
            parts.append(b"(open)")
        except ConnectionResetError:
            parts.append(b"(reset)")
    return b"".join(parts)


def test_a_body_that_does_not_come_is_408(service: FakeService) -> None:
    with listening(service, ApiSettings(body_timeout_seconds=0.2, keep_alive_seconds=1)) as server:
        found = exchange(server.port, DECIDE[:-5])
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"H608"' in found


@pytest.mark.parametrize("head", [b"", b"POST /v1/dec", b"POST /v1/decide HTTP/1.1\r\nhost: x\r\n"])
def test_a_head_that_does_not_come_is_closed(service: FakeService, head: bytes) -> None:
    with listening(service, ApiSettings(header_timeout_seconds=0.3)) as server:
        assert exchange(server.port, head) in (b"", b"(reset)")
        assert server.server.gate.given_up == 1


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"\x16\x03\x01 no http\r\n\r\n", b"400", b"H619"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000, b"431", b"H618"),
    ],
)
def test_what_is_no_request_is_told_in_json(
    server: Listening, data: bytes, status: bytes, code: bytes
) -> None:
    found = exchange(server.port, data)
    assert found.startswith(b"HTTP/1.1 " + status)
    assert b'"code":"' + code in found
    assert b'"message":"' in found


def test_above_the_limit_the_slowest_make_room(service: FakeService) -> None:
    with listening(service, ApiSettings(connection_limit=20)) as server:
        slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(60)]
        try:
            assert httpx.get(f"{server.url}/healthz", timeout=5).status_code == 200
            assert server.server.gate.total <= 20
            assert server.server.gate.given_up >= 40
        finally:
            for each in slow:
                each.close()


async def decisions(port: int, count: int) -> list[float]:
    """Decide one after the other, each on a connection of its own; return the seconds each took."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(DECIDE)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        took.append(time.perf_counter() - began)
        writer.close()
    return took


@pytest.mark.slow
def test_ten_thousand_slow_connections_do_not_stop_decisions(service: FakeService) -> None:
    count = 10_000
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < count + 2_000:
        pytest.skip(f"the system allows a process fewer than {count + 2_000} open files")
    settings = ApiSettings(header_timeout_seconds=120, body_timeout_seconds=120)
    with listening(service, settings) as server:
        command = [sys.executable, str(SLOW), str(server.port), str(count)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as slow:
            assert slow.stdout is not None
            assert slow.stdout.readline() == "ready\n"
            took = sorted(asyncio.run(decisions(server.port, 200)))
            assert server.server.gate.total >= count
            slow.communicate("")
    assert took[len(took) // 2] < 0.05
    assert took[-1] < 1.0
