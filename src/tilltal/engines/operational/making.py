"""Customers in the making: the same statements over other tables, and the swap of the two."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from tilltal.core.operational import Writes
from tilltal.engines.operational.postgres_faults import Block, Connection, Statements

PORTION = 5_000  # rows of a table that one call removes
_OWN = re.compile(r"\b(owners|profiles|members|marks)\b")
_SWAPPED = ("owners", "profiles")
_RENAMES = tuple(
    f"ALTER TABLE {old} RENAME TO {new}"
    for name in _SWAPPED
    for old, new in ((name, f"former_{name}"), (f"next_{name}", name), (f"former_{name}", f"next_{name}"))
)
_KEEP_MARKS = """
    INSERT INTO marks (name, value) SELECT name, value FROM next_marks WHERE true
    ON CONFLICT (name) DO UPDATE SET value = excluded.value"""
_COUNTING = {
    f"{prefix}profile_{word}": f"""
        CREATE TRIGGER {prefix}profile_{word} AFTER {verb} ON {prefix}profiles BEGIN
          UPDATE counters SET value = value {change} 1 WHERE name = '{prefix}profiles';
        END"""
    for prefix in ("", "next_")
    for word, verb, change in (("came", "INSERT", "+"), ("went", "DELETE", "-"))
}
_EXCHANGE_COUNTS = """
    UPDATE counters SET value = (SELECT value FROM counters AS other
      WHERE other.name IN ('profiles', 'next_profiles') AND other.name <> counters.name)
    WHERE name IN ('profiles', 'next_profiles')"""


@cache
def over_next(statement: str) -> str:
    """Return a statement over the tables of what is in the making.

    >>> over_next("SELECT owners.token FROM owners")
    'SELECT next_owners.token FROM next_owners'
    """
    return _OWN.sub(r"next_\1", statement)


def alone(writes: Writes) -> Writes:
    """Return what is written of customers in the making: nothing is told of them, and the log stays."""
    return msgspec.structs.replace(writes, log=[], changes=[], members=[])


class NextSQLite:
    """A connection whose statements are over what is in the making."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement."""
        return self._connection.execute(over_next(statement), parameters)

    def executemany(self, statement: str, parameters: Sequence[Sequence[Any]]) -> sqlite3.Cursor:
        """Run a statement for each of some rows."""
        return self._connection.executemany(over_next(statement), parameters)


class NextStatements:
    """What runs statements on PostgreSQL, over what is in the making."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def fetch(self, query: str, *args: object) -> list[Sequence[Any]]:
        """Return all rows."""
        return await self._statements.fetch(over_next(query), *args)

    async def execute(self, query: str, *args: object) -> str:
        """Return the tag of the statement."""
        return await self._statements.execute(over_next(query), *args)


class NextConnection(NextStatements):
    """A connection to PostgreSQL, over what is in the making."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._connection = connection

    def transaction(self) -> Block:
        """Return a transaction, not yet begun."""
        return self._connection.transaction()

    def get_server_version(self) -> Sequence[int]:
        """The server's version, the major number first."""
        return self._connection.get_server_version()


def swap_sqlite(connection: sqlite3.Connection) -> None:
    """Exchange tables, with what counts their rows, and put the marks into use."""
    for trigger in _COUNTING:
        connection.execute(f"DROP TRIGGER {trigger}")
    for statement in (
        *_RENAMES,
        *_COUNTING.values(),
        _EXCHANGE_COUNTS,
        _KEEP_MARKS,
        "DELETE FROM next_marks",
    ):
        connection.execute(statement)


def clear_sqlite(connection: sqlite3.Connection) -> int:
    """Remove a portion of what is in the making; returns how many rows."""
    keys = {"next_profiles": "profile", "next_owners": "token"}
    gone = sum(
        connection.execute(
            f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} LIMIT {PORTION})"
        ).rowcount
        for table, key in keys.items()
    )
    return gone + connection.execute("DELETE FROM next_marks").rowcount


HOLD_POSTGRES = "LOCK TABLE owners, profiles, next_owners, next_profiles IN ACCESS EXCLUSIVE MODE"
SWAP_POSTGRES = (*_RENAMES, _KEEP_MARKS, "DELETE FROM next_marks")
LEFT_POSTGRES = """
    SELECT EXISTS (SELECT FROM next_owners) OR EXISTS (SELECT FROM next_profiles)
    OR EXISTS (SELECT FROM next_marks)"""
CLEAR_POSTGRES = "TRUNCATE next_owners, next_profiles, next_marks"
