"""From events to a model: snapshots, labels and rows as SQL on DuckDB, then training on what comes back."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from tilltal.core.errors import DataError
from tilltal.core.time import sql_timestamp
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.models.dataset.labels import eligible_sql, outcome_sql, training_rows_sql
from tilltal.models.dataset.snapshots import Snapshot, plan_snapshots
from tilltal.models.fitting import Task
from tilltal.models.model import TrainedModel
from tilltal.models.training import train
from tilltal.workspace.definitions.models import Model, Outcome, Snapshots

ZONE = ZoneInfo("Europe/Stockholm")
AS_OF = datetime(2026, 7, 1, tzinfo=ZONE)
DEFINITION = Model(
    outcome=Outcome(events=("buy",), where="amount > 50"),
    horizon="30 days",
    features=("buys_*", "spend_30d", "kind", "since"),
    snapshots=Snapshots(every="1 month", count=4, sample=1000),
)
COLUMNS = ["buys_30d", "buys_ahead", "spend_30d", "kind", "since"]


def events(people: int = 1500) -> pa.Table:
    """Purchases over 200 days; who needs more buys more often, at all times."""
    rng = np.random.default_rng(1)
    need = np.exp(rng.normal(-0.5, 1, people))
    counts = rng.poisson(need * 200 / 40)
    profile = np.repeat(np.arange(people), counts)
    seconds = rng.integers(0, 200 * 86_400, len(profile))
    at = np.datetime64("2025-12-13T00:00:00", "us") + seconds.astype("timedelta64[s]")
    return pa.table({"profile": profile, "at": at, "amount": rng.integers(10, 200, len(profile))})


def profiles_sql(snapshot: Snapshot) -> str:
    """A tiny profile as of the snapshot; `buys_ahead` is the slip that looks ahead."""
    now, end = sql_timestamp(snapshot.at), sql_timestamp(snapshot.label_end)
    before = f'"at" <= {now} AND "at" > {now} - INTERVAL 30 DAY'
    return f"""(SELECT profile,
        COUNT(*) FILTER ({before}) AS buys_30d,
        COUNT(*) FILTER ("at" > {now} AND "at" <= {end} AND amount > 50) AS buys_ahead,
        SUM(amount) FILTER ({before}) AS spend_30d,
        CASE WHEN profile % 3 = 0 THEN 'a' ELSE 'b' END AS kind,
        CAST(MIN("at") AS DATE) AS since
      FROM "event.buy" GROUP BY profile)"""


def training_table(engine: DuckDBEngine) -> pa.Table:
    plan = plan_snapshots(AS_OF, DEFINITION.horizon, DEFINITION.snapshots.every, 4, ZONE)
    queries = [
        training_rows_sql(
            profiles_sql(snapshot),
            COLUMNS,
            outcome_sql(DEFINITION.outcome, snapshot, where={"buy": "amount > 50"}),
            snapshot,
            eligible=eligible_sql(DEFINITION.outcome, "since IS NOT NULL"),
            sample=DEFINITION.snapshots.sample,
            seed=DEFINITION.seed,
        )
        for snapshot in plan
    ]
    return pa.concat_tables([engine.arrow(query) for query in queries])


@pytest.fixture
def table() -> pa.Table:
    with DuckDBEngine(threads=1) as engine:
        engine.register("event.buy", events())
        return training_table(engine)


def test_events_become_a_model_that_orders_customers(table: pa.Table) -> None:
    definition = Model(
        outcome=DEFINITION.outcome,
        horizon=DEFINITION.horizon,
        features=DEFINITION.features,
        exclude=("buys_ahead",),
    )
    model = train(table, Task(name="buys", definition=definition, threads=1))
    assert isinstance(model, TrainedModel), model.report.verdict
    assert [item.rows for item in model.report.snapshots] == [1000] * 4
    assert model.report.test is not None
    assert 0.65 < model.report.test.auc.value < 0.9
    probability = model.score(table, date(2026, 7, 1))
    assert abs(probability.mean() - table.column("label").to_numpy().mean()) < 0.05


def test_a_feature_that_looks_ahead_stops_it(table: pa.Table) -> None:
    with pytest.raises(DataError, match="M403 Model buys: the feature buys_ahead"):
        train(table, Task(name="buys", definition=DEFINITION, threads=1))
