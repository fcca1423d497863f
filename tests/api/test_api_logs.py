"""The log of the server: lines of JSON that identify nobody."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tilltal.api.telemetry.logs import log_as_json
from tilltal.cli import server as commands
from tilltal.core.errors import EngineError

LOG = logging.getLogger("tilltal.test")


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged, the handlers of the process being restored at the end."""
    found, level = io.StringIO(), logging.root.level
    monkeypatch.setattr(logging.root, "handlers", [])
    yield found
    logging.root.setLevel(level)
    logging.getLogger("httpx").setLevel(logging.NOTSET)


def failed() -> None:
    try:
        raise ValueError("could not read 'secret-person'")
    except ValueError as error:
        raise EngineError.of("E530", "/srv/live.sqlite is away") from error


def test_everything_logged_is_a_line_of_json(stream: io.StringIO) -> None:
    log_as_json(stream)
    LOG.info("began\nwith %s", "two lines")
    logging.getLogger("uvicorn.error").warning("slow")
    logging.getLogger("httpx").info("POST https://hook.example/secret-token")
    try:
        failed()
    except EngineError:
        LOG.exception("request %s failed", "r-1")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(each["level"], each["logger"], each["message"]) for each in lines] == [
        ("info", "tilltal.test", "began\nwith two lines"),
        ("warning", "uvicorn.error", "slow"),
        ("error", "tilltal.test", "request r-1 failed"),
    ]
    assert "/srv/live.sqlite is away" in lines[2]["error"]
    assert "ValueError\n" in lines[2]["error"]
    assert "test_api_logs.py" in lines[2]["error"]
    assert "secret" not in stream.getvalue()


def test_serve_logs_so(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def serving(root: Path, host: str, port: int, access_log: bool) -> None:
        LOG.info("serving on port %d", port)

    address = SimpleNamespace(host="127.0.0.1", port=8000)
    checked = SimpleNamespace(settings=SimpleNamespace(server=address))
    monkeypatch.setattr(commands, "usable", lambda _: checked)
    monkeypatch.setattr(commands, "_serve", serving)
    commands.serve(Path())
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "serving on port 8000"
