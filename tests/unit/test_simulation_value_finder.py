"""Who has nothing relevant, and conditions of the dialect that tell them apart, one for each customer."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from tilltal.core.names import quote
from tilltal.core.time import parse_instant
from tilltal.decisions.simulation.observed import Observed
from tilltal.decisions.simulation.value_finder import set_apart, under_served, weak_below
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.expression import parse
from tilltal.rules.sql import condition_sql
from tilltal.rules.types import Type

ZONE = ZoneInfo("Europe/Stockholm")
CLOCK = Clock(parse_instant("2026-05-04T12:00", ZONE), ZONE)
KINDS = {"age": Type.INTEGER, "spend": Type.NUMBER, "lifecycle.stage": Type.TEXT, "has app": Type.BOOLEAN}


def observed(most: list[float], remaining: list[float]) -> Observed:
    nothing = np.zeros(0, dtype=np.int64)
    none = np.full(len(most), -1)
    return Observed(
        actions=(), channels=(), first=none, channel=none, contacts=none, expected=np.zeros(len(most)),
        most=np.array(most), shown=nothing, worth=np.zeros(0), by_channel=nothing,
        beaten=np.zeros((0, 0), dtype=np.int64), remaining=np.array(remaining),
    )  # fmt: skip


def table(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)

    def holed(values: list[object], share: float) -> list[object]:
        return [None if hole else value for value, hole in zip(values, rng.random(rows) < share, strict=True)]

    return pa.table(
        {
            "age": pa.array(holed(rng.integers(10, 90, rows).tolist(), 0.1), pa.int64()),
            "spend": pa.array(holed(rng.lognormal(5, 2, rows).tolist(), 0.2), pa.float64()),
            "lifecycle.stage": pa.array(holed(rng.choice(["New", "Loyal", "It's"], rows).tolist(), 0.1)),
            "has app": pa.array(holed((rng.random(rows) < 0.5).tolist(), 0.1), pa.bool_()),
        }
    )


def members(conditions: list[str], given: pa.Table) -> pa.Table:
    parsed = [parse(each, KINDS, want=Type.BOOLEAN) for each in conditions]
    listed = ", ".join(
        f"{condition_sql(each, quote, clock=CLOCK)} AS c{number}" for number, each in enumerate(parsed)
    )
    with DuckDBEngine(threads=1) as engine:
        engine.run("SET preserve_insertion_order = true")
        engine.register("given", given)
        return engine.arrow(f"SELECT {listed} FROM given")


def test_the_threshold_is_a_quantile_of_what_is_left() -> None:
    one = observed([0.5, 0.02, float("nan")], [number / 100 for number in range(101)])
    assert weak_below(one) == pytest.approx(0.05)
    assert under_served(one, weak_below(one)).tolist() == [False, True, True]
    assert weak_below(observed([], [])) == 0.0
    assert under_served(one, 0.0).tolist() == [False, False, True]


def test_a_rule_that_is_true_is_found() -> None:
    given = table(2000, 1)
    age = given.column("age").fill_null(99).to_numpy()
    first, *_ = set_apart(given, KINDS, age < 18, seed=1)
    assert first.text == "age <= 17"


def test_gaps_are_told_apart_too() -> None:
    given = table(2000, 2)
    first, *rest = set_apart(given, KINDS, given.column("spend").is_null().to_numpy(), seed=1)
    assert (first.text, [each.text for each in rest]) == ("spend IS NULL", ["spend IS NOT NULL"])
    gaps = given.column("has app").is_null().to_numpy()
    assert set_apart(given, KINDS, gaps, seed=1)[0].text == '"has app" IS NULL'


@pytest.mark.parametrize("seed", range(12))
def test_every_customer_fulfils_exactly_one_condition(seed: int) -> None:
    given = table(1500, seed)
    rng = np.random.default_rng(seed)
    stage = np.array(given.column("lifecycle.stage").to_pylist(), dtype=object)
    app = np.array(given.column("has app").to_pylist(), dtype=object)
    age = given.column("age").fill_null(50).to_numpy()
    wanted = ((stage == "It's") & (app != True)) | ((age > 60) & (stage == None)) | (rng.random(1500) < 0.05)  # noqa: E711, E712 - arrays of objects
    conditions = [each.text for each in set_apart(given, KINDS, wanted.astype(bool), seed=seed)]
    assert len(conditions) > 2
    found = members(conditions, given)
    fits = np.stack([np.asarray(column.to_numpy()) for column in found.columns])
    assert (fits.sum(axis=0) == 1).all()
    shares = [wanted[each].mean() for each in fits]
    assert shares[0] > 0.5  # the first condition is a true part of the rule
    assert shares == pytest.approx(sorted(shares, reverse=True), abs=0.05)


def test_where_there_is_nothing_to_tell_apart_there_are_no_conditions() -> None:
    given = table(50, 1)
    assert set_apart(given, KINDS, np.ones(50, dtype=bool), seed=1) == ()
    assert set_apart(given, KINDS, np.zeros(50, dtype=bool), seed=1) == ()
    assert set_apart(given, {}, np.arange(50) < 5, seed=1) == ()
