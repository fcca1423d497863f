"""Ports: what an engine must offer. Adapters live in `tilltal.engines`."""

from __future__ import annotations

from typing import Any, Protocol

import pyarrow as pa

Row = tuple[Any, ...]  # one row of a SQL result; its types are the query's


class BatchEngine(Protocol):
    """A SQL engine over Parquet files and Arrow tables (embedded: DuckDB)."""

    def run(self, sql: str) -> None:
        """Execute a statement that gives no rows."""

    def rows(self, sql: str) -> list[Row]:
        """Execute a query and return all its rows as Python values."""

    def arrow(self, sql: str) -> pa.Table:
        """Execute a query and return all its rows as an Arrow table."""

    def register(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable under a name."""
