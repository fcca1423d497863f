"""One definition, two tempos: random expressions over random profiles give the same value.

In DuckDB, in Python and fused with others; exactly, but for the last bits of LN, LOG10, EXP and POWER.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tilltal.core.names import quote
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression, parse
from tilltal.rules.python import fuse, to_python
from tilltal.rules.sql import to_sql
from tilltal.rules.types import Type

SCHEMA = {
    **dict.fromkeys(("flag", "consent.marketing.email"), Type.BOOLEAN),
    **dict.fromkeys(("logins", "holding.count", "rows"), Type.INTEGER),
    **dict.fromkeys(("spend_30d", "score.churn"), Type.NUMBER),
    **dict.fromkeys(("city", "lifecycle.stage"), Type.TEXT),
    **dict.fromkeys(("birth_date", "lifecycle.since"), Type.DATE),
    **dict.fromkeys(("seen", "opened"), Type.TIMESTAMP),
    **dict.fromkeys(("page", "answer"), Type.ANY),
}
SLOTS = {name: slot for slot, name in enumerate(SCHEMA)}
ARROW = {
    Type.BOOLEAN: pa.bool_(),
    Type.INTEGER: pa.int64(),
    Type.NUMBER: pa.float64(),
    Type.TEXT: pa.string(),
    Type.DATE: pa.date32(),
    Type.TIMESTAMP: pa.timestamp("us"),
    Type.ANY: pa.string(),
}
CLOCKS = [
    Clock(datetime(2026, 5, 4, 21, 59, 59, tzinfo=UTC), ZoneInfo("Europe/Stockholm")),
    Clock(datetime(2028, 2, 29, 12, tzinfo=UTC), ZoneInfo("America/New_York")),
    Clock(datetime(2026, 10, 25, 0, 30, tzinfo=UTC), ZoneInfo("Asia/Kolkata")),
]

# ------------------------------------------------------------------ profiles

WORDS = (
    "",
    "a",
    "A",
    "Oslo",
    "osloo",
    "lån",
    "LÅN/bolån",
    "50%",
    "a_b",
    "a\\b",
    "it's",
    '"',
    "  x ",
    "ß",
    "İΣς",
    "😀é",
    "12.5",
    "-7",
    "1e3",
    "\n",
    "NaN",
)
INTEGERS = (0, 1, -1, 2, 3, 7, -7, 10, 18, 100, 2**31, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63))
NUMBERS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1.5,
    2.5,
    -2.5,
    0.1,
    0.3,
    1.005,
    18.0,
    0.49999999999999994,
    1e15 + 0.5,
    2.0**53,
    2.0**63,
    -(2.0**63),
    1e300,
    -1e300,
    1.7976931348623157e308,
    5e-324,
    1e-9,
)
DATES = tuple(
    map(
        date.fromisoformat,
        (
            "0001-01-01",
            "1899-12-31",
            "1970-01-01",
            "2000-02-29",
            "2004-02-29",
            "2026-05-04",
            "2026-05-05",
            "2026-01-31",
            "2026-02-28",
            "9999-12-31",
        ),
    )
)
INSTANTS = tuple(
    map(
        datetime.fromisoformat,
        (
            "0001-01-01 00:00:00",
            "1948-05-09 19:59:20",
            "1969-12-31 23:59:59.999999",
            "1970-01-01",
            "2026-03-29 00:59:59",
            "2026-03-29 01:00:00",
            "2026-05-04 21:59:59",
            "2026-05-04 22:00:00",
            "2026-10-25 00:30:00",
            "2026-10-25 01:30:00",
            "9999-12-31 23:59:59.999999",
        ),
    )
)


def random_value(kind: Type, rng: random.Random) -> Any:
    if rng.random() < 0.2:
        return None
    match kind:
        case Type.BOOLEAN:
            return rng.random() < 0.5
        case Type.INTEGER:
            return rng.choice(INTEGERS) if rng.random() < 0.5 else rng.randrange(-50, 50)
        case Type.NUMBER:
            return random_number(rng)
        case Type.TEXT:
            return "".join(rng.choices(WORDS, k=rng.choice((1, 1, 2))))
        case Type.DATE:
            return (
                rng.choice(DATES) if rng.random() < 0.5 else date.fromordinal(rng.randrange(700_000, 760_000))
            )
        case Type.TIMESTAMP:
            return rng.choice(INSTANTS)
    return rng.choice(
        [rng.choice(WORDS), random_number(rng), rng.randrange(-50, 50), rng.random() < 0.5, 10**400, 2**70]
    )


def random_number(rng: random.Random) -> float:
    way = rng.randrange(3)
    return (rng.choice(NUMBERS), rng.uniform(-100, 100), round(rng.uniform(-20, 20), 1))[way]


def random_profiles(count: int, rng: random.Random) -> list[tuple[Any, ...]]:
    return [tuple(random_value(kind, rng) for kind in SCHEMA.values()) for _ in range(count)]


def as_table(profiles: Sequence[tuple[Any, ...]]) -> pa.Table:
    columns = {
        name: pa.array(
            [encoded(profile[slot]) if kind is Type.ANY else profile[slot] for profile in profiles],
            ARROW[kind],
        )
        for slot, (name, kind) in enumerate(SCHEMA.items())
    }
    return pa.table({"row": pa.array(range(len(profiles))), **columns})


def encoded(value: Any) -> str | None:
    """An untyped value as stores hold it: JSON."""
    if value is None:
        return None
    return str(value) if type(value) is int else msgspec.json.encode(value).decode()


# --------------------------------------------------------------- expressions


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def literal_text(kind: Type) -> st.SearchStrategy[str]:
    match kind:
        case Type.BOOLEAN:
            return st.sampled_from(["TRUE", "FALSE", "NULL"])
        case Type.INTEGER:
            return st.sampled_from([*map(str, INTEGERS), "NULL"]) | st.integers(-20, 20).map(str)
        case Type.NUMBER:
            return st.sampled_from([*map(repr, NUMBERS), "NULL"]) | st.floats(-20, 20).map(repr)
        case Type.DATE:
            return st.sampled_from(DATES).map(lambda day: f"DATE '{day}'")
        case Type.TIMESTAMP:
            zones = st.sampled_from(["", "", "Z", "+02:00"])
            middle = st.sampled_from(INSTANTS[1:-1])
            return st.tuples(middle, zones).map(lambda pair: f"TIMESTAMP '{pair[0]}{pair[1]}'")
    return st.sampled_from([*map(quoted, WORDS), "NULL"]) | st.text("ab%_\\'åß", max_size=4).map(quoted)


def name_text(kind: Type) -> st.SearchStrategy[str]:
    return st.sampled_from([name for name, its in SCHEMA.items() if its is kind])


Draw = Callable[[st.SearchStrategy[Any]], Any]
# An untyped name, among values that say what it is read as.
ASKED = {
    Type.BOOLEAN: ["({} AND TRUE)", "NULLIF({}, TRUE)", "IF(flag, {}, FALSE)"],
    Type.NUMBER: ["({} * 1)", "NULLIF({}, 7)", "COALESCE({}, answer, 0.5)"],
    Type.TEXT: ["NULLIF({}, 'a')", "COALESCE(answer, {}, '')", "CASE WHEN flag THEN {} ELSE 'b' END"],
}
ORDERED = (Type.INTEGER, Type.NUMBER, Type.TEXT, Type.DATE, Type.TIMESTAMP)


def leaf(draw: Draw, kind: Type) -> str:
    if kind in (Type.BOOLEAN, Type.NUMBER, Type.TEXT) and draw(st.integers(0, 5)) == 0:
        return str(draw(st.sampled_from(ASKED[kind]))).format(draw(name_text(Type.ANY)))
    if kind is Type.TIMESTAMP and draw(st.integers(0, 5)) == 0:
        return "NOW()"
    if kind is Type.DATE and draw(st.integers(0, 5)) == 0:
        return "TODAY()"
    return str(draw(name_text(kind) if draw(st.integers(0, 2)) else literal_text(kind)))


def term(draw: Draw, kind: Type, depth: int) -> str:
    """A random expression of a type, in text."""
    if depth <= 0:
        return leaf(draw, kind)
    if draw(st.integers(0, 4)) == 0:
        return choice(draw, kind, depth - 1)
    templates = PRODUCTIONS[kind]
    template, kinds = draw(st.sampled_from(templates))
    parts = [term(draw, part, depth - 1) for part in kinds]
    return f"({str(template).format(*parts, **literals(draw, template))})"


def choice(draw: Draw, kind: Type, depth: int) -> str:
    """What works for any type."""
    a, b = (term(draw, kind, depth) for _ in range(2))
    condition = term(draw, Type.BOOLEAN, depth)
    options = [
        f"IF({condition}, {a}, {b})",
        f"COALESCE({a}, {b})",
        f"CASE WHEN {condition} THEN {a} WHEN NOT {condition} THEN {b} END",
    ]
    if kind is not Type.BOOLEAN:
        options += [f"LEAST({a}, {b})", f"GREATEST({a}, {b}, {leaf(draw, kind)})"]
        options += [f"CASE {a} WHEN {b} THEN {leaf(draw, kind)} ELSE {b} END"]
    return str(draw(st.sampled_from([*options, f"NULLIF({a}, {b})"])))


def literals(draw: Draw, template: str) -> dict[str, str]:
    """Fill the parts of a template that must be literals."""
    fills: dict[str, str] = {}
    if "{items}" in template:
        kind = Type.TEXT if "text" in template else Type.INTEGER
        fills["items"] = ", ".join(draw(st.lists(literal_text(kind), min_size=1, max_size=4)))
    if "{pattern}" in template:
        fills["pattern"] = draw(st.text("aAoslå%_\\'", max_size=5).map(quoted))
    if "{count}" in template:
        fills["count"] = str(draw(st.integers(1, 5)))
    if "{separator}" in template:
        fills["separator"] = draw(st.sampled_from(["' '", "'a'", "'%'", "'å'"]))
    return {**fills, "text": ""}


B, I, N, T, D, S = Type.BOOLEAN, Type.INTEGER, Type.NUMBER, Type.TEXT, Type.DATE, Type.TIMESTAMP  # noqa: E741
COMPARE = [
    (f"{{}} {sign} {{}}", (kind, kind)) for sign in ("=", "<>", "<", "<=", ">", ">=") for kind in ORDERED
]
PRODUCTIONS: dict[Type, list[tuple[str, tuple[Type, ...]]]] = {
    B: [
        *COMPARE,
        *[("{} AND {}", (B, B)), ("{} OR {}", (B, B)), ("NOT {}", (B,)), ("{} AND {} AND {}", (B, B, B))] * 5,
        *[("{} = {}", (B, B)), ("{} <> {}", (I, N)), ("{} < {}", (I, N))],
        *[("{} IS NULL", (kind,)) for kind in Type if kind is not Type.ANY],
        *[("{} IS NOT NULL", (B,)), ("{} IS TRUE", (B,)), ("{} IS NOT TRUE", (B,))],
        *[("{} IS FALSE", (B,)), ("{} IS NOT FALSE", (B,))],
        *[("{} BETWEEN {} AND {}", (kind,) * 3) for kind in ORDERED],
        *[("{} NOT BETWEEN {} AND {}", (kind,) * 3) for kind in ORDERED],
        *[("{} IN ({items})", (I,)), ("{} NOT IN ({items})", (I,))],
        *[("{} IN ({text}{items})", (T,)), ("{} NOT IN ({text}{items})", (T,))] * 2,
        *[("{} LIKE {pattern}", (T,)), ("{} NOT LIKE {pattern}", (T,))] * 3,
        *[("STARTS_WITH({}, {})", (T, T)), ("ENDS_WITH({}, {})", (T, T)), ("CONTAINS({}, {})", (T, T))],
        *[("page = answer", ()), ("page <> answer", ()), ("page < answer", ())],
    ],
    I: [
        *[("{} + {}", (I, I)), ("{} - {}", (I, I)), ("{} * {}", (I, I)), ("{} % {}", (I, I)), ("- {}", (I,))]
        * 2,
        *[
            ("ABS({})", (I,)),
            ("SIGN({})", (N,)),
            ("ROUND({})", (N,)),
            ("FLOOR({})", (N,)),
            ("CEIL({})", (N,)),
        ],
        *[("LENGTH({})", (T,)), ("YEAR({})", (D,)), ("MONTH({})", (D,)), ("DAY({})", (D,))],
        *[("QUARTER({})", (D,)), ("DAY_OF_WEEK({})", (D,)), ("AGE({})", (D,)), ("HOUR_OF({})", (S,))],
        *[(f"{unit}_BETWEEN({{}}, {{}})", (D, D)) for unit in ("DAYS", "MONTHS", "YEARS")],
    ],
    N: [
        *[(f"{{}} {sign} {{}}", (N, N)) for sign in "+-*/%"] * 2,
        *[("{} / {}", (I, I)), ("- {}", (N,)), ("ABS({})", (N,)), ("ROUND({}, {count})", (N,))],
        *[
            ("SQRT({})", (N,)),
            ("LN({})", (N,)),
            ("LOG10({})", (N,)),
            ("EXP({})", (N,)),
            ("POWER({}, {})", (N, N)),
        ],
        *[("TO_NUMBER({})", (T,)), ("TO_NUMBER(page)", ()), ("{}", (I,))],
    ],
    T: [
        *[("{} || {}", (T, T)), ("CONCAT({}, {}, {})", (T, T, T)), ("LOWER({})", (T,)), ("UPPER({})", (T,))],
        *[("TRIM({})", (T,)), ("SUBSTRING({}, {count}, 2)", (T,)), ("REPLACE({}, {}, {})", (T, T, T))],
        *[("SPLIT_PART({}, {separator}, {count})", (T,)), ("TO_TEXT({})", (I,)), ("TO_TEXT({})", (D,))],
        ("TO_TEXT({})", (B,)),
    ],
    D: [("DATE_ADD_DAYS({}, {})", (D, I)), ("DATE_OF({})", (S,)), ("{}", (D,))],
    S: [("{}", (S,))],
}


@st.composite
def expressions(draw: Draw, kind: Type) -> Expression:
    return parse(term(draw, kind, draw(st.integers(1, 4))), SCHEMA, want=kind)


# -------------------------------------------------------------------- parity

INEXACT = {"LN", "LOG10", "EXP", "POWER"}  # engines may differ in the last bits


def is_same(left: Any, right: Any, *, is_exact: bool) -> bool:
    if left is None or right is None:
        return left is right
    if isinstance(left, float) and not is_exact:
        return math.isclose(left, right, rel_tol=1e-12)
    return type(left) is type(right) and bool(left == right)


def mismatches(batch: Sequence[Expression], profiles: list[tuple[Any, ...]], clock: Clock) -> list[str]:
    """Evaluate every expression on every profile in every way and describe what differs."""
    with DuckDBEngine(threads=1) as engine:
        engine.register("profiles", as_table(profiles))
        texts = ", ".join(to_sql(expression, quote, clock=clock) for expression in batch)
        rows = engine.rows(f"SELECT {texts} FROM profiles ORDER BY row")
    found = []
    named = [dict(zip(SCHEMA, profile, strict=True)) for profile in profiles]
    for column, expression in enumerate(batch):
        function = to_python(expression)
        is_exact = not expression.functions & INEXACT
        for row, values in enumerate(named):
            value = function(values, clock)
            if not is_same(rows[row][column], value, is_exact=is_exact):
                found.append(f"{expression.text}: DuckDB {rows[row][column]!r}, Python {value!r} on {values}")
    conditions = {str(column): rule for column, rule in enumerate(batch) if rule.type is Type.BOOLEAN}
    rules = fuse(conditions, SLOTS)
    for row, profile in enumerate(profiles):
        members = {int(name) for name in rules.true_names(rules(profile, clock))}
        wanted = {int(name) for name in conditions if rows[row][int(name)] is True}
        found += [f"{batch[column].text}: fused differs on {named[row]}" for column in members ^ wanted]
    return found


KINDS = st.sampled_from([B, B, B, I, N, T, D, S])
BATCHES = st.lists(KINDS.flatmap(expressions), min_size=10, max_size=30)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(BATCHES, st.integers(0, 2**32), st.sampled_from(CLOCKS))
def test_random_expressions_agree(batch: list[Expression], seed: int, clock: Clock) -> None:
    profiles = random_profiles(100, random.Random(seed))
    assert mismatches(batch, profiles, clock) == []


def test_a_comparison_of_a_name_with_itself_is_no_matter_of_where_its_value_lies() -> None:
    texts = ("logins = logins", "logins <> logins", "opened < opened", "opened BETWEEN opened AND opened",
             "logins = 3", "logins >= logins AND logins > 2", "opened IS NULL")  # fmt: skip
    batch = [parse(text, SCHEMA) for text in texts]
    assert mismatches(batch, random_profiles(300, random.Random(3)), CLOCKS[0]) == []


# a batch of expressions is long when written out, which costs time and harms nothing
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.slow
def test_a_million_cells_agree() -> None:
    cells = 0

    @settings(
        max_examples=250,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        database=None,
    )
    @given(BATCHES, st.integers(0, 2**32), st.sampled_from(CLOCKS))
    def check(batch: list[Expression], seed: int, clock: Clock) -> None:
        nonlocal cells
        profiles = random_profiles(300, random.Random(seed))
        assert mismatches(batch, profiles, clock) == []
        cells += len(batch) * len(profiles)

    check()
    print(f"{cells:,} cells, 0 mismatches")
    assert cells >= 1_000_000
