"""CDNOW (Fader & Hardie): 69,659 purchases of 23,570 customers, 1997-98; the product against pandas."""

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

FILE = DATA / "cdnow_master.parquet"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILE.exists(), reason=f"{FILE.name} is not here (set TILLTAL_SHARED)"),
]


@pytest.fixture(scope="module")
def shop() -> Shop:
    raw = pd.read_parquet(FILE)
    purchases = pd.DataFrame(
        {
            "customer": raw["customer_id"].astype(int),
            "at": raw["date"],
            "amount": (raw["dollar_value"] * 100).round().astype(int),
        }
    )
    return Shop(
        purchases=purchases,
        zone="UTC",
        now=datetime(1998, 6, 30, 23, tzinfo=UTC),
        silent_days=180,
        engagement=Engagement(from_=("purchase",), measure="count", every="month", over=3),
        kpis=Kpis(
            period="month",
            active=("purchase",),
            sales=("purchase",),
            income=("purchase", "amount"),
            by=("lifecycle.stage", "value.segment"),
        ),
        income_cut=0.75,
        affinity_cuts=(0.6, 0.8),
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
    assert len(expected) > 24_000


def test_transitions_of_every_thirtieth_customer(engine: DuckDBEngine, everybody: dict[int, Walker]) -> None:
    expected = [
        (customer, *one)
        for customer, walker in everybody.items()
        if customer % 30 == 0
        for one in walker.transitions()
    ]
    sql = "SELECT * FROM transitions WHERE profile % 30 = 0 ORDER BY profile, date"
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
    assert len({cell for cell, *_ in found.values()}) == 5, "a high income this year takes two months"


def test_key_figures_of_all_periods_and_segments(
    shop: Shop, engine: DuckDBEngine, everybody: dict[int, Walker]
) -> None:
    rows = engine.rows("SELECT period_start, kpi, dimension, segment, value FROM kpis")
    found = {(start, kpi, dimension, segment): value for start, kpi, dimension, segment, value in rows}
    assert len(found) == len(rows)
    assert differences(found, figures_of(shop, everybody, segments_of(shop))) == []
    assert found[date(1997, 3, 1), "customers_end", "all", "all"] == len(everybody)
