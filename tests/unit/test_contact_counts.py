"""Counting past contacts of one customer equals counting them in SQL for all."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from tests.properties.test_decisions_parity import CHANNELS, some_action, some_caps

from tilltal.core.time import utc_naive
from tilltal.decisions.contact import contact_of, counts_sql
from tilltal.decisions.contact_counts import ContactCounts, PastContact
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.policies import AppliesTo, Cap

CLOCK = Clock(datetime(2026, 3, 29, 10, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
CALENDAR = (
    Cap(name="daily", limit=1, calendar="day"),
    Cap(name="weekly", limit=2, calendar="week", each=("action",)),
    Cap(name="monthly", limit=3, calendar="month", applies_to=AppliesTo(issue="sales")),
)


def in_sql(past: list[PastContact], actions: dict, caps: tuple[Cap, ...], contacts: list) -> dict[str, int]:  # type: ignore[type-arg]
    sql = counts_sql(contacts, caps, ("contact",), actions, CLOCK)
    assert sql is not None
    table = pa.table(
        {
            "profile": pa.array([1] * len(past), pa.int64()),
            "at": pa.array([utc_naive(one.at) for one in past], pa.timestamp("us")),
            "action": pa.array([one.action for one in past], pa.string()),
            "channel": pa.array([one.channel for one in past], pa.string()),
        }
    )
    with DuckDBEngine(threads=1) as engine:
        engine.register(
            "event.contact", table.filter(pa.compute.less_equal(table["at"], utc_naive(CLOCK.now)))
        )
        rows = engine.arrow(sql).to_pylist()
    return {name: value for name, value in (rows[0] if rows else {}).items() if name != "profile"}


@pytest.mark.parametrize("seed", range(30))
def test_one_by_one_equals_sql(seed: int) -> None:
    rng = random.Random(seed)
    actions = {name: some_action(rng) for name in "abc"}
    caps = (*some_caps(rng), *CALENDAR)
    contacts = [contact_of(name, action, channel) for name, action in actions.items() for channel in CHANNELS]
    past = [
        PastContact(
            CLOCK.now - timedelta(hours=rng.choice((-1, 0, 1, 9, 10, 11, 24, 100, 168, 169, 600))),
            rng.choice(("a", "b", "c", "gone", None)),
            rng.choice((*CHANNELS, None)),
        )
        for _ in range(rng.choice((0, 1, 20)))
    ]
    counts = ContactCounts(contacts, caps, actions).count(past, CLOCK)
    wanted = in_sql(past, actions, caps, contacts)
    assert {name: value for name, value in counts.items() if value or name in wanted} == wanted
