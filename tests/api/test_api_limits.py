"""Limits: size before and after decompression, depth, encodings, all bodies together; logs and figures."""

from __future__ import annotations

import gzip
import io
import json
import zlib

import pytest
from tests.api.callers import Api, problem
from tests.api.live_fake import FakeService

from tilltal.api.bodies import is_deeper
from tilltal.api.settings import ApiSettings
from tilltal.api.telemetry.logs import AccessLog

GZIP = {"Content-Encoding": "gzip"}


def test_a_body_over_the_limit(service: FakeService) -> None:
    api = Api(service, ApiSettings(body_limit_bytes=100))
    problem(api.post("/v1/batch", b" " * 101), 413, "H604")
    problem(api.post("/v1/decide/", b" " * 101, "key-decide"), 413, "H604")
    assert api.post("/v1/batch", b'{"batch":[]}' + b" " * 88).status_code == 200


def test_a_bomb_of_gzip(api: Api, service: FakeService) -> None:
    bomb = gzip.compress(b'{"batch":[' + b" " * 200_000_000 + b"]}", compresslevel=6)
    assert len(bomb) < 1_000_000
    problem(api.post("/v1/batch", bomb, headers=GZIP), 413, "H604")
    assert service.calls == 0


@pytest.mark.parametrize(
    "body",
    [b"no gzip", b"", gzip.compress(b"{}")[:-4], gzip.compress(b"{}") + b"x", zlib.compress(b"{}")],
    ids=["text", "empty", "cut", "followed", "zlib"],
)
def test_broken_gzip(api: Api, body: bytes) -> None:
    problem(api.post("/v1/batch", body, headers=GZIP), 400, "H617")


def test_an_encoding_that_is_not_known(api: Api) -> None:
    problem(api.post("/v1/batch", b"{}", headers={"Content-Encoding": "br"}), 415, "H607")


def test_all_bodies_together_are_limited_and_let_go(service: FakeService) -> None:
    api = Api(service, ApiSettings(held_limit_bytes=50))
    for _ in range(20):
        assert api.post("/v1/batch", b'{"batch":[]}' + b" " * 30).status_code == 200
        assert api.post("/v1/batch", gzip.compress(b'{"batch":[]}'), headers=GZIP).status_code == 200
        problem(api.post("/v1/batch", b"{"), 400, "H603")
    answer = api.post("/v1/batch", b'{"batch":[]}' + b" " * 39)
    problem(answer, 429, "H611")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("url", ["/v1/decide", "/v1/responses", "/v1/keys"])
@pytest.mark.parametrize("levels", [33, 200, 100_000])
def test_a_bomb_of_depth(api: Api, url: str, levels: int) -> None:
    body = b'{"identity":{},"x":' + b"[" * levels + b"]" * levels + b"}"
    key = "key-admin" if url == "/v1/keys" else "key-decide"
    problem(api.post(url, body, key), 400, "H605")


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        (b"5", 0),
        (b"[]", 1),
        (b'{"a":[{}]}', 3),
        (b'["[[[\\"[["]', 1),
        (b"[[],[],[]]", 2),
        (b'["\\\\",[]]', 2),
    ],
)
def test_depth_is_counted_outside_texts(text: bytes, depth: int) -> None:
    assert not is_deeper(text, depth)
    assert depth == 0 or is_deeper(text, depth - 1)


def test_the_access_log_names_routes_and_nobody(service: FakeService) -> None:
    stream = io.BytesIO()
    api = Api(service, ApiSettings(), AccessLog(stream))
    api.get("/v1/profiles/email/secret-person?names=secret-name")
    api.post("/v1/decide", {"identity": {"email": "secret-person"}}, "key-decide")
    api.get("/secret-path")
    api.call("BREW", "/v1/decide")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(each["method"], each["route"], each["status"]) for each in lines] == [
        ("GET", "/v1/profiles/{namespace}/{value}", 404),
        ("POST", "/v1/decide", 200),
        ("GET", "(none)", 404),
        ("OTHER", "(none)", 405),
    ]
    assert b"secret" not in stream.getvalue()
    assert len({each["request_id"] for each in lines}) == 4


def test_a_request_id_of_the_client_is_kept_if_harmless(api: Api) -> None:
    kept = api.get("/healthz", None, headers={"X-Request-Id": "abc-1.2_3"})
    assert kept.headers["x-request-id"] == "abc-1.2_3"
    for harmful in ("a b", "x" * 65, 'a"b'):
        made = api.get("/healthz", None, headers={"X-Request-Id": harmful})
        assert made.headers["x-request-id"] not in (harmful, "")


def test_metrics_in_the_format_of_prometheus(service: FakeService) -> None:
    api = Api(service, ApiSettings())
    for _ in range(3):
        api.get("/v1/profiles/crm/c1")
    text = api.get("/metrics", None).text
    route = "/v1/profiles/{namespace}/{value}"
    assert f'tilltal_http_requests_total{{method="GET",route="{route}",status="200"}} 3\n' in text
    assert f'tilltal_http_request_seconds_bucket{{route="{route}",le="+Inf"}} 3\n' in text
    assert f'tilltal_http_request_seconds_count{{route="{route}"}} 3\n' in text
    assert "tilltal_http_under_way 1\n" in text
    assert "# TYPE tilltal_events_total counter\ntilltal_events_total 0\n" in text
    assert text.count("# TYPE tilltal_http_request_seconds histogram\n") == 1
