"""When a customer is looked at again although nothing comes."""

from __future__ import annotations

import pytest

from tilltal.customers.live.wakes import limits_of
from tilltal.rules.expression import parse
from tilltal.rules.types import Type

SCHEMA = {"age": Type.INTEGER, "other": Type.INTEGER}


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("age >= 30 OR age = 5", (5, 6, 30, 31)),
        ("age BETWEEN 3 AND 4 AND other > 7", (3, 4, 5)),
        ("age IN (1, 9)", (1, 2, 9, 10)),
        ("COALESCE(age, 99) > 2.5", (2, 3)),
        ("age IS NULL OR NOT 4 < age", (4, 5)),
        ("other > 1", ()),
        ("age > other", None),
        ("age + 1 > 3", None),
        ("age", None),
        ("COALESCE(age, other) > 3", None),
        ("age > 3 OR ABS(age) < 2", None),
    ],
)
def test_a_number_matters_where_it_is_compared_with_constants_only(
    text: str, limits: tuple[int, ...] | None
) -> None:
    assert limits_of("age", [parse(text, SCHEMA)]) == limits
