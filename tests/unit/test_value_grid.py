from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from tilltal.core.names import quote
from tilltal.customers.value import Borders, Standing, borders_of, standing_of, value_steps
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import Axis, Cell, Cuts, Value

CLOCK = Clock(datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("UTC"))
SCHEMA = {"earned": Type.NUMBER, "liking": Type.NUMBER}
NAMES = {("Low", "Low"): "Prisjägare", ("Low", "High"): "Aspiranter", ("High", "Low"): "Engångsköpare"}
NAMES |= {("High", "High"): "Kungliga", ("Low", "Average"): "Lågmarginalare", ("High", "Average"): "Lojala"}
Customers = Sequence[tuple[float | None, float | None]]


def grid(income: Cuts, affinity: Cuts) -> Value:
    return Value(
        income=Axis(value="earned", cuts=income, classes=("Low", "High")),
        affinity=Axis(value="liking", cuts=affinity, classes=("Low", "Average", "High")),
        cells=tuple(Cell(income=row, affinity=column, name=name) for (row, column), name in NAMES.items()),
    )


FIXED = grid(Cuts(values=(3000,)), Cuts(values=(40, 70)))
QUANTILES = grid(Cuts(quantiles=(0.6,)), Cuts(quantiles=(0.29, 0.9)))


def in_sql(value: Value, customers: Customers, *, counted: str = "TRUE") -> list[Standing]:
    table = {
        "profile": pa.array(range(len(customers)), pa.int64()),
        "earned": pa.array([income for income, _ in customers], pa.float64(), from_pandas=False),
        "liking": pa.array([affinity for _, affinity in customers], pa.float64(), from_pandas=False),
    }
    with DuckDBEngine() as engine:
        engine.register("people", pa.table(table))
        for step in value_steps(value, SCHEMA, CLOCK, relation="people", customers=counted):
            engine.run(f"CREATE TABLE {quote(step.name)} AS {step.sql}")
        rows = engine.rows(
            'SELECT "value.segment", "value.income", "value.affinity" FROM value ORDER BY profile'
        )
    return [Standing(*row) for row in rows]


def in_python(value: Value, customers: Customers) -> list[Standing]:
    borders = borders_of(value, customers)
    return [standing_of(value, borders, income, affinity) for income, affinity in customers]


@pytest.mark.parametrize(
    ("income", "affinity", "cell"),
    [
        (3000.0, 40.0, "Lojala"),
        (2999.99, 39.99, "Prisjägare"),
        (None, 70.0, "Aspiranter"),
        (float("nan"), 70.0, "Aspiranter"),
        (-1.0, 0.0, "Prisjägare"),
        (1e12, float("inf"), "Kungliga"),
        (9000.0, None, None),
        (9000.0, float("nan"), None),
    ],
)
def test_borders_belong_to_the_class_above(
    income: float | None, affinity: float | None, cell: str | None
) -> None:
    for form in (in_python, in_sql):
        (standing,) = form(FIXED, [(income, affinity)])
        assert standing.segment == cell
        assert (standing.affinity is None) == (cell is None)


@pytest.mark.parametrize("value", [FIXED, QUANTILES, grid(Cuts(values=(0,)), Cuts(quantiles=(0.5, 0.75)))])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 100, 3_000])
def test_sql_equals_python(value: Value, count: int) -> None:
    chance = random.Random(count)
    customers = [
        (
            chance.choice([None, float("nan"), 0.0, round(chance.gauss(3000, 2000), 2), 3000.0]),
            chance.choice([None, float("nan"), 40.0, 70.0, float(chance.randrange(100))]),
        )
        for _ in range(count)
    ]
    assert in_sql(value, customers) == in_python(value, customers)


def test_a_quantile_is_the_value_that_so_many_come_before() -> None:
    customers = [(float(number), float(number)) for number in range(1, 101)]
    random.Random(1).shuffle(customers)
    assert borders_of(QUANTILES, customers) == Borders((61.0,), (30.0, 91.0))
    below = [standing for standing in in_sql(QUANTILES, customers) if standing.affinity == "Low"]
    assert len(below) == 29, "0.29 x 100 is 29, though not in binary"


def test_equal_values_are_never_parted() -> None:
    customers = [(0.0, 5.0)] * 70 + [(100.0, 9.0)] * 30
    assert borders_of(QUANTILES, customers) == Borders((0.0,), (5.0, 9.0))
    assert {standing.income for standing in in_sql(QUANTILES, customers)} == {"High"}


def test_only_customers_who_can_have_a_cell_make_the_quantiles() -> None:
    customers: Customers = [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (900.0, None), (None, None)]
    assert borders_of(QUANTILES, customers) == Borders((2.0,), (1.0, 3.0))
    assert in_sql(QUANTILES, customers) == in_python(QUANTILES, customers)
    expected = [standing_of(QUANTILES, Borders((1.0,), (1.0, 1.0)), *one) for one in customers]
    assert in_sql(QUANTILES, customers, counted="profile = 0") == expected


def test_without_cuts_there_is_one_class() -> None:
    whole = Axis(value="earned", cuts=Cuts(), classes=("Any",))
    value = Value(income=whole, affinity=whole, cells=(Cell(income="Any", affinity="Any", name="Everybody"),))
    assert in_sql(value, [(1.0, None), (None, None)]) == [
        Standing("Everybody", "Any", "Any"),
        Standing(None, "Any", None),
    ]
