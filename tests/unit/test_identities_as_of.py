"""Identity as of an instant: a login of tomorrow does not tell today whose device it is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.runtime.refresh.identities import resolve_identities
from tilltal.workspace.init import init
from tilltal.workspace.load import load

CUSTOMER, DEVICE = 11, 22


def on(day: int) -> Clock:
    return Clock(datetime(2026, 4, day, 12, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))


@pytest.mark.parametrize(
    ("day", "people", "mapped"),
    [
        (1, [], []),
        (10, [(DEVICE, False)], []),
        (25, [(CUSTOMER, True)], [(DEVICE, CUSTOMER)]),
    ],
)
def test_only_what_was_observed_by_then_counts(
    tmp_path: Path, day: int, people: list[tuple[int, bool]], mapped: list[tuple[int, int]]
) -> None:
    init(tmp_path / "bank", "bank")
    workspace = load(tmp_path / "bank")
    with DuckDBEngine(threads=1) as engine:
        engine.run("CREATE SCHEMA history")
        engine.run(
            f"""CREATE TABLE history.observations AS SELECT * FROM (VALUES
            ('web:1', TIMESTAMP '2026-04-05 09:00:00', TIMESTAMP '2026-04-28 09:00:00',
             [{{'namespace': 'device', 'token': CAST({DEVICE} AS BIGINT)}}]),
            ('web:2', TIMESTAMP '2026-04-20 09:00:00', TIMESTAMP '2026-04-20 09:00:00',
             [{{'namespace': 'customer', 'token': CAST({CUSTOMER} AS BIGINT)}},
              {{'namespace': 'device', 'token': CAST({DEVICE} AS BIGINT)}}])
            ) AS seen(observation, "at", last_at, ids)"""
        )
        resolve_identities(engine, workspace, on(day), "past")
        assert engine.rows("SELECT profile, is_known FROM past.people_spine") == people
        assert engine.rows("SELECT identity, profile FROM past.identity_map") == mapped
