"""Rows of an experiment as SQL on DuckDB: who was assigned, when, and what came of it."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from tilltal.core.time import parse_window
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.models.dataset.snapshots import plan_snapshots
from tilltal.models.uplift.assigned import TREATED, Round, answered_sql, assigned_rows_sql, assigned_sql
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.models import Group, Outcome

ZONE = ZoneInfo("Europe/Stockholm")
CLOCK = Clock(datetime(2026, 3, 10, 12, tzinfo=ZONE), ZONE)
MAIL = Group(events=("mail",), where="campaign = 'card'")
KEPT = Group(events=("kept_out",))
EVENTS: dict[str, list[tuple[int, str, str | None]]] = {
    "mail": [
        (1, "2026-02-02 10:00", "card"),
        (2, "2026-02-02 10:00", "card"),
        (3, "2026-02-02 10:00", "other"),
        (6, "2026-02-02 10:00", "card"),
        (7, "2026-02-02 10:00", "card"),
        (8, "2026-01-31 10:00", "card"),
        (9, "2026-02-28 10:00", "card"),
    ],
    "kept_out": [
        (4, "2026-02-03 09:00", None),
        (5, "2026-02-03 09:00", None),
        (6, "2026-02-02 10:00", None),
        (7, "2026-02-20 10:00", None),
    ],
    "buy": [
        (1, "2026-02-04 10:00", None),
        (2, "2026-02-16 10:01", None),
        (4, "2026-02-03 08:59", None),
        (5, "2026-02-17 09:00", None),
    ],
}


def span(until: str = "2026-03-01") -> Round:
    snapshot = plan_snapshots(datetime(2026, 2, 15, tzinfo=ZONE), "14 days", "1 month", 1, ZONE)[0]
    return Round(
        snapshot=snapshot,
        until=datetime.fromisoformat(until).replace(tzinfo=ZONE),
        horizon=parse_window("14 days"),
        clock=CLOCK,
    )


@pytest.fixture
def engine() -> DuckDBEngine:
    made = DuckDBEngine()
    for name, rows in EVENTS.items():
        made.register(
            f"event.{name}",
            pa.table(
                {
                    "profile": pa.array([row[0] for row in rows], pa.int64()),
                    "at": pa.array([datetime.fromisoformat(row[1]) for row in rows], pa.timestamp("us")),
                    "campaign": pa.array([row[2] for row in rows], pa.string()),
                }
            ),
        )
    people = list(range(1, 12))
    made.register("people", pa.table({"profile": people, "age": [20 + each for each in people]}))
    return made


def rows_of(engine: DuckDBEngine, outcome: Outcome, eligible: str = "TRUE") -> dict[int, tuple[bool, bool]]:
    asked = span()
    where: tuple[dict[str, str], dict[str, str]] = ({"mail": "campaign = 'card'"}, {})
    text = assigned_rows_sql(
        "people",
        ["age"],
        assigned_sql(MAIL, KEPT, asked, where),
        answered_sql(outcome, asked, leaving_stage="regain"),
        asked,
        eligible=eligible,
        sample=100,
        seed=1,
    )
    table = engine.arrow(text)
    assert table.column_names == ["profile", "snapshot", "age", "label", TREATED]
    return {row["profile"]: (row[TREATED], row["label"]) for row in table.to_pylist()}


def test_the_first_assignment_counts_and_answers_within_the_horizon_of_each(engine: DuckDBEngine) -> None:
    """2 answered a minute late, 4 before; 6 was in both groups at once, 8 in the round before.

    9's horizon has not passed, 3 got another mail; 7 was treated before it was kept out.
    """
    assert rows_of(engine, Outcome(events=("buy",))) == {
        1: (True, True),
        2: (True, False),
        4: (False, False),
        5: (False, True),
        7: (True, False),
    }


def test_who_is_not_eligible_is_no_part_of_it(engine: DuckDBEngine) -> None:
    assert set(rows_of(engine, Outcome(events=("buy",)), eligible="age > 22")) == {4, 5, 7}


def test_holdings_and_leavers_count_by_local_days(engine: DuckDBEngine) -> None:
    """1 opened on the day of the mail, 2 on the last day, 4 a day after it, 5 the day before."""
    days = [(1, "2026-02-02"), (2, "2026-02-16"), (4, "2026-02-18"), (5, "2026-02-02")]
    opened = [datetime.fromisoformat(day).date() for _, day in days]
    owners = pa.array([one for one, _ in days], pa.int64())
    engine.register(
        "holdings",
        pa.table({"profile": owners, "product": ["fund"] * 4, "opened": pa.array(opened, pa.date32())}),
    )
    engine.register(
        "transitions",
        pa.table({"profile": owners, "to_stage": ["regain"] * 4, "date": pa.array(opened, pa.date32())}),
    )
    expected = {1: (True, True), 2: (True, True), 4: (False, False), 5: (False, False), 7: (True, False)}
    assert rows_of(engine, Outcome(holding="fund")) == expected
    assert rows_of(engine, Outcome(closes=True)) == expected
