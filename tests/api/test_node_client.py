"""Segment's Node client, unchanged, against the listening server."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from tests.api.callers import Listening
from tests.api.live_fake import FakeService

from tilltal.runtime.live.contract import Busy, Unavailable

SCRIPT = Path(__file__).resolve().parents[1] / "e2e/clients/segment_node.mjs"
PACKAGE = "@segment/analytics-node@3.1.0"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script beside an installed client."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", PACKAGE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr.strip()[-200:]}")
    return Path(shutil.copy(SCRIPT, folder))


def run(script: Path, server: Listening, plan: str, key: str = "key-collect") -> str:
    command = ["node", script.name, server.url, key, plan]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_six_calls_are_six_messages_of_one_person(
    script: Path, server: Listening, service: FakeService
) -> None:
    assert run(script, server, "six") == ""
    found = {each.type: each for each in service.messages.values()}
    assert sorted(found) == ["alias", "group", "identify", "page", "screen", "track"]
    assert (found["identify"].user_id, found["identify"].anonymous_id) == ("u1", "a1")
    assert found["identify"].document["traits"] == {"email": "one@example.com"}
    assert found["alias"].previous_id == "a1"
    assert service.refused == []


def test_busy_then_unavailable_then_stored_once(
    script: Path, server: Listening, service: FakeService
) -> None:
    service.failures += [Busy(1.0), Unavailable("starting")]
    began = time.monotonic()
    assert run(script, server, "1") == ""
    assert time.monotonic() - began >= 1.0
    assert (len(service.messages), service.calls) == (1, 3)


def test_250_messages_are_17_batches(script: Path, server: Listening, service: FakeService) -> None:
    assert run(script, server, "250") == ""
    assert {each.user_id for each in service.messages.values()} == {f"u{number}" for number in range(250)}
    assert service.calls == 17


def test_a_wrong_write_key_is_told_and_not_tried_again(
    script: Path, server: Listening, service: FakeService
) -> None:
    assert "401" in run(script, server, "1", key="wrong")
    assert (service.calls, service.messages) == (0, {})
