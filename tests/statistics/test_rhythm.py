"""Rhythms: what all customers have in common is found again, and helps to predict households."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tilltal.customers.rhythms.rhythm import HOURS, TOTAL, Rhythm, population_of
from tilltal.engines.duckdb import DuckDBEngine

_ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("TILLTAL_SHARED", _ROOT.parent / "shared"))
PURCHASES = SHARED / "data/dunnhumby_transactions.parquet"
Counts = npt.NDArray[np.int64]


def histogram(counts: Counts) -> list[tuple[int, int, int]]:
    """Count customers by hour and count, and by total."""
    columns = [*((hour, counts[:, hour]) for hour in range(HOURS)), (TOTAL, counts.sum(axis=1))]
    return [
        (hour, int(count), int(customers))
        for hour, column in columns
        for count, customers in zip(*np.unique(column, return_counts=True), strict=True)
        if count
    ]


def simulated(alpha: npt.NDArray[np.float64], customers: int, rng: np.random.Generator) -> Counts:
    """Draw customers: a rhythm each, and 1 to 60 hours by it."""
    shares = rng.dirichlet(alpha, size=customers)
    return np.stack([rng.multinomial(rng.integers(1, 61), share) for share in shares])


def test_the_population_is_found_again() -> None:
    rng = np.random.default_rng(4)
    alpha = 0.1 + 2.0 * np.exp(-0.5 * ((np.arange(HOURS) - 19) / 3.0) ** 2)
    found = population_of(histogram(simulated(alpha, 4000, rng)))
    assert found.customers == 4000
    # Each α has a relative standard error of about 1/√(customers with that hour), here below 4 %.
    np.testing.assert_allclose(found.alpha, alpha, rtol=0.12)
    assert found.strength == pytest.approx(alpha.sum(), rel=0.04)


def test_nobody_and_one_alone_are_no_fault() -> None:
    assert population_of([]).customers == 0
    one = population_of([(7, 1, 1), (TOTAL, 1, 1)])
    assert int(np.argmax(one.alpha)) == 7
    assert np.isfinite(one.strength)


def read(since: str, until: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return household and hour of the day of every hour with a purchase."""
    hour = "epoch_us(transaction_timestamp) // 3600000000"
    with DuckDBEngine(threads=1) as engine:
        table = engine.arrow(
            f"SELECT DISTINCT household_id AS household, {hour} AS hour FROM read_parquet('{PURCHASES}') "
            f"WHERE transaction_timestamp >= '{since}' AND transaction_timestamp < '{until}' ORDER BY ALL"
        )
    return table.column("household").to_numpy(), table.column("hour").to_numpy() % HOURS


def counted(households: Counts, people: Counts, hours: Counts) -> Counts:
    """Count hours by household."""
    counts = np.zeros((len(households), HOURS), dtype=np.int64)
    np.add.at(counts, (np.searchsorted(households, people), hours), 1)
    return counts


@pytest.mark.skipif(not PURCHASES.exists(), reason="needs the purchases of households in ../shared/data")
@pytest.mark.parametrize(
    "months", [("2017-05-02", "2017-07-01", "2017-07-31"), ("2017-08-02", "2017-10-01", "2017-10-31")]
)
def test_smoothed_rhythms_predict_better_than_either_alone(months: tuple[str, str, str]) -> None:
    """Sixty days tell the hours of the next thirty."""
    before, after = read(months[0], months[1]), read(months[1], months[2])
    households = np.unique(np.concatenate([before[0], after[0]]))
    counts = counted(households, *before)
    population: Rhythm = population_of(histogram(counts))
    rows, alpha = np.searchsorted(households, after[0]), np.array(population.alpha)
    forms = {"both": counts + alpha, "all": np.tile(alpha, (len(counts), 1)), "own": counts + 1e-3}
    loss, hits = {}, {}
    for name, weights in forms.items():
        shares = weights / weights.sum(axis=1, keepdims=True)
        loss[name] = -np.log(shares[rows, after[1]]).mean()
        hits[name] = float((weights.argmax(axis=1)[rows] == after[1]).mean())
    print(loss, hits, population.strength)
    assert loss["both"] < loss["all"] - 0.05 < loss["own"]
    assert hits["both"] > 1.25 * hits["all"]
    assert hits["both"] >= hits["own"]
