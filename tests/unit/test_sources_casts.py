"""What each type of field takes from text, and the reason where it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from tilltal.core.names import literal
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.sources.casts import Context, cast
from tilltal.sources.inputs import Input
from tilltal.sources.reasons import read
from tilltal.workspace.definitions.sources import FieldType

STOCKHOLM = ZoneInfo("Europe/Stockholm")


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as engine:
        yield engine


def outcome(
    engine: DuckDBEngine, one: Input, sql: str, kind: str = "VARCHAR", currency: str = "SEK"
) -> tuple[object, list[str]]:
    """Return the value and the codes of the reasons for one cell."""
    how = cast(one, kind, "c", "v", Context(currency=currency, zone=STOCKHOLM))
    reasons = ", ".join(f"CASE WHEN {condition} THEN {reason} END" for condition, reason in how.faults)
    valued = f"SELECT *, {how.value} AS v FROM (SELECT {sql} AS c)"
    query = f"SELECT {how.final}, [{reasons or 'NULL'}] FROM ({valued})"
    value, found = engine.rows(query)[0]
    return value, [read(text).code for text in found if text is not None]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("integer", "42", 42),
        ("integer", "-7", -7),
        ("integer", "42.0", 42),
        ("integer", "1 234", 1234),
        ("integer", "42.5", "S332"),
        ("integer", "1_000", "S332"),
        ("integer", "0x10", "S332"),
        ("integer", "99999999999999999999", "S332"),
        ("number", "1e3", 1000.0),
        ("number", ".5", 0.5),
        ("number", "nan", "S333"),
        ("number", "-inf", "S333"),
        ("number", "Infinity", "S333"),
        ("number", "1e999", "S333"),
        ("number", "1,5", "S332"),
        ("number", "twelve", "S332"),
        ("money", "0.10", 10),
        ("money", "0.29", 29),
        ("money", "-12.5", -1250),
        ("money", "1e2", 10000),
        ("money", "12.340", 1234),
        ("money", "12.345", "S334"),
        ("money", "NaN", "S333"),
        ("money", "inf", "S333"),
        ("money", "999999999999999999", "S335"),
        ("money", "12 kr", "S332"),
        ("boolean", "Yes", True),
        ("boolean", "0", False),
        ("boolean", "maybe", "S332"),
        ("date", "2026-05-04", date(2026, 5, 4)),
        ("date", "2026-05-04T23:30:00Z", date(2026, 5, 5)),
        ("date", "0001-01-01", date(1, 1, 1)),
        ("date", "9999-12-31", date(9999, 12, 31)),
        ("date", "2026-02-30", "S332"),
        ("date", "infinity", "S332"),
        ("date", "epoch", "S332"),
        ("timestamp", "2026-05-04 10:00", datetime(2026, 5, 4, 8)),
        ("timestamp", "2026-05-04T10:00:00.25+05:30", datetime(2026, 5, 4, 4, 30, 0, 250000)),
        ("timestamp", "2026-05-04T10:00:00Z", datetime(2026, 5, 4, 10)),
        ("timestamp", "2026-05-04", datetime(2026, 5, 3, 22)),
        ("timestamp", "2026-05-04 10:00:00 Europe/London", "S332"),
        ("timestamp", "10000-01-01", "S332"),
        ("timestamp", "0001-01-01", "S339"),
        ("timestamp", "9999-12-31 23:59:59", datetime(9999, 12, 31, 22, 59, 59)),
        ("timestamp", "now", "S332"),
        ("text", "as it is", "as it is"),
    ],
)
def test_text_becomes_a_value_or_a_reason(
    engine: DuckDBEngine, kind: FieldType, text: str, expected: object
) -> None:
    value, codes = outcome(engine, Input(role="fields.x", column="x", type=kind), literal(text))
    if isinstance(expected, str) and expected.startswith("S3"):
        assert codes == [expected]
    else:
        assert (value, codes) == (expected, [])


@pytest.mark.parametrize(
    ("currency", "text", "minor"), [("JPY", "120", 120), ("KWD", "1.234", 1234), ("EUR", "1.2", 120)]
)
def test_money_has_the_decimals_of_its_currency(
    engine: DuckDBEngine, currency: str, text: str, minor: int
) -> None:
    one = Input(role="fields.x", column="x", type="money")
    assert outcome(engine, one, literal(text), currency=currency) == (minor, [])


def test_all_amounts_of_a_hundred_kronor_are_exact(engine: DuckDBEngine) -> None:
    how = cast(
        Input(role="fields.x", column="x", type="money"),
        "VARCHAR",
        "c",
        "v",
        Context(currency="SEK", zone=STOCKHOLM),
    )
    texts = (
        "SELECT i, (i // 100) || '.' || lpad(CAST(i % 100 AS VARCHAR), 2, '0') AS c FROM range(10000) AS t(i)"
    )
    query = f"SELECT count(*) FROM (SELECT *, {how.value} AS v FROM ({texts})) WHERE {how.final} = i"
    assert engine.rows(query) == [(10000,)]


@pytest.mark.parametrize(
    ("sql", "kind", "expected"),
    [
        ("CAST(0.29 AS DOUBLE)", "DOUBLE", 29),
        ("CAST(0.1 AS DOUBLE) + CAST(0.2 AS DOUBLE)", "DOUBLE", 30),
        ("CAST(12.345 AS DOUBLE)", "DOUBLE", "S334"),
        ("CAST('nan' AS DOUBLE)", "DOUBLE", "S333"),
        ("CAST('inf' AS DOUBLE)", "DOUBLE", "S333"),
        ("CAST(5 AS INTEGER)", "INTEGER", 500),
        ("CAST(5.25 AS DECIMAL(9,2))", "DECIMAL(9,2)", 525),
    ],
)
def test_money_from_typed_columns(engine: DuckDBEngine, sql: str, kind: str, expected: object) -> None:
    value, codes = outcome(engine, Input(role="fields.x", column="x", type="money"), sql, kind)
    assert (codes[0] if codes else value) == expected


@pytest.mark.parametrize(
    ("sql", "kind", "expected"),
    [
        ("TIMESTAMP '2026-05-04 10:00:00'", "TIMESTAMP", datetime(2026, 5, 4, 8)),
        ("TIMESTAMPTZ '2026-05-04 10:00:00+00'", "TIMESTAMP WITH TIME ZONE", datetime(2026, 5, 4, 10)),
        ("DATE '2026-05-04'", "DATE", datetime(2026, 5, 3, 22)),
        ("TIMESTAMP 'infinity'", "TIMESTAMP", "S339"),
    ],
)
def test_times_from_typed_columns(engine: DuckDBEngine, sql: str, kind: str, expected: object) -> None:
    value, codes = outcome(engine, Input(role="at", column="x", type="timestamp"), sql, kind)
    assert (codes[0] if codes else value) == expected


@pytest.mark.parametrize(
    ("decimal", "text", "expected"),
    [(",", "1 234,50", 123450), (",", "12,5", 1250), (",", "1.234,50", "S332"), (".", "1,234.50", "S332")],
)
def test_the_decimal_sign_is_the_stated_one(
    engine: DuckDBEngine, decimal: str, text: str, expected: object
) -> None:
    one = Input(role="fields.x", column="x", type="money", decimal=decimal)
    value, codes = outcome(engine, one, literal(text))
    assert (codes[0] if codes else value) == expected


def test_limits_of_money_are_in_major_units(engine: DuckDBEngine) -> None:
    one = Input(role="fields.x", column="x", type="money", minimum=0, maximum=100)
    assert outcome(engine, one, "'100.00'") == (10000, [])
    assert outcome(engine, one, "'100.01'")[1] == ["S335"]
    assert outcome(engine, one, "'-0.01'")[1] == ["S335"]


def test_every_reason_of_a_cell_is_told(engine: DuckDBEngine) -> None:
    one = Input(role="fields.x", column="x", type="integer", minimum=10, values=("1", "2"), is_required=True)
    assert outcome(engine, one, "'3'")[1] == ["S335", "S336"]
    assert outcome(engine, one, "CAST(NULL AS VARCHAR)")[1] == ["S331"]


def test_a_stated_format_is_followed_and_may_hold_an_offset(engine: DuckDBEngine) -> None:
    local = Input(role="at", column="x", type="timestamp", format="%d.%m.%Y %H:%M")
    assert outcome(engine, local, "'04.05.2026 10:00'") == (datetime(2026, 5, 4, 8), [])
    assert outcome(engine, local, "'2026-05-04 10:00'")[1] == ["S332"]
    offset = Input(role="at", column="x", type="timestamp", format="%d.%m.%Y %H:%M %z")
    assert outcome(engine, offset, "'04.05.2026 10:00 +0500'") == (datetime(2026, 5, 4, 5), [])
    day = Input(role="fields.x", column="x", type="date", format="%Y%m%d")
    assert outcome(engine, day, "'20260504'") == (date(2026, 5, 4), [])


def test_a_zone_of_its_own_comes_before_the_banks(engine: DuckDBEngine) -> None:
    one = Input(role="at", column="x", type="timestamp", time_zone="America/New_York")
    assert outcome(engine, one, "'2026-05-04 10:00'") == (datetime(2026, 5, 4, 14), [])


def test_decimals_come_back_as_whole_numbers(engine: DuckDBEngine) -> None:
    value, _ = outcome(engine, Input(role="fields.x", column="x", type="money"), "'1.00'")
    assert not isinstance(value, Decimal)
