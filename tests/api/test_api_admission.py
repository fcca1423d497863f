"""Admission: keys are looked at before bodies, and those without one crowd out nobody."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from tests.api.callers import Api, Listening, listening, problem
from tests.api.live_fake import FakeService

from tilltal.api.settings import ApiSettings

SMALL = ApiSettings(
    held_limit_bytes=3_000,
    decide_held_limit_bytes=3_000,
    keyless_held_limit_bytes=2_000,
    keyless_body_limit_bytes=1_000,
)
DECIDE = b'{"identity":{"crm":"c1"}}'
BATCH = b'{"batch":[],"writeKey":"key-collect"}'


@contextmanager
def half_sent(server: Listening, path: str, key: str | None, count: int) -> Iterator[bytes]:
    """Say that a body comes and send all but its last byte; gives what is answered within a moment."""
    header = f"authorization: Bearer {key}\r\n" if key else ""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{header}content-length: {count}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.3) as found:
        found.sendall(head.encode() + b" " * (count - 1))
        try:
            yield found.recv(65_536)
        except TimeoutError:
            yield b""


def post(server: Listening, path: str, key: str | None, body: bytes) -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.post(server.url + path, headers=headers, content=body, timeout=5).status_code


@pytest.mark.parametrize(
    "path", ["/v1/decide", "/v1/decide/", "/v1/responses", "/v1/batch", "/v1/track", "/v1/keys"]
)
@pytest.mark.parametrize(("key", "status"), [("wrong", 401), ("key-read", 403)])
def test_a_body_is_not_waited_for_without_the_right_key(
    server: Listening, path: str, key: str, status: int
) -> None:
    with half_sent(server, path, key, 500) as answer:
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("path", ["/v1/decide", "/v1/decide/", "/v1/track"])
def test_a_key_that_ended_while_the_body_came_opens_nothing(
    server: Listening, service: FakeService, path: str
) -> None:
    scope = "collect" if path == "/v1/track" else "decide"
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-{scope}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as found:
        found.sendall(f"{head}content-length: {len(DECIDE)}\r\n\r\n".encode() + DECIDE[:-1])
        assert post(server, "/v1/responses", "key-decide", b"[]") == 200  # the head was read before
        del service.secrets[f"key-{scope}"]
        found.sendall(DECIDE[-1:])
        assert found.recv(65_536).startswith(b"HTTP/1.1 401 ")
    assert (service.calls, service.decided) == (0, [])


@pytest.mark.parametrize("path", ["/v1/decide", "/v1/responses", "/v1/keys", "/nothing"])
def test_a_body_without_a_key_is_waited_for_by_the_collector_alone(server: Listening, path: str) -> None:
    with half_sent(server, path, None, 500) as answer:
        assert answer.startswith(b"HTTP/1.1 40")


def test_those_without_a_key_crowd_out_nobody_with_one(service: FakeService) -> None:
    with listening(service, SMALL) as server, ExitStack() as held:
        for _ in range(4):
            held.enter_context(half_sent(server, "/v1/batch", None, 700))
        assert post(server, "/v1/batch", None, BATCH + b" " * 800) == 429
        assert post(server, "/v1/batch", "key-collect", b'{"batch":[]}' + b" " * 2_900) == 200
        assert post(server, "/v1/decide", "key-decide", DECIDE + b" " * 2_900) == 200
    assert service.calls == 1


def test_decisions_have_a_share_of_their_own(service: FakeService) -> None:
    with listening(service, SMALL) as server, ExitStack() as held:
        for _ in range(2):
            held.enter_context(half_sent(server, "/v1/batch", "key-collect", 1_400))
        assert post(server, "/v1/batch", "key-collect", b'{"batch":[]}' + b" " * 800) == 429
        assert post(server, "/v1/responses", "key-decide", b"[]" + b" " * 800) == 429
        assert post(server, "/v1/decide", "key-decide", DECIDE + b" " * 2_900) == 200


def test_bodies_without_a_key_are_small_and_let_go(service: FakeService) -> None:
    api = Api(service, SMALL)
    for _ in range(5):
        assert api.call("POST", "/v1/batch", content=BATCH + b" " * 900).status_code == 200
        problem(api.call("POST", "/v1/batch", content=BATCH + b" " * 1_000), 413, "H604")
        packed = gzip.compress(BATCH + b" " * 2_000)
        answer = api.call("POST", "/v1/batch", content=packed, headers={"Content-Encoding": "gzip"})
        problem(answer, 413, "H604")
        problem(api.call("POST", "/v1/batch", content=b'{"writeKey":"wrong"}' + b" " * 900), 401, "H601")
    assert api.post("/v1/batch", b'{"batch":[]}' + b" " * 2_000).status_code == 200


@pytest.mark.parametrize("header", ["", "Basic !!!", "Basic Og==", "Digest x"])
def test_a_key_in_the_body_counts_only_without_the_header(api: Api, header: str) -> None:
    answer = api.call("POST", "/v1/batch", content=BATCH, headers={"Authorization": header})
    problem(answer, 401, "H601")


def test_a_connection_goes_on_after_a_body_that_nobody_read(server: Listening) -> None:
    with httpx.Client(base_url=server.url, timeout=5) as client:
        for _ in range(3):
            refused = client.post("/v1/decide", content=b" " * 3_000_000)
            assert refused.status_code == 401
            decided = client.post(
                "/v1/decide", content=DECIDE, headers={"Authorization": "Bearer key-decide"}
            )
            assert decided.status_code == 200


@pytest.mark.parametrize("path", ["/v1/decide/", "/v1/decide//", "/v1//decide", "//v1/decide"])
def test_other_spellings_of_an_address_are_served_or_refused_alike(api: Api, path: str) -> None:
    url = f"http://test{path}"
    assert api.post(url, DECIDE, "key-decide").status_code == 200
    problem(api.post(url, DECIDE, "wrong"), 401, "H601")
