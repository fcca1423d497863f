"""The example workspace, taken through the commands once for all tests that only look at it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tilltal.cli.main import main


class Answer(msgspec.Struct, frozen=True):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output, read as JSON."""
        return msgspec.json.decode(self.out)


class Commands:
    """Runs commands in this process and keeps what they print."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: object) -> Answer:
        self._capture.readouterr()
        code = run(*arguments)
        return Answer(code, *self._capture.readouterr())


def run(*arguments: object) -> int:
    """Run a command; return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def tilltal(capsys: pytest.CaptureFixture[str]) -> Commands:
    """The command line."""
    return Commands(capsys)


@pytest.fixture(scope="session")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example bank with one refresh behind it; only to be looked at."""
    bank = tmp_path_factory.mktemp("example") / "bank"
    for command in ("init", "ingest", "refresh"):
        assert run(command, bank) == 0
    return bank


@pytest.fixture
def bank(refreshed: Path, tmp_path: Path) -> Path:
    """A copy of the refreshed bank, to be changed."""
    return Path(shutil.copytree(refreshed, tmp_path / "bank", symlinks=True))
