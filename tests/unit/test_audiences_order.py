from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from tilltal.core.errors import WorkspaceError
from tilltal.customers.audiences import Membership, audiences_sql, compile_audiences
from tilltal.customers.derived import Derived, DerivedEvaluator, derived_sql, in_layers
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.expression import parse
from tilltal.rules.types import Type

CLOCK = Clock(datetime(2026, 6, 17, 12, tzinfo=UTC), ZoneInfo("UTC"))
SCHEMA = {"age": Type.INTEGER, "city": Type.TEXT}
PROFILES: list[dict[str, object]] = [
    {"profile": 1, "age": 17, "city": "Oslo"},
    {"profile": 2, "age": 40, "city": None},
    {"profile": 3, "age": None, "city": "Oslo"},
    {"profile": 4, "age": 40, "city": "Oslo"},
]
CHAINED = {
    "prime": "audience.local AND NOT audience.young",
    "young": "age < 18",
    "local": "city = 'Oslo'",
    "rest": "NOT audience.prime",
}


def test_audiences_refer_to_each_other_alike_in_sql_and_python() -> None:
    audiences = compile_audiences(CHAINED, SCHEMA)
    expected = {1: {"young", "local", "rest"}, 2: {"rest"}, 3: {"local", "prime"}, 4: {"local", "prime"}}
    membership = Membership(audiences)
    assert {row["profile"]: set(membership.of(row, CLOCK)) for row in PROFILES} == expected
    with DuckDBEngine(threads=1) as engine:
        engine.register("profiles", pa.Table.from_pylist(PROFILES))
        columns = ", ".join(f'"audience.{name}"' for name in CHAINED)
        rows = engine.rows(f"SELECT profile, {columns} FROM ({audiences_sql(audiences, 'profiles', CLOCK)})")
    assert {
        row[0]: {name for name, held in zip(CHAINED, row[1:], strict=True) if held} for row in rows
    } == expected
    assert all(held in (True, False) for row in rows for held in row[1:])


def test_a_cycle_is_refused_with_its_path() -> None:
    cyclic = compile_audiences({"a": "audience.b", "b": "NOT audience.c", "c": "audience.a"}, SCHEMA)
    with pytest.raises(
        WorkspaceError, match=r"W140 .*audience\.a -> audience\.b -> audience\.c -> audience\.a"
    ):
        audiences_sql(cyclic, "profiles", CLOCK)
    with pytest.raises(WorkspaceError, match="W140"):
        Membership(cyclic)


def test_all_faulty_conditions_are_told_at_once() -> None:
    with pytest.raises(WorkspaceError) as caught:
        compile_audiences({"a": "agee > 1", "b": "age >= 18", "c": "city ="}, SCHEMA)
    assert [fault.place.file for fault in caught.value.faults] == ["audiences/a.yaml", "audiences/c.yaml"]


def test_no_audiences_change_nothing() -> None:
    assert audiences_sql((), "profiles", CLOCK) == "SELECT * FROM profiles"
    assert Membership(()).of({}, CLOCK) == frozenset()


def test_expression_traits_keep_null_and_come_after_what_they_name() -> None:
    schema = {**SCHEMA, "half": Type.NUMBER, "quarter": Type.NUMBER}
    traits = [
        Derived(name="quarter", expression=parse("half / 2", schema), is_condition=False),
        Derived(name="half", expression=parse("age / 2", schema), is_condition=False),
    ]
    assert [[one.name for one in layer] for layer in in_layers(traits)] == [["half"], ["quarter"]]
    extended = [DerivedEvaluator(traits).extended(row, CLOCK)["quarter"] for row in PROFILES]
    assert extended == [4.25, 10.0, None, 10.0]
    with DuckDBEngine(threads=1) as engine:
        engine.register("profiles", pa.Table.from_pylist(PROFILES))
        rows = engine.rows(f"SELECT quarter FROM ({derived_sql(traits, 'profiles', CLOCK)}) ORDER BY profile")
    assert [row[0] for row in rows] == extended
