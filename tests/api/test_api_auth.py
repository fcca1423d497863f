"""Who may do what: every route that needs a key, against every scope and every way to lack one."""

from __future__ import annotations

import base64

import pytest
from tests.api.callers import Api, problem
from tests.api.live_fake import SCOPES, FakeService

ROUTES = [
    ("POST", "/v1/batch", "collect"),
    *(
        ("POST", f"/v1/{kind}", "collect")
        for kind in ("identify", "track", "page", "screen", "group", "alias")
    ),
    ("POST", "/v1/decide", "decide"),
    ("POST", "/v1/decide/", "decide"),
    ("POST", "/v1/responses", "decide"),
    ("POST", "/v1/contacts", "decide"),
    ("POST", "/v1/contacts/batch", "decide"),
    ("POST", "/v1/contacts/outcomes", "decide"),
    ("POST", "/v1/contacts/none/commit", "decide"),
    ("POST", "/v1/contacts/none/fail", "decide"),
    ("GET", "/v1/decisions/d1/explain", "read"),
    ("GET", "/v1/profiles/crm/c1", "read"),
    ("GET", "/v1/profiles/crm/c1/timeline", "read"),
    ("GET", "/v1/profiles/crm/c1/decisions", "read"),
    ("GET", "/v1/audiences/vip/members", "read"),
    ("GET", "/v1/changes?after=x", "read"),
    ("GET", "/v1/keys", "admin"),
    ("POST", "/v1/keys", "admin"),
    ("POST", "/v1/keys/rotate", "admin"),
    ("DELETE", "/v1/keys/none", "admin"),
]


def test_every_route_is_in_the_matrix_or_open(api: Api) -> None:
    described = {
        (method.upper(), path, bool(found.get("security")))
        for path, methods in api.get("/schema/openapi.json", None).json()["paths"].items()
        for method, found in methods.items()
    }
    fill = {"{decision_id}": "d1", "{namespace}": "crm", "{value}": "c1", "{name}": "vip", "{key_id}": "none"}
    fill["{contact_id}"] = "none"
    needing = set()
    for method, path, is_secured in described:
        filled = path
        for name, value in fill.items():
            filled = filled.replace(name, value)
        if is_secured:
            needing.add((method, filled))
        else:
            assert path in ("/healthz", "/readyz", "/metrics")
    assert needing == {(method, url.partition("?")[0].rstrip("/")) for method, url, _ in ROUTES}


@pytest.mark.parametrize(("method", "url", "scope"), ROUTES)
@pytest.mark.parametrize("held", SCOPES)
def test_only_the_scope_of_a_route_opens_it(api: Api, method: str, url: str, scope: str, held: str) -> None:
    answer = api.call(method, url, f"key-{held}", content=b"5" if method == "POST" else None)
    if held == scope:
        assert answer.status_code not in (401, 403), answer.text
    else:
        assert problem(answer, 403, "H602")["errors"][0]["valid"] == [scope]


@pytest.mark.parametrize(("method", "url", "scope"), ROUTES)
@pytest.mark.parametrize(
    "header",
    [
        None,
        "Bearer wrong",
        "Bearer ",
        "Bearer",
        "Basic !!!",
        "Basic " + base64.b64encode(b"wrong:").decode(),
        "Basic " + base64.b64encode(b"\xff:").decode(),
        "Basic " + base64.b64encode(b":key-collect").decode(),
        "Digest key-collect",
        "key-collect",
    ],
)
def test_without_a_valid_key_nothing_opens(
    api: Api, service: FakeService, method: str, url: str, scope: str, header: str | None
) -> None:
    headers = {"Authorization": header} if header else {}
    answer = api.call(method, url, headers=headers, content=b"{}" if method == "POST" else None)
    problem(answer, 401, "H601")
    assert "basic" in answer.headers["www-authenticate"].lower()
    assert service.calls == 0


def test_a_revoked_key_opens_nothing(api: Api) -> None:
    assert api.call("DELETE", "/v1/keys/id-read", "key-admin").status_code == 204
    problem(api.get("/v1/profiles/crm/c1"), 401, "H601")


def test_a_write_key_in_the_body_does_not_help_a_wrong_header(api: Api) -> None:
    body = {"batch": [], "writeKey": "key-collect"}
    problem(api.call("POST", "/v1/batch", "wrong", json=body), 401, "H601")
