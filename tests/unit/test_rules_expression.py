"""What an expression reads, how it is emitted, and how many fuse into one."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from tilltal.core.names import quote
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression, parse
from tilltal.rules.python import fuse, to_python
from tilltal.rules.sql import condition_sql, to_sql
from tilltal.rules.tree import walk
from tilltal.rules.types import Type

CLOCK = Clock(datetime(2026, 5, 4, 22, 30, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
SCHEMA = {
    "age": Type.INTEGER,
    "rows": Type.INTEGER,
    "today": Type.INTEGER,
    "spend": Type.NUMBER,
    "city": Type.TEXT,
    "flag": Type.BOOLEAN,
    "born": Type.DATE,
    "lifecycle.stage": Type.TEXT,
    "consent.marketing.email": Type.BOOLEAN,
    "persona.Careful savers": Type.NUMBER,
}
SLOTS = {name: slot for slot, name in enumerate(SCHEMA)}


def expression(text: str) -> Expression:
    return parse(text, SCHEMA)


def emitted(text: str, **more: str) -> str:
    return to_sql(expression(text), quote, clock=CLOCK, **more)  # type: ignore[arg-type]


def test_an_expression_knows_what_it_reads_and_calls() -> None:
    found = expression("lifecycle.stage = 'Loyal' AND AGE(born) > 18 OR LOWER(city) LIKE 'o%'")
    assert found.names == {"lifecycle.stage", "born", "city"}
    assert {"YEARS_BETWEEN", "TODAY", "LOWER", "LIKE"} <= found.functions


def test_words_of_sql_may_be_names() -> None:
    assert expression("rows = 3 AND today >= 1").names == {"rows", "today"}


def test_names_with_spaces_stand_in_quotes() -> None:
    assert expression('persona."Careful savers" > 0.5').names == {"persona.Careful savers"}
    assert expression('"persona"."Careful savers" > 0.5').names == {"persona.Careful savers"}


def test_keywords_and_functions_ignore_case_and_space() -> None:
    assert expression("age>18 and not\n flag").tree == expression("age > 18 AND NOT flag").tree
    assert expression("upper(city)").tree == expression("UPPER( city )").tree
    assert expression("age != 1").tree == expression("age <> 1").tree


def test_equal_expressions_have_equal_trees() -> None:
    assert expression("(age) > ((18))").tree == expression("age > 18").tree
    assert len(list(walk(expression("age > 18 AND flag").tree))) == 5


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("age >= 18 AND city = 'it''s'", """(("age" >= 18) AND ("city" = 'it''s'))"""),
        ("NOT flag", """(NOT "flag")"""),
        ("lifecycle.stage IN ('A', NULL)", """("lifecycle.stage" IN ('A', CAST(NULL AS VARCHAR)))"""),
        ("age > -5", """("age" > (-5))"""),
        ("spend > 1", """("spend" > 1.0e0)"""),
        ("flag IS NOT TRUE", """(NOT COALESCE("flag", FALSE))"""),
        ("born < TODAY()", """("born" < DATE '2026-05-05')"""),
        ("NOW() IS NULL", """(TIMESTAMP '2026-05-04 22:30:00' IS NULL)"""),
        ("age", '"age"'),
        ("IF(flag, 1, 2)", 'CAST(CASE WHEN "flag" THEN 1 ELSE 2 END AS BIGINT)'),
        (
            "age / 2 > 1",
            (
                '(CASE WHEN isfinite((CAST("age" AS DOUBLE) / NULLIF(2.0e0, 0e0))) '
                'THEN (CAST("age" AS DOUBLE) / NULLIF(2.0e0, 0e0)) END > 1.0e0)'
            ),
        ),
    ],
)
def test_duckdb_text(text: str, sql: str) -> None:
    assert emitted(text) == sql


def test_spark_text_escapes_as_spark_reads() -> None:
    assert emitted(r"city = 'a\b''c'", dialect="spark") == r"""("city" = 'a\\b\'c')"""
    assert emitted(r"city LIKE 'a\_'", dialect="spark") == "(\"city\" LIKE 'a\\\\_' ESCAPE '\x01')"


def test_a_condition_is_never_null() -> None:
    assert condition_sql(expression("flag"), quote, clock=CLOCK) == 'COALESCE("flag", FALSE)'


def test_columns_may_be_any_sql() -> None:
    assert to_sql(expression("age > 1"), lambda name: f"p.{name}_x", clock=CLOCK) == "(p.age_x > 1)"


def test_precedence_is_that_of_the_database() -> None:
    """The same words, read by DuckDB's own parser and by ours, give the same value."""
    texts = [
        "1 + 2 * 3 - 4 % 3",
        "2 * 3 % 4",
        "NOT TRUE OR TRUE",
        "NOT 1 = 2",
        "TRUE OR FALSE AND FALSE",
        "1 = 1 IS TRUE",
        "NOT NULL IS NULL",
        "1 + 1 IN (2)",
        "'a' || 'b' = 'ab'",
        "'a' || 'b' LIKE 'a%'",
        "2 BETWEEN 1 AND 3 AND FALSE",
        "NOT 5 BETWEEN 1 AND 3",
        "- 2 * - 3",
        "1 - -1",
        "TRUE = 1 IN (1)",
        "1 IN (1) = TRUE",
        "NOT 'a' LIKE 'b' AND FALSE",
        "CASE WHEN TRUE THEN 1 ELSE 2 END + 1",
        "3 IS NULL = FALSE",
        "10 - 3 - 2",
        "1 IS NOT NULL AND NULL IS NOT TRUE",
    ]
    with DuckDBEngine(threads=1) as engine:
        theirs = engine.rows(f"SELECT {', '.join(texts)}")[0]
    assert [to_python(parse(text, {}))({}, CLOCK) for text in texts] == list(theirs)


def test_a_missing_name_is_null() -> None:
    assert to_python(expression("age > 18"))({}, CLOCK) is None
    assert to_python(expression("age IS NULL"))({}, CLOCK) is True


PROFILES = [
    {},
    {"age": 17, "city": "Oslo", "flag": True},
    {"age": 18, "city": "Lund", "flag": False, "spend": 10.0},
    {"age": 65, "city": "Oslo", "flag": True, "spend": 1e9, "born": date(1990, 1, 1)},
    {"age": -(2**63), "city": "", "spend": -0.5, "born": date(2026, 5, 5)},
    {"age": 2**63 - 1, "city": "Oslo\0", "spend": 1.7976931348623157e308, "born": date(9999, 12, 31)},
]
RULES = [
    "age >= 18",
    "age > 18",
    "age < 65 OR age IS NULL",
    "NOT age = 18",
    "age BETWEEN 18 AND 65",
    "age IN (17, 18, NULL)",
    "age NOT IN (17, 18)",
    "age >= 18 AND flag AND city = 'Oslo'",
    "city IN ('Oslo', 'Lund') AND spend > 5",
    "city > 'Oslo'",
    "city <= 'Oslo'",
    "city <> ''",
    "spend >= 10.0",
    "spend > 10",
    "spend / age > 1",
    "spend / age > 1 OR spend / age < 0",
    "flag",
    "NOT flag",
    "flag IS NOT TRUE",
    "born < TODAY()",
    "born <= DATE '2026-05-05'",
    "born > DATE '9999-12-31'",
    "born >= DATE '9999-12-31'",
    "TRUE",
    "FALSE",
    "NULL",
    "age = NULL",
    "city LIKE 'O%' AND age > 20",
    "NOT (city LIKE 'O%')",
    "COALESCE(age, 0) < 18",
    "COALESCE(age, 0) >= 18",
    "COALESCE(age, 30) BETWEEN 20 AND 40",
    "COALESCE(age, spend, 30) > 18",
    "COALESCE(COALESCE(spend, NULL), 7.5) > 5",
    "COALESCE(spend, NULL) IS NULL",
    "COALESCE(city, 'Oslo') = 'Oslo'",
    "COALESCE(flag, TRUE)",
    "NOT COALESCE(flag, TRUE)",
    "IF(flag, age, 0) > 17",
    "(age >= 18) IS NOT FALSE",
]


def test_fused_rules_answer_as_each_alone() -> None:
    conditions = {text: parse(text, SCHEMA, want=Type.BOOLEAN) for text in RULES}
    rules = fuse(conditions, SLOTS)
    for profile in PROFILES:
        mask = rules([profile.get(name) for name in SCHEMA], CLOCK)
        alone = tuple(name for name, rule in conditions.items() if to_python(rule)(profile, CLOCK) is True)
        assert rules.true_names(mask) == alone


def test_fused_rules_answer_for_some_as_for_all() -> None:
    rules = fuse({text: parse(text, SCHEMA, want=Type.BOOLEAN) for text in RULES}, SLOTS)
    for profile in PROFILES:
        values = [profile.get(name) for name in SCHEMA]
        for among in (0, 1, 0b1010 << 5, -1 << 9):
            assert rules(values, CLOCK, among & (1 << len(RULES)) - 1) == rules(values, CLOCK) & among


def test_an_index_of_points_knows_what_is_none_of_them() -> None:
    ends = {date(1, 1, 1): "DATE '0001-01-01'", date(9999, 12, 31): "DATE '9999-12-31'"}
    conditions = {
        "both": expression(f"born IN ({', '.join(ends.values())})"),
        "neither": expression(f"born NOT IN ({', '.join(ends.values())})"),
        "unknown": expression("born IS NULL"),
    }
    rules = fuse(conditions, {"born": 0})
    answers = {day: rules.true_names(rules([day], CLOCK)) for day in (*ends, date(2026, 5, 4), None)}
    assert list(answers.values()) == [("both",), ("both",), ("neither",), ("unknown",)]


def test_rules_that_ask_only_whether_there_is_a_value_fuse() -> None:
    texts = ("spend IS NULL", "spend IS NOT NULL", "spend < NULL", "(spend <> NULL) IS NOT TRUE")
    rules = fuse({text: expression(text) for text in texts}, {"spend": 0})
    assert rules.true_names(rules([None], CLOCK)) == ("spend IS NULL", "(spend <> NULL) IS NOT TRUE")
    assert rules.true_names(rules([1.0], CLOCK)) == ("spend IS NOT NULL", "(spend <> NULL) IS NOT TRUE")


def test_fused_rules_compute_what_they_share_once() -> None:
    conditions = {
        "a": expression("LOWER(city) = 'oslo' AND age > 1"),
        "b": expression("LOWER(city) LIKE 'o%' AND (age > 1 OR flag)"),
        "c": expression("LOWER(city) LIKE 'o%' AND (age > 1 OR spend > 5)"),
    }
    text = fuse(conditions, SLOTS).text
    assert text.count("lower(") == 1
    assert text.count("> 1") == 1


def test_no_rules_fuse_to_nothing() -> None:
    assert fuse({}, {})([], CLOCK) == 0


def test_only_conditions_fuse() -> None:
    with pytest.raises(ValueError, match="spend gives: number; only conditions can be fused"):
        fuse({"spend": expression("spend")}, SLOTS)
