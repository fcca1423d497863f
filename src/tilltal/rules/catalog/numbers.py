"""Calculations and functions of numbers."""

from __future__ import annotations

from tilltal.rules.catalog.forms import INTEGER, NUMBER, Form, Function, entry, form

_TO_BIGINT = (
    "CASE WHEN {{0}} >= -9223372036854775808e0 AND {{0}} < 9223372036854775808e0 THEN CAST({0} AS BIGINT) END"
)


def _calculation(sign: str, about: str, examples: str, integers: Form, numbers: Form) -> Function:
    return entry(sign, f"a {sign} b", about, integers, numbers, examples=examples)


def _exact(sign: str, spark: str) -> Form:
    """Integer arithmetic, NULL where the result leaves 64 bits."""
    duckdb = f"TRY_CAST(CAST({{0}} AS HUGEINT) {sign} {{1}} AS BIGINT)"
    return form(
        "ii", INTEGER, duckdb, f"whole({{0}} {sign} {{1}})", f"{spark}({{0}}, {{1}})", is_partial=True
    )


def _floating(sign: str) -> Form:
    text = f"({{0}} {sign} {{1}})"
    return form("nn", NUMBER, text, text, is_unbounded=True, takes_unbounded=True)


def _rounding(name: str, about: str, sql: str, python: str, examples: str) -> Function:
    whole = form("n", INTEGER, _TO_BIGINT.format(sql), f"whole({python})", is_partial=True)
    return entry(
        name,
        f"{name}(number)",
        f"{about} NULL outside the 64 bits of an integer.",
        form("i", INTEGER, "{0}", "{0}"),
        whole,
        examples=examples,
    )


def _real(name: str, about: str, python: str, examples: str) -> Function:
    """A function of the reals; what is undefined or infinite becomes NULL."""
    real = form("n", NUMBER, f"{name.lower()}({{0}})", python, is_partial=True, is_unbounded=True)
    return entry(name, f"{name}(number)", about, real, examples=examples)


CALCULATIONS = (
    _calculation(
        "+",
        "Sum. Integers give an integer, NULL outside 64 bits; a number on either side gives a number.",
        "2 + 3 → 5; 2 + 0.5 → 2.5; 9223372036854775807 + 1 → NULL; 1 + NULL → NULL",
        _exact("+", "try_add"),
        _floating("+"),
    ),
    _calculation(
        "-", "Difference.", "2 - 3 → -1; 2 - 0.5 → 1.5", _exact("-", "try_subtract"), _floating("-")
    ),
    _calculation(
        "*", "Product.", "4 * 2.5 → 10.0; 1e300 * 1e300 → NULL", _exact("*", "try_multiply"), _floating("*")
    ),
    entry(
        "/",
        "a / b",
        "Quotient, always a number with decimals. Division by zero is NULL.",
        form(
            "nn",
            NUMBER,
            "({0} / NULLIF({1}, 0e0))",
            "({0} / {1} if {1} else None)",
            is_partial=True,
            is_unbounded=True,
            takes_unbounded=True,
        ),
        examples="7 / 2 → 3.5; 1 / 0 → NULL; NULL / 2 → NULL",
    ),
    _calculation(
        "%",
        "Remainder, with the sign of the left side. By zero it is NULL.",
        "7 % 3 → 1; -7 % 3 → -1; 7.5 % 2 → 1.5; 7 % 0 → NULL",
        form(
            "ii",
            INTEGER,
            "CAST(CAST({0} AS HUGEINT) % NULLIF({1}, 0) AS BIGINT)",
            "remainder({0}, {1})",
            "({0} % NULLIF({1}, 0L))",
            is_partial=True,
        ),
        form(
            "nn",
            NUMBER,
            "({0} % NULLIF({1}, 0e0))",
            "(fmod({0}, {1}) if {1} else None)",
            is_partial=True,
        ),
    ),
    entry(
        "negative",
        "-a",
        "The opposite number.",
        form(
            "i",
            INTEGER,
            "TRY_CAST(-CAST({0} AS HUGEINT) AS BIGINT)",
            "whole(-{0})",
            "try_subtract(0L, {0})",
            is_partial=True,
        ),
        form("n", NUMBER, "(-{0})", "(-{0})", takes_unbounded=True, is_unbounded=True),
        examples="-(2 + 3) → -5; -(NULL) → NULL",
    ),
)
NUMBERS = (
    entry(
        "ABS",
        "ABS(number)",
        "Distance from zero.",
        form(
            "i",
            INTEGER,
            "TRY_CAST(abs(CAST({0} AS HUGEINT)) AS BIGINT)",
            "whole(abs({0}))",
            "abs(NULLIF({0}, -9223372036854775807L - 1L))",
            is_partial=True,
        ),
        form("n", NUMBER, "abs({0})", "abs({0})"),
        examples="ABS(-3) → 3; ABS(-2.5) → 2.5",
    ),
    entry(
        "SIGN",
        "SIGN(number)",
        "-1, 0 or 1.",
        form("n", INTEGER, "CAST(sign({0}) AS BIGINT)", "(({0} > 0) - ({0} < 0))"),
        examples="SIGN(-2.5) → -1; SIGN(0) → 0",
    ),
    entry(
        "ROUND",
        "ROUND(number) or ROUND(number, decimals)",
        "Nearest integer, or nearest number with so many decimals (a literal from 0 to 12); halves go "
        "away from zero. One argument gives an integer, NULL outside its 64 bits.",
        form("i", INTEGER, "{0}", "{0}"),
        form("n", INTEGER, _TO_BIGINT.format("round({0})"), "whole(rounded({0}))", is_partial=True),
        form(
            "ni",
            NUMBER,
            "(round({0} * 1e{1}) / 1e{1})",
            "(rounded({0} * 1e{1}) / 1e{1})",
            is_unbounded=True,
            literal_from=1,
        ),
        examples="ROUND(2.5) → 3; ROUND(-2.5) → -3; ROUND(3.14159, 2) → 3.14",
    ),
    _rounding(
        "FLOOR", "The integer at or below.", "floor({0})", "floor({0})", "FLOOR(2.7) → 2; FLOOR(-2.1) → -3"
    ),
    _rounding("CEIL", "The integer at or above.", "ceil({0})", "ceil({0})", "CEIL(2.1) → 3; CEIL(-2.7) → -2"),
    _real(
        "SQRT",
        "Square root; NULL of a negative number.",
        "(sqrt({0}) if {0} >= 0 else None)",
        "SQRT(16) → 4.0; SQRT(-1) → NULL",
    ),
    _real(
        "EXP", "e to that power; NULL where too large.", "exponential({0})", "EXP(0) → 1.0; EXP(1000) → NULL"
    ),
    _real(
        "LN",
        "Natural logarithm; NULL of zero and below.",
        "(log({0}) if {0} > 0 else None)",
        "LN(1) → 0.0; LN(0) → NULL",
    ),
    _real(
        "LOG10",
        "Logarithm to base 10; NULL of zero and below.",
        "(log10({0}) if {0} > 0 else None)",
        "LOG10(1000) → 3.0; LOG10(-1) → NULL",
    ),
    entry(
        "POWER",
        "POWER(number, exponent)",
        "A number to a power; NULL where it is undefined or too large.",
        form("nn", NUMBER, "pow({0}, {1})", "power({0}, {1})", is_partial=True, is_unbounded=True),
        examples="POWER(2, 10) → 1024.0; POWER(-8, 0.5) → NULL; POWER(0, -1) → NULL",
    ),
    entry(
        "TO_NUMBER",
        "TO_NUMBER(text)",
        "The number a text holds: digits with an optional sign and decimal point, nothing else. NULL "
        "if it holds none.",
        form(
            "t",
            NUMBER,
            "TRY_CAST(regexp_extract({0}, '^[+-]?[0-9]{{1,300}}([.][0-9]{{1,300}})?$') AS DOUBLE)",
            "number_of({0})",
            "TRY_CAST(regexp_extract({0}, '^[+-]?[0-9]{{1,300}}([.][0-9]{{1,300}})?\\\\z', 0) AS DOUBLE)",
            is_partial=True,
        ),
        form("n", NUMBER, "{0}", "{0}"),
        examples="TO_NUMBER('-12.5') → -12.5; TO_NUMBER('12 kr') → NULL; TO_NUMBER('1e3') → NULL",
    ),
)
