"""dunnhumby, The Complete Journey: 155,848 baskets of 2,469 households in a year; product against pandas."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pandas as pd
import pytest
from tests.statistics.retail_check import (
    DATA,
    Shop,
    Walker,
    differences,
    figures_of,
    run_product,
    segments_of,
    walkers,
)

from tilltal.engines.duckdb import DuckDBEngine
from tilltal.workspace.definitions.policies import Kpis
from tilltal.workspace.definitions.segments import Engagement

FILE = DATA / "dunnhumby_transactions.parquet"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILE.exists(), reason=f"{FILE.name} is not here (set TILLTAL_SHARED)"),
]


@pytest.fixture(scope="module")
def shop() -> Shop:
    columns = ["household_id", "basket_id", "sales_value", "transaction_timestamp"]
    raw = pd.read_parquet(FILE, columns=columns)
    baskets = raw.groupby("basket_id").agg(
        customer=("household_id", "first"),
        at=("transaction_timestamp", "first"),
        spent=("sales_value", "sum"),
    )
    purchases = pd.DataFrame(
        {
            "customer": baskets["customer"],
            "at": baskets["at"],
            "amount": (baskets["spent"] * 100).round().astype(int),
        }
    )
    return Shop(
        purchases=purchases,
        zone="America/New_York",
        now=datetime(2018, 1, 1, 4, 30, tzinfo=UTC),
        silent_days=28,
        engagement=Engagement(from_=("purchase",), measure="count", every="week", over=4),
        kpis=Kpis(
            period="quarter",
            active=("purchase",),
            sales=("purchase",),
            income=("purchase", "amount"),
            by=("lifecycle.stage", "value.segment"),
        ),
        income_cut=0.55,
        affinity_cuts=(0.5, 0.8),
    )


@pytest.fixture(scope="module")
def engine(shop: Shop) -> Iterator[DuckDBEngine]:
    with run_product(shop) as made:
        yield made


@pytest.fixture(scope="module")
def everybody(shop: Shop) -> dict[int, Walker]:
    return walkers(shop)


def test_relations_of_all_customers(engine: DuckDBEngine, everybody: dict[int, Walker]) -> None:
    expected = [(customer, *one) for customer, walker in everybody.items() for one in walker.relations]
    assert engine.rows("SELECT * FROM relations ORDER BY profile, opened") == expected
    assert len(expected) > 2 * len(everybody), "many come back"


def test_transitions_of_every_tenth_customer(engine: DuckDBEngine, everybody: dict[int, Walker]) -> None:
    expected = [
        (customer, *one)
        for customer, walker in everybody.items()
        if customer % 10 == 0
        for one in walker.transitions()
    ]
    sql = "SELECT * FROM transitions WHERE profile % 10 = 0 ORDER BY profile, date"
    assert engine.rows(sql) == expected
    assert len({after for *_, after in expected}) == 5


def test_stages_of_all_customers_on_the_last_day(
    shop: Shop, engine: DuckDBEngine, everybody: dict[int, Walker]
) -> None:
    rows = engine.rows('SELECT profile, "lifecycle.stage" FROM lifecycle')
    found: dict[int, str | None] = dict(rows)
    assert found == {customer: walker.stage(shop.today) for customer, walker in everybody.items()}


def test_value_segments_of_all_customers(shop: Shop, engine: DuckDBEngine) -> None:
    rows = engine.rows('SELECT profile, "value.segment", "value.income", "value.affinity" FROM value')
    found = {profile: (cell, income, affinity) for profile, cell, income, affinity in rows}
    assert found == segments_of(shop)
    assert len({cell for cell, *_ in found.values()}) == 6


def test_key_figures_of_all_periods_and_segments(
    shop: Shop, engine: DuckDBEngine, everybody: dict[int, Walker]
) -> None:
    rows = engine.rows("SELECT period_start, kpi, dimension, segment, value FROM kpis")
    found = {(start, kpi, dimension, segment): value for start, kpi, dimension, segment, value in rows}
    assert len(found) == len(rows)
    assert differences(found, figures_of(shop, everybody, segments_of(shop))) == []
    assert found[date(2017, 10, 1), "customers_left", "all", "all"] > 500
