"""Micro-segments against figures worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyarrow as pa
import pytest

from tilltal.customers.micro_segments import SMALL, MicroSegment, describe, describing, micro_segments_sql
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import MicroSegments

BY_STAGE = MicroSegments(dimensions=("stage", "product"), minimum_size=2)


def found(
    definition: MicroSegments, names: tuple[str, ...], **columns: Sequence[object]
) -> tuple[MicroSegment, ...]:
    with DuckDBEngine(threads=1) as engine:
        engine.register("profiles", pa.table(columns))
        return describe(definition, names, engine.arrow(micro_segments_sql(definition, names, "profiles")))


STAGES = ["New", "New", "Loyal", "Loyal", "Loyal", "Regain", "Regain"]
PRODUCTS = ["card", "card", "loan", "loan", "loan", "card", None]


def test_crossings_are_counted_largest_first_and_small_ones_have_no_name() -> None:
    segments = found(BY_STAGE, (), stage=STAGES, product=PRODUCTS)
    assert [(each.name, each.customers) for each in segments] == [
        ("Loyal · loan", 3),
        ("New · card", 2),
        (f"{SMALL} · {SMALL}", 2),  # Regain · card and Regain · –, one customer each
    ]
    assert math.isclose(sum(each.share for each in segments), 1)
    assert segments[0].share == 3 / 7


def test_nobody_can_be_found_in_a_crossing_below_the_minimum() -> None:
    definition = MicroSegments(dimensions=("stage",), minimum_size=3)
    segments = found(definition, (), stage=STAGES)
    assert [(each.name, each.customers) for each in segments] == [("Loyal", 3), (SMALL, 4)]


def test_a_missing_value_is_a_class_of_its_own() -> None:
    definition = MicroSegments(dimensions=("product",), minimum_size=1)
    assert [each.name for each in found(definition, (), product=PRODUCTS)] == ["card", "loan", "–"]


def test_differences_are_in_standard_deviations_of_all() -> None:
    definition = MicroSegments(dimensions=("stage",), minimum_size=1)
    names = ("age", "card", "same")
    (first, second) = found(
        definition,
        names,
        stage=["a", "a", "b", "b"],
        age=[20, 40, 60, 80],
        card=[True, False, True, True],
        same=[7, 7, 7, 7],
    )
    # age: mean 50, population variance (30² + 10² + 10² + 30²) / 4 = 500
    assert [each.name for each in first.differences] == ["age", "card"]  # `same` tells nobody apart
    assert first.differences[0].here == 30
    assert first.differences[0].everywhere == 50
    assert first.differences[0].deviations == pytest.approx(-20 / math.sqrt(500))
    # card: share 3/4, deviation sqrt(3/4 * 1/4)
    assert first.differences[1].deviations == pytest.approx((0.5 - 0.75) / math.sqrt(0.1875))
    assert second.differences[0].deviations == pytest.approx(20 / math.sqrt(500))


def test_what_is_not_known_of_a_segment_sets_it_not_apart() -> None:
    definition = MicroSegments(dimensions=("stage",), minimum_size=1)
    segments = found(definition, ("age",), stage=["a", "a", "b", "b"], age=[1, 3, None, None])
    assert [each.differences for each in segments if each.name == "b"] == [()]
    assert segments[0].differences[0].deviations == 0


def test_only_the_three_strongest_differences_are_told() -> None:
    definition = MicroSegments(dimensions=("stage",), minimum_size=1)
    columns: dict[str, Sequence[object]] = {f"x{i}": [0, 0, 1, i] for i in range(2, 7)}
    segments = found(definition, tuple(columns), stage=["a", "a", "b", "b"], **columns)
    assert all(len(each.differences) == 3 for each in segments)
    strengths = [abs(each.deviations) for each in segments[0].differences]
    assert strengths == sorted(strengths, reverse=True)


def test_nobody_makes_no_segments() -> None:
    definition = MicroSegments(dimensions=("stage",), minimum_size=1)
    with DuckDBEngine(threads=1) as engine:
        engine.run("CREATE TABLE profiles (stage VARCHAR, age BIGINT)")
        table = engine.arrow(micro_segments_sql(definition, ("age",), "profiles"))
    assert describe(definition, ("age",), table) == ()


def test_segments_are_described_by_plain_numbers_unless_patterns_say_otherwise() -> None:
    schema = {
        "age": Type.INTEGER,
        "town": Type.TEXT,
        "spend_30d": Type.NUMBER,
        "score.card": Type.NUMBER,
        "vip": Type.BOOLEAN,
    }
    assert describing(BY_STAGE, schema) == ("age", "spend_30d", "vip")
    chosen = MicroSegments(dimensions=("stage",), describe=("spend_*", "score.*", "town"))
    assert describing(chosen, schema) == ("spend_30d", "score.card")


def test_patterns_without_a_dot_describe_by_plain_names_only() -> None:
    schema = {"age": Type.INTEGER, "score.card": Type.NUMBER, "audience.vip": Type.BOOLEAN, "town": Type.TEXT}
    assert describing(MicroSegments(), schema) == ("age",)
    assert describing(MicroSegments(describe=("*",)), schema) == ("age",)
    assert describing(MicroSegments(describe=("a*", "score.*")), schema) == ("age", "score.card")
