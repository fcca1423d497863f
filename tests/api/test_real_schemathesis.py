"""schemathesis against the description of a server that runs: no error of ours, and no hang."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.serving import Server, Shop, purchase


@pytest.mark.slow
def test_schemathesis_finds_no_fault_in_the_real_server(tmp_path: Path) -> None:
    """One key with every scope; the stream of changes, which does not end, and ends of keys are left out."""
    shop = Shop(tmp_path / "shop", settings="placements: {home: {channel: push, count: 2}}")
    with Server(shop, shop.key()) as server:
        server.send(*(purchase(number, f"u{number % 3}") for number in range(9)))
        command = [
            *(
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"{server.url}/schema/openapi.json",
            ),
            *("--header", f"Authorization: Bearer {server.key}", "--exclude-path", "/v1/changes"),
            *("--exclude-operation-id", "revokeKey", "--exclude-operation-id", "rotateKey"),
            *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
            *("--request-timeout", "10", "--max-examples", "200", "--seed", "1", "--no-color"),
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        assert server.readiness() == 200
        assert server.decide("u1")["actions"]
        assert '"level":"error"' not in server.logged()
    print(done.stdout[-1500:])
