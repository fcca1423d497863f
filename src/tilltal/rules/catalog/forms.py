"""What describes an operator or function, and the short ways to write such descriptions.

Most are strict (NULL in, NULL out) and described by forms: for given types, the text that computes them in
DuckDB, in Spark and in Python. The few that treat NULL in their own way (AND, COALESCE, CASE ...) have no
forms; `checking`, `sql` and `running.coder` each know them by name.

Engines differ, so a form spells out what it means: BIGINT arithmetic runs in HUGEINT and is NULL outside 64
bits; a quotient is of DOUBLEs and NULL for a zero divisor; what is not finite is NULL.
"""

from __future__ import annotations

import msgspec

from tilltal.rules.types import Type

BOOLEAN, INTEGER, NUMBER, TEXT, DATE = Type.BOOLEAN, Type.INTEGER, Type.NUMBER, Type.TEXT, Type.DATE

_LETTERS = {"b": BOOLEAN, "i": INTEGER, "n": NUMBER, "t": TEXT, "d": DATE, "a": Type.ANY}


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How a function is computed for given types. `{0}` is the first argument; in Python it is never None."""

    takes: tuple[Type, ...]
    gives: Type
    duckdb: str
    spark: str
    python: str
    is_partial: bool = False  # may be NULL though no argument is
    is_unbounded: bool = False  # may be infinite or NaN; the checker then adds FINITE
    takes_unbounded: bool = False  # arithmetic: carries on as IEEE 754 does
    literal_from: int = 99  # arguments from this position on must be literals

    def copies(self, position: int) -> int:
        """How often the SQL repeats an argument; an engine writes out NULLIF(a, b) as a CASE with two `a`."""
        mark = f"{{{position}}}"
        return max(text.count(mark) + text.count(f"NULLIF({mark}") for text in (self.duckdb, self.spark))


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """An operator or function as its users know it. Examples are pairs of equal expressions."""

    name: str
    signature: str
    about: str
    nulls: str
    examples: tuple[tuple[str, str], ...]
    forms: tuple[Form, ...] = ()


def form(
    takes: str,
    gives: Type,
    duckdb: str,
    python: str,
    spark: str = "",
    *,
    is_partial: bool = False,
    is_unbounded: bool = False,
    takes_unbounded: bool = False,
    literal_from: int = 99,
) -> Form:
    """Make a form; `takes` spells the types by their first letters, Spark is as DuckDB where empty."""
    return Form(
        takes=tuple(_LETTERS[letter] for letter in takes),
        gives=gives,
        duckdb=duckdb,
        spark=spark or duckdb,
        python=python,
        is_partial=is_partial,
        is_unbounded=is_unbounded,
        takes_unbounded=takes_unbounded,
        literal_from=literal_from,
    )


def entry(
    name: str,
    signature: str,
    about: str,
    *forms: Form,
    examples: str,
    nulls: str = "NULL if an argument is NULL.",
) -> Function:
    """Make a function; its examples are written `expression → value`, apart by semicolons."""
    pairs = (example.split(" → ") for example in examples.split("; "))
    return Function(
        name=name,
        signature=signature,
        about=about,
        nulls=nulls,
        examples=tuple((expression, value) for expression, value in pairs),
        forms=forms,
    )


# Conversions that only the checker inserts.
AS_NUMBER = form("i", NUMBER, "CAST({0} AS DOUBLE)", "float({0})")
FINITE = form(
    "n",
    NUMBER,
    "CASE WHEN isfinite({0}) THEN {0} END",
    "({0} if {0} - {0} == 0.0 else None)",
    "CASE WHEN abs({0}) <= 1.7976931348623157e308 THEN {0} END",
    is_partial=True,
    takes_unbounded=True,
)
FROM_ANY = {
    NUMBER: form(
        "a", NUMBER, "TRY_CAST({0} AS DOUBLE)", "number_in({0})", is_partial=True, is_unbounded=True
    ),
    TEXT: form(
        "a",
        TEXT,
        "CASE WHEN starts_with({0}, '\"') THEN json_extract_string({0}, '$') END",
        "({0} if type({0}) is str else None)",
        "CASE WHEN startswith({0}, '\"') THEN get(from_json(concat('[', {0}, ']'), 'array<string>'), 0) END",
        is_partial=True,
    ),
    BOOLEAN: form(
        "a",
        BOOLEAN,
        "CASE {0} WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END",
        "({0} if type({0}) is bool else None)",
        is_partial=True,
    ),
}
