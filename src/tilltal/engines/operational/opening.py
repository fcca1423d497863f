"""Opening the operational store that a workspace names: a PostgreSQL address, or a path for SQLite."""

from __future__ import annotations

from tilltal.core.operational import OperationalStore
from tilltal.engines.postgres import open_postgres
from tilltal.engines.sqlite import MEMORY_MB, open_sqlite

_SCHEMES = ("postgresql://", "postgres://")


async def open_store(place: str, memory_mb: int = MEMORY_MB) -> OperationalStore:
    """Open `postgresql://...` or a file; its tables are made or brought up to date.

    Args:
        place: the address, or the path.
        memory_mb: megabytes of customers that SQLite keeps in memory; PostgreSQL has memory of its own.

    Raises:
        EngineError: E530 if it cannot be reached, E532 if a newer Tilltal wrote it, E534 without asyncpg.
    """
    if place.startswith(_SCHEMES):
        return await open_postgres(place)
    return await open_sqlite(place, memory_mb)
