"""What PostgreSQL and asyncpg report, as errors that say what to do; and the few faces of asyncpg used here.

asyncpg is an extra and publishes no types, so it is imported by name and seen through protocols.
"""

from __future__ import annotations

import importlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from tilltal.core.errors import EngineError

# Classes 08 and 57P: no connection; 53300: too many; 40, 55P03, 57014, 23505: another process was faster or
# holds a lock for too long; 25006: read-only, as a standby is that has not taken over yet.
_AWAY = ("08", "57P", "53300", "25P03")
_AGAIN = ("40", "55P03", "57014", "23505")


class Statements(Protocol):
    """What runs statements: a connection, or a pool that lends one for each."""

    async def fetch(self, query: str, *args: object) -> list[Sequence[Any]]:
        """Return all rows."""

    async def execute(self, query: str, *args: object) -> str:
        """Return the tag of the statement, such as `INSERT 0 3`."""


class Block(Protocol):
    """A transaction of asyncpg."""

    async def start(self) -> None:
        """Begin it."""

    async def commit(self) -> None:
        """End it durably."""

    async def rollback(self) -> None:
        """Undo it."""


class Connection(Statements, Protocol):
    """A connection of asyncpg."""

    def transaction(self) -> Block:
        """Return a transaction, not yet begun."""

    def get_server_version(self) -> Sequence[int]:
        """The server's version, the major number first."""


class Pool(Statements, Protocol):
    """A pool of asyncpg: it makes connections again that were lost."""

    def __await__(self) -> Generator[Any, None, object]:
        """Begin; no connection is made yet."""

    async def acquire(self, *, timeout: float) -> Connection:
        """Borrow a connection."""

    async def release(self, connection: Connection) -> None:
        """Give it back; what is still open on it is rolled back."""

    async def close(self) -> None:
        """Close all connections after what runs."""

    def terminate(self) -> None:
        """Close all connections at once."""


def driver() -> Any:
    """Import asyncpg.

    Raises:
        EngineError: E534 if the extra is not installed.
    """
    try:
        return importlib.import_module("asyncpg")
    except ImportError as error:
        raise EngineError.of(
            "E534",
            "PostgreSQL as the operational store needs the extra tilltal[postgres].",
            hint="Run `pip install 'tilltal[postgres]'`, or name a file in `store` to keep to SQLite.",
        ) from error


@contextmanager
def explained() -> Iterator[None]:
    """Turn what asyncpg raises into errors of the product; anything else passes."""
    try:
        yield
    except OSError as error:
        raise _away(str(error) or "no answer in time") from error
    except Exception as error:
        fault = _fault(str(getattr(error, "sqlstate", "") or ""), error)
        if fault is None:
            raise
        raise fault from error


def _fault(state: str, error: Exception) -> EngineError | None:
    is_closed = type(error).__name__ == "InterfaceError" and any(
        word in str(error) for word in ("closed", "closing")
    )
    if state.startswith(_AWAY) or is_closed:
        return _away(str(error))
    if state.startswith(_AGAIN):
        text = f"The operational store was written at the same time by another process: {error}."
        return EngineError.of("E531", text, hint="Try again.")
    if state.startswith("25006"):
        text = f"PostgreSQL takes no writes: {error}."
        return EngineError.of("E536", text, hint="Name the primary, or let it take writes again.")
    if state.startswith("53100"):
        return EngineError.of("E501", f"The disk of PostgreSQL is full: {error}.", hint="Free some space.")
    if state:
        text = f"PostgreSQL refused: {error} (SQLSTATE {state})."
        return EngineError.of("E533", text, hint="Check address, database and rights; read the server's log.")
    return None


def _away(text: str) -> EngineError:
    return EngineError.of(
        "E530",
        f"PostgreSQL cannot be reached: {text}.",
        hint="Try again; the connection is made anew as soon as the server answers.",
    )
