"""The example workspace, taken through the commands once for all tests that only look at it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.commands import Commands, run
from tests.e2e.serving import Forking, Server, Shop, forking_process


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


@pytest.fixture(scope="session")
def forking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forking]:
    """A process that starts servers quickly."""
    with forking_process(tmp_path_factory.mktemp("forking")) as found:
        yield found


@pytest.fixture
def forking_server(forking: Forking) -> Callable[[Shop], Server]:
    """Returns a server over a shop, started quickly."""
    return lambda shop: Server(shop, shop.key(), forking=forking)
