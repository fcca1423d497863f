"""DuckDB as the batch engine: one connection, settings from the workspace, errors in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa

from tilltal.core.errors import EngineError
from tilltal.core.names import literal
from tilltal.core.ports import Row


class DuckDBEngine:
    """An in-memory DuckDB that reads and writes Parquet; fills `core.ports.BatchEngine`."""

    def __init__(
        self, *, memory_limit: str = "4GB", threads: int | None = None, spill: Path | None = None
    ) -> None:
        self._connection = duckdb.connect()
        self.run(f"SET memory_limit = {literal(memory_limit)}")
        self.run("SET TimeZone = 'UTC'")
        self.run("SET preserve_insertion_order = false")
        self.run("SET enable_progress_bar = false")
        self.run("SET autoinstall_known_extensions = false")
        if threads is not None:
            self.run(f"SET threads = {int(threads)}")
        if spill is not None:
            self.run(f"SET temp_directory = {literal(str(spill))}")

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection itself, for what the port does not cover (user functions, scanners)."""
        return self._connection

    def run(self, sql: str) -> None:
        """Execute a statement that gives no rows."""
        self.rows(sql)

    def rows(self, sql: str) -> list[Row]:
        """Execute a query and return all its rows."""
        try:
            return self._connection.execute(sql).fetchall()
        except duckdb.Error as error:
            raise _explained(error) from error

    def arrow(self, sql: str) -> pa.Table:
        """Execute a query and return its rows as an Arrow table."""
        try:
            return self._connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise _explained(error) from error

    def batches(self, sql: str, size: int = 100_000) -> Iterator[pa.RecordBatch]:
        """Execute a query and return its rows in batches; drain them before the next statement."""
        try:
            yield from self._connection.sql(sql).to_arrow_reader(size)
        except duckdb.Error as error:
            raise _explained(error) from error

    def register(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable under a name."""
        self._connection.register(name, table)

    def close(self) -> None:
        """Let go of memory and spill files."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _explained(error: duckdb.Error) -> EngineError:
    """Say what to do about the failures a user can do something about."""
    text = str(error)
    if "No space left" in text or "failed to write" in text.lower() or "could not write" in text.lower():
        said = text.partition('": {')[0].partition(": {")[0]  # DuckDB repeats itself as JSON
        return EngineError.of("E501", f"The disk is full: {said}.", hint="Free some space and run again.")
    if isinstance(error, duckdb.OutOfMemoryException):
        return EngineError.of(
            "E502", f"DuckDB ran out of memory: {text}", hint="Raise engine.memory_limit in tilltal.yaml."
        )
    return EngineError.of("E503", f"DuckDB refused a statement: {text}")
