"""The description of the API: every route with its bodies, errors and keys; and schemathesis against it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.api.callers import Api, listening
from tests.api.live_fake import SCOPES, FakeService


@pytest.fixture(scope="module")
def described(shared: tuple[FakeService, Api]) -> dict[str, Any]:
    found: dict[str, Any] = shared[1].get("/schema/openapi.json", None).json()
    return found


def operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, found) for path, all_ in described["paths"].items() for method, found in all_.items()
    ]


def test_every_route_served_is_described(api: Api, described: dict[str, Any]) -> None:
    served = {
        (path.replace(":str", ""), method.lower())
        for route in api.app.routes
        for path in [route.path]
        for method in getattr(route, "methods", ())
        if method != "OPTIONS" and not path.startswith("/schema")
    }
    assert {(path, method) for path, method, _ in operations(described)} == served
    assert len(served) == 27


def test_every_post_has_a_body_and_a_success(described: dict[str, Any]) -> None:
    for path, method, found in operations(described):
        is_step = path.endswith(("/commit", "/fail"))
        assert ("requestBody" in found) == (method == "post" and not is_step), path
        assert {"200", "204"} & set(found["responses"]), path
        assert found["summary"], path


def test_every_route_with_a_key_tells_its_errors(described: dict[str, Any]) -> None:
    secured = [found for _, _, found in operations(described) if found.get("security")]
    assert len(secured) == 24
    for found in secured:
        assert {"400", "401", "403", "429", "500", "503"} <= set(found["responses"])
        problem = found["responses"]["401"]["content"]["application/problem+json"]["schema"]
        assert problem == {"$ref": "#/components/schemas/Problem"}
    assert set(described["components"]["securitySchemes"]) == {"bearer", "basic"}


def test_answers_are_as_described(api: Api, described: dict[str, Any]) -> None:
    answers = {
        "DecideAnswer": api.post("/v1/decide", {"identity": {"crm": "c1"}}, "key-decide"),
        "DecisionAccount": api.get("/v1/decisions/d1/explain"),
        "ProfileAnswer": api.get("/v1/profiles/crm/c1"),
        "Timeline": api.get("/v1/profiles/crm/c1/timeline"),
        "MemberPage": api.get("/v1/audiences/vip/members"),
        "Keys": api.get("/v1/keys", "key-admin"),
        "Taken": api.post("/v1/batch", {"batch": [5]}),
        "Problem": api.get("/nothing"),
        "Readiness": api.get("/readyz", None),
    }
    for name, answer in answers.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
        Draft202012Validator(schema).validate(answer.json())


@pytest.mark.slow
def test_schemathesis_finds_no_5xx_and_no_hang(service: FakeService, tmp_path: Path) -> None:
    """One key with every scope; the stream of changes, which does not end, is left out."""
    key = service.secrets["key-admin"]
    service.secrets["all"] = type(key)(id="all", name="all", scopes=SCOPES, created=key.created)
    with listening(service) as server:
        command = [
            *(
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"{server.url}/schema/openapi.json",
            ),
            *("--header", "Authorization: Bearer all", "--exclude-path", "/v1/changes"),
            *("--exclude-operation-id", "revokeKey", "--exclude-operation-id", "rotateKey"),
            *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
            *("--request-timeout", "5", "--max-examples", "30", "--seed", "1", "--no-color"),
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
