from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from tilltal.core.names import quote
from tilltal.customers.traits.batch import TraitPlan, trait_plan
from tilltal.customers.traits.compiled import compile_traits
from tilltal.customers.traits.schema import EventType
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Measure, Trait

CLOCK = Clock(datetime(2026, 6, 17, 12, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
SCHEMAS = {
    "buy": EventType({"amount": Type.NUMBER, "city": Type.TEXT}, {"amount": 100}),
    "look": EventType({"city": Type.TEXT}),
}


def _plan(**traits: Trait) -> TraitPlan:
    return trait_plan(compile_traits(traits, SCHEMAS), SCHEMAS, CLOCK)


def _sql(plan: TraitPlan) -> str:
    return "\n".join([*(step.sql for step in plan.steps), plan.select])


def _buys(amounts: Sequence[int | None], at: datetime) -> pa.Table:
    rows = len(amounts)
    return pa.table(
        {
            "profile": pa.array([1] * rows, pa.int64()),
            "event_id": pa.array([f"{number:032x}" for number in range(rows)]),
            "at": pa.array([at.replace(tzinfo=None)] * rows, pa.timestamp("us")),
            "received": pa.array([at.replace(tzinfo=None)] * rows, pa.timestamp("us")),
            "amount": pa.array(amounts, pa.int64()),
            "city": pa.array([None] * rows, pa.string()),
        }
    )


def _row(plan: TraitPlan, buys: pa.Table) -> dict[str, object]:
    with DuckDBEngine(threads=1) as engine:
        engine.register("event.buy", buys)
        engine.register("spine", pa.table({"profile": pa.array([1], pa.int64())}))
        for step in plan.steps:
            engine.run(f"CREATE TEMP TABLE {quote(step.name)} AS {step.sql}")
        names = [str(row[0]) for row in engine.rows(f"DESCRIBE {plan.select}")]
        (row,) = engine.rows(plan.select)
        return dict(zip(names, row, strict=True))


def test_nested_windows_read_an_event_type_once() -> None:
    windows = ("1 hour", "7 days", "30 days", "12 months", None)
    plan = _plan(**{f"n{number}": Trait(measure="sum", of="amount", from_=("buy",), window=window)
                    for number, window in enumerate(windows)})  # fmt: skip
    assert _sql(plan).count('"event.buy"') == 1
    assert _sql(plan).count('SUM("amount")') == 1


def test_an_event_type_that_several_traits_combine_is_still_read_once() -> None:
    plan = _plan(
        buys=Trait(measure="count", from_=("buy",)),
        both=Trait(measure="count", from_=("look", "buy")),
        same=Trait(measure="count", from_=("buy", "look"), window="7 days"),
    )
    assert _sql(plan).count('"event.buy"') == 1
    assert _sql(plan).count('"event.look"') == 1
    assert [step.name for step in plan.steps] == ["rings.buy", "traits.1: buy", "traits.2: buy + look"]


def test_events_before_the_longest_window_are_not_read() -> None:
    plan = _plan(a=Trait(measure="count", from_=("buy",), window="2 days"))
    assert """WHERE "at" >= TIMESTAMP '2026-06-15 22:00:00'""" in _sql(plan)
    endless = _plan(a=Trait(measure="count", from_=("buy",)))
    assert "TIMESTAMP" not in _sql(endless)


def test_only_needed_columns_are_read() -> None:
    sql = _sql(_plan(a=Trait(measure="count", from_=("buy",), where="city = 'Oslo'")))
    assert "amount" not in sql
    assert "received" not in sql
    assert "event_id" not in sql


def test_money_is_summed_exactly_in_minor_units() -> None:
    plan = _plan(
        total=Trait(measure="sum", of="amount", from_=("buy",)),
        small=Trait(measure="sum", of="amount", from_=("buy",), where="amount < 0.25"),
    )
    row = _row(plan, _buys([10] * 1000 + [2**52, 1, None], CLOCK.now))
    assert row["total"] == (2**52 + 10_001) / 100
    assert row["small"] == 100.01


def test_a_sum_beyond_64_bits_of_minor_units_is_still_a_number() -> None:
    row = _row(_plan(total=Trait(measure="sum", of="amount", from_=("buy",))), _buys([2**62] * 4, CLOCK.now))
    assert row["total"] == pytest.approx(2**64 / 100)


def test_a_trait_without_events_counts_zero_and_knows_nothing_else() -> None:
    measures: tuple[Measure, ...] = (
        "count",
        "sum",
        "avg",
        "min",
        "max",
        "first",
        "last",
        "distinct",
        "exists",
    )
    traits = {measure: Trait(measure=measure, of="amount", from_=("buy",)) for measure in measures}
    row = _row(_plan(**traits, recency=Trait(measure="recency", from_=("buy",))), _buys([], CLOCK.now))
    assert row == {
        "profile": 1, "count": 0, "distinct": 0, "exists": False, "recency": None,
        "sum": None, "avg": None, "min": None, "max": None, "first": None, "last": None,
    }  # fmt: skip


def test_no_traits_give_the_bare_spine() -> None:
    plan = _plan()
    assert plan.steps == ()
    assert plan.select == "SELECT spine.profile FROM spine"


def test_equal_numbers_of_an_untyped_field_are_one_value() -> None:
    schemas = {"buy": EventType({"anything": Type.ANY})}
    traits = {"distinct": Trait(measure="distinct", of="anything", from_=("buy",))}
    buys = _buys([None] * 6, CLOCK.now).append_column(
        "anything", pa.array(["1", "1.0", '"1"', "true", '"a"', '"A"'])
    )
    assert _row(trait_plan(compile_traits(traits, schemas), schemas, CLOCK), buys)["distinct"] == 5
