"""The tables of a snapshot: which are there, with which columns."""

from __future__ import annotations

from collections.abc import Iterable

from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine, Row


class Tables:
    """An engine in which some of a snapshot's tables are views under their own names."""

    def __init__(self, engine: BatchEngine, names: Iterable[str]) -> None:
        self._engine = engine
        self._columns = {
            name: frozenset(row[0] for row in engine.rows(f"DESCRIBE {quote(name)}")) for name in names
        }

    def has(self, table: str, *columns: str) -> bool:
        """Say whether a table is there with these columns."""
        return table in self._columns and self._columns[table].issuperset(columns)

    def columns(self, table: str) -> frozenset[str]:
        """Return a table's columns; none if it is not there."""
        return self._columns.get(table, frozenset())

    def rows(self, sql: str) -> list[Row]:
        """Return the rows of a query."""
        return self._engine.rows(sql)

    def count(self, sql: str) -> int:
        """Return the only value of a query that counts."""
        return int(self._engine.rows(sql)[0][0] or 0)
