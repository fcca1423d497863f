"""The reference page of the dialect is current, and what it says is so."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.expression import parse
from tilltal.rules.functions import FUNCTIONS
from tilltal.rules.python import to_python
from tilltal.rules.reference import page
from tilltal.rules.sql import to_sql
from tilltal.rules.types import Type

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "dialect.md").read_text(encoding="utf-8")
EXAMPLES = [tuple(line.split(" → ")) for line in PAGE.splitlines() if " → " in line]
CLOCK = Clock(datetime(2026, 5, 4, 8, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
NAMES = {
    **dict.fromkeys(("age", "spend_7d", "spend_30d", "score.buys_card"), Type.NUMBER),
    **dict.fromkeys(("city", "lifecycle.stage", "value.segment"), Type.TEXT),
    **dict.fromkeys(("holding.credit_card", "consent.marketing.email", "is_known"), Type.BOOLEAN),
    "opened": Type.DATE,
}


def test_the_page_is_current() -> None:
    assert page() == PAGE, "run: python -m tilltal.rules.reference > docs/reference/dialect.md"


def test_the_page_shows_every_operator_and_function() -> None:
    assert len(EXAMPLES) == sum(len(function.examples) for function in FUNCTIONS.values())
    assert [function.name for function in FUNCTIONS.values() if function.about not in PAGE] == []


@pytest.fixture(scope="module")
def results() -> list[tuple[str, Any, Any, Any, Any]]:
    """For each example its text and both sides in DuckDB and in Python."""
    pairs = [(parse(left, {}), right) for left, right in EXAMPLES]
    both = [(left, parse(right, {}, want=left.type)) for left, right in pairs]
    with DuckDBEngine(threads=1) as engine:
        texts = (to_sql(side, str, clock=CLOCK) for pair in both for side in pair)
        values = engine.rows(f"SELECT {', '.join(texts)}")[0]
    python = [[to_python(side)({}, CLOCK) for side in pair] for pair in both]
    return [(left.text, values[2 * i], values[2 * i + 1], *python[i]) for i, (left, _) in enumerate(both)]


def test_every_example_gives_what_the_page_says(results: list[tuple[str, Any, Any, Any, Any]]) -> None:
    assert len(results) > 100
    assert [row for row in results if not row[1] == row[2] == row[3] == row[4]] == []


def test_every_function_tells_what_it_does_with_null(
    results: list[tuple[str, Any, Any, Any, Any]],
) -> None:
    """Strict functions, most of the table, are NULL for a NULL in any place."""
    values = {
        Type.INTEGER: "1",
        Type.NUMBER: "1.5",
        Type.TEXT: "'a'",
        Type.DATE: "TODAY()",
        Type.BOOLEAN: "TRUE",
    }
    for function in FUNCTIONS.values():
        for form in function.forms:
            for missing in range(min(len(form.takes), form.literal_from)):
                args = [values[kind] for kind in form.takes]
                args[missing] = "NULL"
                assert to_python(parse(written(function.name, args), {}))({}, CLOCK) is None


def written(name: str, args: list[str]) -> str:
    if name == "negative":
        return f"-({args[0]})"
    return f"{name}({', '.join(args)})" if name[0].isalpha() else f" {name} ".join(args)


def test_the_conditions_of_the_introduction_are_accepted() -> None:
    block = PAGE.split("```")[1].strip().splitlines()
    inline = re.findall(r"`((?:COALESCE\(spend|spend_30d IS|is_known AND).*?)`", PAGE)
    assert len(block) == 5
    assert len(inline) == 3
    for text in (*block, *inline):
        parse(text, NAMES)
