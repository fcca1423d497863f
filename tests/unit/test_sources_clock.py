"""Local times: the SQL agrees with Python's `datetime` at every change of clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tilltal.engines.duckdb import DuckDBEngine
from tilltal.sources.clock import to_utc


@pytest.mark.parametrize(
    "zone",
    [
        "Europe/Stockholm",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "UTC",
        "America/St_Johns",
    ],
)
def test_local_times_agree_with_python_through_two_years(zone: str) -> None:
    here = ZoneInfo(zone)
    start = datetime(2025, 1, 1)
    minutes = range(0, 2 * 365 * 24 * 60, 15)
    with DuckDBEngine(threads=1) as engine:
        local = "TIMESTAMP '2025-01-01' + to_minutes(i * 15)"
        query = f"SELECT {to_utc(f'({local})', here)} FROM range({len(minutes)}) AS t(i) ORDER BY i"
        found = [row[0] for row in engine.rows(query)]
    expected = [
        (start + timedelta(minutes=minute)).replace(tzinfo=here).astimezone(UTC).replace(tzinfo=None)
        for minute in minutes
    ]
    wrong = [(a, b) for a, b in zip(found, expected, strict=True) if a != b]
    assert wrong == []
