"""Every operator and function on every engine against golden rows.

The rows are those of tests/golden/rules/values.txt and the examples of the reference page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tilltal.core.names import literal
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression, parse
from tilltal.rules.functions import FUNCTIONS
from tilltal.rules.python import to_python
from tilltal.rules.sql import Dialect, sql_type, to_sql
from tilltal.rules.types import Type

CLOCK = Clock(datetime(2026, 5, 4, 22, 30, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
PROFILE: dict[str, tuple[Type, Any]] = {
    "age": (Type.INTEGER, 42),
    "logins": (Type.INTEGER, 0),
    "spend": (Type.NUMBER, 1250.5),
    "city": (Type.TEXT, "Umeå"),
    "note": (Type.TEXT, None),
    "flag": (Type.BOOLEAN, True),
    "maybe": (Type.BOOLEAN, None),
    "born": (Type.DATE, date(1984, 2, 29)),
    "seen": (Type.TIMESTAMP, datetime.fromisoformat("2026-05-04 22:30:00")),
    "score": (Type.ANY, 12.5),
    "word": (Type.ANY, "abc"),
    "sure": (Type.ANY, True),
    "missing": (Type.ANY, None),
}
SCHEMA = {name: kind for name, (kind, _) in PROFILE.items()}
JSON = {"score": "12.5", "word": '"abc"', "sure": "true"}
VALUES = Path(__file__).parents[1] / "golden" / "rules" / "values.txt"
INEXACT = {"LN", "LOG10", "EXP", "POWER"}

Evaluate = Callable[[Sequence[Expression]], Sequence[Any]]


def golden_rows() -> list[tuple[Expression, Expression]]:
    """Expressions in pairs of equal value."""
    lines = VALUES.read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" → ") for line in lines if line and not line.startswith("#")]
    pairs += [list(example) for function in FUNCTIONS.values() for example in function.examples]
    found = [(parse(left, SCHEMA), right) for left, right in pairs]
    return [(left, parse(right, SCHEMA, want=left.type)) for left, right in found]


def column(name: str, dialect: Dialect) -> str:
    kind, value = PROFILE[name]
    shown = JSON.get(name, value)
    text = "NULL" if shown is None else literal(str(shown))
    return f"CAST({text} AS {sql_type(kind, dialect)})"


def query(expressions: Sequence[Expression], dialect: Dialect) -> str:
    """One row of all expressions, over columns, so that the engine computes and does not fold."""
    inner = ", ".join(f"{column(name, dialect)} AS {name}" for name in PROFILE)
    outer = ", ".join(
        f"{to_sql(expression, str, dialect=dialect, clock=CLOCK)} AS c{i}"
        for i, expression in enumerate(expressions)
    )
    return f"SELECT {outer} FROM (SELECT {inner}) AS profile"


def in_python(expressions: Sequence[Expression]) -> Sequence[Any]:
    values = {name: value for name, (_, value) in PROFILE.items()}
    return [to_python(expression)(values, CLOCK) for expression in expressions]


def in_duckdb(expressions: Sequence[Expression]) -> Sequence[Any]:
    with DuckDBEngine(threads=1) as engine:
        return engine.rows(query(expressions, "duckdb"))[0]


@pytest.fixture(scope="module")
def in_spark() -> Iterator[Evaluate]:
    sql = pytest.importorskip("pyspark.sql", reason="needs the extra tilltal[spark]")
    builder = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    session = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()

    def evaluate(expressions: Sequence[Expression]) -> Sequence[Any]:
        found: list[Any] = []
        for start in range(0, len(expressions), 100):  # Java methods have a largest size
            found += session.sql(query(expressions[start : start + 100], "spark")).collect()[0]
        return found

    yield evaluate
    session.stop()


def differences(evaluate: Evaluate) -> list[str]:
    rows = golden_rows()
    lefts, rights = (evaluate(side) for side in zip(*rows, strict=True))
    wanted = in_python([right for _, right in rows])
    found = zip(rows, lefts, rights, wanted, strict=True)
    return [
        f"{pair[0].text} gives {left!r}, not {want!r} ({pair[1].text} gives {right!r})"
        for pair, left, right, want in found
        if not (is_same(left, want, pair[0]) and is_same(right, want, pair[0]))
    ]


def is_same(value: Any, wanted: Any, expression: Expression) -> bool:
    if expression.functions & INEXACT and isinstance(value, float) and isinstance(wanted, float):
        return math.isclose(value, wanted, rel_tol=1e-12)
    return type(value) is type(wanted) and bool(value == wanted)


def test_python_gives_the_golden_values() -> None:
    assert differences(in_python) == []


def test_duckdb_gives_the_golden_values() -> None:
    assert differences(in_duckdb) == []


@pytest.mark.spark
def test_spark_gives_the_golden_values(in_spark: Evaluate) -> None:
    assert differences(in_spark) == []


def test_golden_rows_cover_every_operator_and_function() -> None:
    text = VALUES.read_text(encoding="utf-8")
    spelled = {"negative": "-(", "IS NULL": "IS NULL"}
    assert [name for name in FUNCTIONS if spelled.get(name, name) not in text] == []


def test_golden_values_are_literals() -> None:
    """The right sides say the value; a right side that computes could hide a fault of its own."""
    assert [right.text for _, right in golden_rows() if right.names] == []
