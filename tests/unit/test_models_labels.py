"""Labels hold what happened after a snapshot, and nothing that the features could already know."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
import sqlglot

from tilltal.engines.duckdb import DuckDBEngine
from tilltal.models.dataset.labels import eligible_sql, outcome_sql, training_rows_sql
from tilltal.models.dataset.snapshots import Snapshot, plan_snapshots
from tilltal.workspace.definitions.models import Outcome

ZONE = ZoneInfo("Europe/Stockholm")
# a local midnight is 22:00 UTC the day before, in summer
(SNAPSHOT,) = plan_snapshots(datetime(2026, 7, 1, 0, tzinfo=ZONE), "30 days", "1 month", 1, ZONE)


@pytest.fixture
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as opened:
        yield opened


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def found(engine: DuckDBEngine, sql: str) -> list[int]:
    return sorted(row[0] for row in engine.rows(sql))


def test_events_count_after_the_snapshot_up_to_the_end(engine: DuckDBEngine) -> None:
    assert moment("2026-05-31 22:00").replace(tzinfo=UTC) == SNAPSHOT.at
    events = {
        1: "2026-05-31 22:00:00",  # at the snapshot: already a feature
        2: "2026-05-31 22:00:01",
        3: "2026-06-30 22:00:00",  # at the very end
        4: "2026-06-30 22:00:01",
    }
    table = pa.table({
        "profile": pa.array(list(events), pa.int64()),
        "at": pa.array([moment(at) for at in events.values()], pa.timestamp("us")),
        "amount": pa.array([5.0, 5.0, 5.0, 5.0]),
    })  # fmt: skip
    engine.register("event.buy", table)
    assert found(engine, outcome_sql(Outcome(events=("buy",)), SNAPSHOT)) == [2, 3]
    none = outcome_sql(Outcome(events=("buy",)), SNAPSHOT, where={"buy": '"amount" > 5'})
    assert found(engine, none) == []


def test_each_event_type_has_its_own_condition(engine: DuckDBEngine) -> None:
    at = pa.array([moment("2026-06-10 10:00")] * 2, pa.timestamp("us"))
    engine.register("event.a", pa.table({"profile": [1, 2], "at": at, "x": [1, None]}))
    engine.register("event.b", pa.table({"profile": [2, 3], "at": at, "y": [0, 0]}))
    sql = outcome_sql(Outcome(events=("a", "b")), SNAPSHOT, where={"a": "x = 1"})
    assert found(engine, sql) == [1, 2, 3]


def test_a_product_opened_on_the_day_itself_is_a_feature_not_a_label(engine: DuckDBEngine) -> None:
    opened = [date(2026, 6, 1), date(2026, 6, 2), date(2026, 7, 1), date(2026, 7, 2), date(2026, 6, 9)]
    product = ["loan"] * 4 + ["card"]
    engine.register("holdings", pa.table({"profile": range(1, 6), "product": product, "opened": opened}))
    assert found(engine, outcome_sql(Outcome(holding="loan"), SNAPSHOT)) == [2, 3]


def test_leaving_counts_from_the_day_itself_and_who_has_left_is_not_eligible(engine: DuckDBEngine) -> None:
    dates = [date(2026, 5, 31), date(2026, 6, 1), date(2026, 6, 30), date(2026, 7, 1)]
    stages = ["Regain"] * 4
    engine.register("transitions", pa.table({"profile": range(1, 5), "date": dates, "to_stage": stages}))
    assert found(engine, outcome_sql(Outcome(closes=True), SNAPSHOT, leaving_stage="Regain")) == [2, 3]
    people = pa.table(
        {"profile": [1, 2, 3], "lifecycle.stage": ["Loyal", "Regain", None], "age": [40, 40, 40]}
    )
    engine.register("people", people)
    condition = eligible_sql(Outcome(closes=True), "age > 18", leaving_stage="Regain")
    assert found(engine, f"SELECT profile FROM people WHERE {condition}") == [1]


def test_unknown_eligibility_is_not_eligible(engine: DuckDBEngine) -> None:
    engine.register("people", pa.table({"profile": [1, 2], "age": [40, None]}))
    condition = eligible_sql(Outcome(events=("buy",)), "age > 18")
    assert found(engine, f"SELECT profile FROM people WHERE {condition}") == [1]


def rows_sql(sample: int, seed: int = 1, snapshot: Snapshot = SNAPSHOT) -> str:
    labels = outcome_sql(Outcome(holding="loan"), snapshot)
    return training_rows_sql("people", ["lifecycle.days"], labels, snapshot, sample=sample, seed=seed)


def test_training_rows_carry_features_and_label(engine: DuckDBEngine) -> None:
    engine.register("people", pa.table({"profile": [1, 2], "lifecycle.days": [7, 9]}))
    engine.register("holdings", pa.table({"profile": [2], "product": ["loan"], "opened": [date(2026, 6, 5)]}))
    assert engine.rows(rows_sql(10)) == [(1, date(2026, 6, 1), 7, False), (2, date(2026, 6, 1), 9, True)]


def test_a_sample_is_the_same_every_time_and_another_by_seed(engine: DuckDBEngine) -> None:
    ids = pa.array(range(1000, 3000), pa.int64())
    engine.register("people", pa.table({"profile": ids, "lifecycle.days": ids}))
    engine.register("holdings", pa.table({"profile": [1], "product": ["loan"], "opened": [date(2026, 6, 5)]}))
    first, again, other = ({row[0] for row in engine.rows(rows_sql(200, seed=seed))} for seed in (1, 1, 2))
    assert first == again
    assert len(first) == 200
    # two independent tenths share a tenth: 20 expected, 5 standard deviations of 4
    assert len(first & other) < 40


def test_the_text_is_valid_for_spark_too() -> None:
    (spark,) = sqlglot.transpile(rows_sql(10), read="duckdb", write="spark")
    assert "MD5" in spark
    assert "LIMIT 10" in spark
