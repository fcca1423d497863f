"""schemathesis against the description of a server that runs: no error of ours, and no hang."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from tests.api.short_streams import short_streams
from tests.e2e.serving import Server, Shop, purchase

ENDING_KEYS = ("revokeKey", "rotateKey")  # might end the very key that they are asked with
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance"


def schemathesis(folder: Path, url: str, key: str, examples: int, options: Sequence[str]) -> str:
    """Run it over a server's own description; return what it says."""
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/schema/openapi.json"),
        *("--header", f"Authorization: Bearer {key}", "--checks", CHECKS, *options),
        *("--request-timeout", "10", "--max-examples", str(examples), "--seed", "1", "--no-color"),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    print(done.stdout[-1500:])
    return done.stdout


def operations(text: str) -> tuple[int, int]:
    """Return how many operations were tested, and how many there are."""
    found = re.search(r"Selected: (\d+)/(\d+)", text)
    assert found, text[-3000:]
    return int(found[1]), int(found[2])


@pytest.mark.slow
def test_schemathesis_finds_no_fault_in_the_real_server(tmp_path: Path) -> None:
    """Keys with every scope; what ends keys is asked apart, with a key that may end meanwhile."""
    shop = Shop(tmp_path / "shop", settings="placements: {home: {channel: push, count: 2}}")
    spare = shop.key()
    with Server(shop, shop.key()) as server, short_streams(server.port) as url:
        server.send(*(purchase(number, f"u{number % 3}") for number in range(9)))
        left_out = [word for name in ENDING_KEYS for word in ("--exclude-operation-id", name)]
        most, every = operations(schemathesis(tmp_path, url, server.key, 200, left_out))
        keys = [word for name in (*ENDING_KEYS, "createKey") for word in ("--include-operation-id", name)]
        few, _ = operations(schemathesis(tmp_path, url, spare, 100, keys))
        assert most + few == every + 1  # keys are made both times
        assert server.readiness() == 200
        assert server.decide("u1")["actions"]
        assert '"level":"error"' not in server.logged()
        ended = [one for one in server.get("/v1/keys")["keys"] if one["revoked"]]
        print(f"{most} and {few} of {every} operations, {len(ended)} keys ended")
        assert ended


@pytest.mark.slow
def test_streams_end_once_they_are_quiet(tmp_path: Path) -> None:
    with Server(shop := Shop(tmp_path / "shop"), shop.key()) as server, short_streams(server.port) as url:
        server.send(purchase(1, "u1"))
        headers = {"Authorization": f"Bearer {server.key}"}
        for _ in range(2):
            told = httpx.get(f"{url}/v1/changes?after=0", headers=headers, timeout=5).text
            assert "event: entered" in told
        assert httpx.get(f"{url}/v1/changes?after=x", headers=headers, timeout=5).status_code == 400
