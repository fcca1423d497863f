"""Opening the operational store that a workspace names: a PostgreSQL address, or a path for SQLite."""

from __future__ import annotations

from tilltal.core.operational import OperationalStore
from tilltal.engines.postgres import open_postgres
from tilltal.engines.sqlite import open_sqlite

_SCHEMES = ("postgresql://", "postgres://")


async def open_store(place: str) -> OperationalStore:
    """Open `postgresql://...` or a file; its tables are made or brought up to date.

    Raises:
        EngineError: E530 if it cannot be reached, E532 if a newer Tilltal wrote it, E534 without asyncpg.
    """
    if place.startswith(_SCHEMES):
        return await open_postgres(place)
    return await open_sqlite(place)
