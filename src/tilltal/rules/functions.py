"""Every operator and function of the dialect: one table for the checker, the engines, the reference page and the golden tests.

Most are strict (NULL in, NULL out) and described by forms: for given types, the text that computes them in
DuckDB, in Spark and in Python. The few that treat NULL in their own way (AND, COALESCE, CASE ...) have no
forms; `checking`, `sql` and `python` each know them by name.

Engines differ, so a form spells out what it means: BIGINT arithmetic runs in HUGEINT and is NULL outside 64
bits; a quotient is of DOUBLEs and NULL for a zero divisor; what is not finite is NULL.
"""

from __future__ import annotations

import msgspec

from tilltal.rules.arithmetic import UPPER_EVEN, UPPER_ODD
from tilltal.rules.types import Type

_B, _I, _N, _T, _D, _TS, _ANY = Type  # in the order of declaration


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How a function is computed for given types. `{0}` is the first argument; in Python it is never None."""

    takes: tuple[Type, ...]
    gives: Type
    duckdb: str
    spark: str = ""  # as duckdb where empty
    python: str
    is_partial: bool = False  # may be NULL though no argument is
    is_unbounded: bool = False  # may be infinite or NaN; the checker then adds FINITE
    takes_unbounded: bool = False  # arithmetic: carries on as IEEE 754 does
    copies: int = 1  # how often the SQL repeats its longest argument
    literal_from: int = 99  # arguments from this position on must be literals

    @property
    def spark_text(self) -> str:
        """The template for Spark."""
        return self.spark or self.duckdb


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """An operator or function as its users know it. Examples are pairs of equal expressions."""

    name: str
    group: str
    signature: str
    about: str
    nulls: str = "NULL if an argument is NULL."
    examples: tuple[tuple[str, str], ...]
    forms: tuple[Form, ...] = ()


_LETTER = {"b": _B, "i": _I, "n": _N, "t": _T, "d": _D, "s": _TS, "a": _ANY}


def _f(
    takes: str,
    gives: Type,
    duckdb: str,
    python: str,
    spark: str = "",
    *,
    is_partial: bool = False,
    is_unbounded: bool = False,
    takes_unbounded: bool = False,
    copies: int = 1,
    literal_from: int = 99,
) -> Form:
    """Write a form briefly; types by their first letters, `s` for a timestamp."""
    return Form(
        takes=tuple(_LETTER[letter] for letter in takes),
        gives=gives,
        duckdb=duckdb,
        spark=spark,
        python=python,
        is_partial=is_partial,
        is_unbounded=is_unbounded,
        takes_unbounded=takes_unbounded,
        copies=copies,
        literal_from=literal_from,
    )


_TO_BIGINT = (
    "CASE WHEN {{0}} >= -9223372036854775808e0 AND {{0}} < 9223372036854775808e0 THEN CAST({0} AS BIGINT) END"
)
_DAY_ONE = "DATE '0001-01-01'"

# Conversions that only the checker inserts.
AS_NUMBER = _f("i", _N, "CAST({0} AS DOUBLE)", "float({0})")
FINITE = _f(
    "n",
    _N,
    "CASE WHEN isfinite({0}) THEN {0} END",
    "({0} if {0} - {0} == 0.0 else None)",
    "CASE WHEN abs({0}) <= 1.7976931348623157e308 THEN {0} END",
    is_partial=True,
    takes_unbounded=True,
    copies=2,
)
FROM_ANY = {
    _N: _f("a", _N, "TRY_CAST({0} AS DOUBLE)", "number_in({0})", "TRY_CAST({0} AS DOUBLE)",
           is_partial=True, is_unbounded=True),
    _T: _f("a", _T, "CASE WHEN starts_with({0}, '\"') THEN json_extract_string({0}, '$') END",
           "({0} if type({0}) is str else None)",
           "CASE WHEN startswith({0}, '\"') THEN get(from_json(concat('[', {0}, ']'), 'array<string>'), 0) END",
           is_partial=True, copies=2),
    _B: _f("a", _B, "CASE {0} WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END",
           "({0} if type({0}) is bool else None)", is_partial=True, copies=2),
}  # fmt: skip

_YEARS = (
    "(year({1}) - year({0}) - CASE WHEN month({1}) * 100 + day({1}) < month({0}) * 100 + day({0}) "
    "THEN 1 ELSE 0 END)"
)
_MONTHS = (
    "((year({1}) - year({0})) * 12 + month({1}) - month({0}) - CASE WHEN day({1}) < day({0}) "
    "THEN 1 ELSE 0 END)"
)
_LETTERS = "array_join(transform(regexp_extract_all({{0}}, '(?s).', 0), c -> {0}), '')"
_BIG = "CAST({0} AS BIGINT)"


def _calculation(
    sign: str, about: str, examples: tuple[tuple[str, str], ...], integers: Form, numbers: Form
) -> Function:
    return Function(
        name=sign,
        group="Calculations",
        signature=f"`a {sign} b`",
        about=about,
        examples=examples,
        forms=(integers, numbers),
    )


def _exact(sign: str, spark: str) -> Form:
    """Integer arithmetic, NULL where the result leaves 64 bits."""
    return _f(
        "ii",
        _I,
        f"TRY_CAST(CAST({{0}} AS HUGEINT) {sign} {{1}} AS BIGINT)",
        f"whole({{0}} {sign} {{1}})",
        f"{spark}({{0}}, {{1}})",
        is_partial=True,
    )


def _floating(sign: str) -> Form:
    text = f"({{0}} {sign} {{1}})"
    return _f("nn", _N, text, text, is_unbounded=True, takes_unbounded=True)


def _comparison(sign: str, about: str, examples: tuple[tuple[str, str], ...]) -> Function:
    return Function(
        name=sign,
        group="Comparisons",
        signature=f"`a {sign} b`",
        about=about,
        nulls="Unknown if a side is NULL.",
        examples=examples,
    )


def _date_part(name: str, about: str, sql: str, spark: str, python: str, example: str) -> Function:
    return Function(
        name=name,
        group="Dates and times",
        signature=f"`{name}(date)`",
        about=about,
        examples=((f"{name}(DATE '2026-05-04')", example),),
        forms=(_f("d", _I, sql, python, _BIG.format(spark)),),
    )


def _text_test(name: str, about: str, sql: str, spark: str, python: str, example: str) -> Function:
    return Function(
        name=name,
        group="Texts",
        signature=f"`{name}(text, part)`",
        about=about,
        examples=((example, "TRUE"), (f"{name}('savings', 'card')", "FALSE")),
        forms=(_f("tt", _B, sql, python, spark),),
    )


def _rounding(name: str, about: str, sql: str, python: str, example: tuple[tuple[str, str], ...]) -> Function:
    return Function(
        name=name,
        group="Numbers",
        signature=f"`{name}(number)`",
        about=f"{about} NULL outside the 64 bits of an integer.",
        examples=example,
        forms=(
            _f("i", _I, "{0}", "{0}"),
            _f(
                "n",
                _I,
                _TO_BIGINT.format(sql),
                f"whole({python})",
                _TO_BIGINT.format(sql),
                is_partial=True,
                copies=3,
            ),
        ),
    )


def _real(
    name: str, about: str, python: str, examples: tuple[tuple[str, str], ...], sql: str = ""
) -> Function:
    """A function of the reals; what is undefined or infinite becomes NULL."""
    text = sql or f"{name.lower()}({{0}})"
    return Function(
        name=name,
        group="Numbers",
        signature=f"`{name}(number)`",
        about=about,
        examples=examples,
        forms=(_f("n", _N, text, python, is_partial=True, is_unbounded=True),),
    )


_LOGIC = (
    Function(name="AND", group="Conditions", signature="`a AND b`", about="True if both are.",
             nulls="FALSE if a side is FALSE, else unknown if a side is NULL.",
             examples=(("TRUE AND TRUE", "TRUE"), ("FALSE AND NULL", "FALSE"), ("TRUE AND NULL", "NULL"))),
    Function(name="OR", group="Conditions", signature="`a OR b`", about="True if one is.",
             nulls="TRUE if a side is TRUE, else unknown if a side is NULL.",
             examples=(("FALSE OR TRUE", "TRUE"), ("TRUE OR NULL", "TRUE"), ("FALSE OR NULL", "NULL"))),
    Function(name="NOT", group="Conditions", signature="`NOT a`", about="True if the condition is false.",
             nulls="Unknown if it is NULL.",
             examples=(("NOT FALSE", "TRUE"), ("NOT 1 = 1", "FALSE"), ("NOT NULL", "NULL"))),
    Function(name="IS NULL", group="Conditions", signature="`a IS NULL`, `a IS NOT NULL`",
             about="Whether there is a value.", nulls="Never unknown.",
             examples=(("NULL IS NULL", "TRUE"), ("5 IS NULL", "FALSE"), ("5 IS NOT NULL", "TRUE"))),
    Function(name="IS TRUE", group="Conditions", signature="`a IS TRUE`, `a IS NOT TRUE`",
             about="Whether a condition holds for certain.", nulls="Never unknown: NULL is not TRUE.",
             examples=(("1 = 1 IS TRUE", "TRUE"), ("NULL IS TRUE", "FALSE"), ("NULL IS NOT TRUE", "TRUE"))),
    Function(name="IS FALSE", group="Conditions", signature="`a IS FALSE`, `a IS NOT FALSE`",
             about="Whether a condition fails for certain.", nulls="Never unknown: NULL is not FALSE.",
             examples=(("1 = 2 IS FALSE", "TRUE"), ("NULL IS FALSE", "FALSE"), ("NULL IS NOT FALSE", "TRUE"))),
    Function(name="IN", group="Conditions", signature="`a IN (x, y, ...)`, `a NOT IN (x, y, ...)`",
             about="Whether a value is one of a list of literals.",
             nulls="Unknown if the value is NULL, or if it is not found and the list holds a NULL: "
                   "NOT IN with a NULL in the list is never TRUE.",
             examples=(("2 IN (1, 2)", "TRUE"), ("'sv' NOT IN ('sv', 'fi')", "FALSE"),
                       ("3 NOT IN (1, NULL)", "NULL"), ("1 IN (1, NULL)", "TRUE"), ("NULL IN (1, 2)", "NULL"))),
    Function(name="BETWEEN", group="Conditions", signature="`a BETWEEN low AND high`, `a NOT BETWEEN ...`",
             about="Whether a value lies within bounds, both included.",
             nulls="As `a >= low AND a <= high`.",
             examples=(("10 BETWEEN 8 AND 10", "TRUE"), ("7 NOT BETWEEN 8 AND 10", "TRUE"),
                       ("10 BETWEEN NULL AND 5", "FALSE"), ("NULL BETWEEN 1 AND 2", "NULL"))),
    Function(name="LIKE", group="Conditions", signature="`text LIKE 'pattern'`, `LIKE 'pattern' ESCAPE '!'`",
             about="Whether a text fits a pattern: `%` is any text, `_` one character, all else itself, upper "
                   "and lower case apart. ESCAPE names a sign that takes `%` and `_` literally.",
             nulls="Unknown if the text is NULL.",
             examples=(("'/lån/bolån' LIKE '/l_n/%'", "TRUE"), ("'Oslo' LIKE 'o%'", "FALSE"),
                       ("'5%' LIKE '_!%' ESCAPE '!'", "TRUE"), ("NULL LIKE 'a%'", "NULL"))),
)  # fmt: skip

_COMPARISONS = (
    _comparison("=", "Whether two values are equal. Texts compare letter by letter, upper and lower case apart.",
                (("5 = 5.0", "TRUE"), ("'a' = 'A'", "FALSE"), ("NULL = NULL", "NULL"))),
    _comparison("<>", "Whether two values differ; `!=` means the same.", (("5 <> 6", "TRUE"), ("5 <> NULL", "NULL"))),
    _comparison("<", "Whether the left side comes first; texts by code point, dates by the calendar.",
                (("'Z' < 'a'", "TRUE"), ("1 < NULL", "NULL"))),
    _comparison("<=", "Less or equal.", (("DATE '2026-01-01' <= DATE '2026-01-01'", "TRUE"),)),
    _comparison(">", "Greater.", (("2 > 1.5", "TRUE"),)),
    _comparison(">=", "Greater or equal.", (("18 >= 18", "TRUE"), ("NULL >= 18", "NULL"))),
)  # fmt: skip

_CALCULATIONS = (
    _calculation("+", "Sum. Integers give an integer, NULL outside 64 bits; a number on either side gives a number.",
                 (("2 + 3", "5"), ("2 + 0.5", "2.5"), ("9223372036854775807 + 1", "NULL"), ("1 + NULL", "NULL")),
                 _exact("+", "try_add"), _floating("+")),
    _calculation("-", "Difference.", (("2 - 3", "-1"), ("2 - 0.5", "1.5")), _exact("-", "try_subtract"), _floating("-")),
    _calculation("*", "Product.", (("4 * 2.5", "10.0"), ("1e300 * 1e300", "NULL")), _exact("*", "try_multiply"), _floating("*")),
    Function(name="/", group="Calculations", signature="`a / b`",
             about="Quotient, always a number with decimals. Division by zero is NULL.",
             examples=(("7 / 2", "3.5"), ("1 / 0", "NULL"), ("NULL / 2", "NULL")),
             forms=(_f("nn", _N, "({0} / NULLIF({1}, 0e0))", "({0} / {1} if {1} else None)", is_partial=True,
                       is_unbounded=True, takes_unbounded=True, copies=2),)),
    _calculation("%", "Remainder, with the sign of the left side. By zero it is NULL.",
                 (("7 % 3", "1"), ("-7 % 3", "-1"), ("7.5 % 2", "1.5"), ("7 % 0", "NULL")),
                 _f("ii", _I, "CAST(CAST({0} AS HUGEINT) % NULLIF({1}, 0) AS BIGINT)", "remainder({0}, {1})",
                    "({0} % NULLIF({1}, 0L))", is_partial=True, copies=2),
                 _f("nn", _N, "({0} % NULLIF({1}, 0e0))", "(fmod({0}, {1}) if {1} else None)", is_partial=True, copies=2)),
    Function(name="negative", group="Calculations", signature="`-a`", about="The opposite number.",
             examples=(("-(2 + 3)", "-5"), ("-(NULL)", "NULL")),
             forms=(_f("i", _I, "TRY_CAST(-CAST({0} AS HUGEINT) AS BIGINT)", "whole(-{0})", "try_subtract(0L, {0})", is_partial=True),
                    _f("n", _N, "(-{0})", "(-{0})", takes_unbounded=True, is_unbounded=True))),
)  # fmt: skip

_CHOICES = (
    Function(name="CASE", group="Choices",
             signature="`CASE WHEN condition THEN value ... ELSE value END`, `CASE x WHEN value THEN ... END`",
             about="The value of the first condition that is TRUE; without ELSE, NULL.",
             nulls="An unknown condition is passed over.",
             examples=(("CASE WHEN 1 > 2 THEN 'a' WHEN 2 > 1 THEN 'b' ELSE 'c' END", "'b'"),
                       ("CASE 3 WHEN 1 THEN 'one' END", "NULL"), ("CASE WHEN NULL THEN 1 ELSE 2 END", "2"))),
    Function(name="IF", group="Choices", signature="`IF(condition, a, b)`",
             about="The first value if the condition is TRUE, else the second.",
             nulls="An unknown condition gives the second value.",
             examples=(("IF(2 > 1, 'yes', 'no')", "'yes'"), ("IF(NULL, 1, 2)", "2"))),
    Function(name="COALESCE", group="Choices", signature="`COALESCE(a, b, ...)`",
             about="The first value that is there.", nulls="NULL only if all are.",
             examples=(("COALESCE(NULL, 5)", "5"), ("COALESCE(NULL, NULL)", "NULL"))),
    Function(name="NULLIF", group="Choices", signature="`NULLIF(a, b)`", about="NULL if the two are equal, else the first.",
             nulls="NULL if the first is; a NULL second changes nothing.",
             examples=(("NULLIF(5, 5)", "NULL"), ("NULLIF(5, 6)", "5"), ("NULLIF(5, NULL)", "5"))),
    Function(name="LEAST", group="Choices", signature="`LEAST(a, b, ...)`", about="The smallest value.",
             nulls="NULL values are passed over; NULL only if all are.",
             examples=(("LEAST(3, 1.5, 2)", "1.5"), ("LEAST(NULL, 3)", "3"))),
    Function(name="GREATEST", group="Choices", signature="`GREATEST(a, b, ...)`", about="The greatest value.",
             nulls="NULL values are passed over; NULL only if all are.",
             examples=(("GREATEST('a', 'b')", "'b'"), ("GREATEST(NULL, NULL)", "NULL"))),
)  # fmt: skip

_NUMBERS = (
    Function(name="ABS", group="Numbers", signature="`ABS(number)`", about="Distance from zero.",
             examples=(("ABS(-3)", "3"), ("ABS(-2.5)", "2.5")),
             forms=(_f("i", _I, "TRY_CAST(abs(CAST({0} AS HUGEINT)) AS BIGINT)", "whole(abs({0}))",
                       "abs(NULLIF({0}, -9223372036854775807L - 1L))", is_partial=True, copies=2),
                    _f("n", _N, "abs({0})", "abs({0})"))),
    Function(name="SIGN", group="Numbers", signature="`SIGN(number)`", about="-1, 0 or 1.",
             examples=(("SIGN(-2.5)", "-1"), ("SIGN(0)", "0")),
             forms=(_f("n", _I, "CAST(sign({0}) AS BIGINT)", "(({0} > 0) - ({0} < 0))"),)),
    Function(name="ROUND", group="Numbers", signature="`ROUND(number)`, `ROUND(number, decimals)`",
             about="Nearest integer, or nearest number with so many decimals (a literal from 0 to 12); halves go away from zero. "
                   "One argument gives an integer, NULL outside its 64 bits.",
             examples=(("ROUND(2.5)", "3"), ("ROUND(-2.5)", "-3"), ("ROUND(3.14159, 2)", "3.14")),
             forms=(_f("i", _I, "{0}", "{0}"),
                    _f("n", _I, _TO_BIGINT.format("round({0})"), "whole(rounded({0}))", is_partial=True, copies=3),
                    _f("ni", _N, "(round({0} * 1e{1}) / 1e{1})", "(rounded({0} * 1e{1}) / 1e{1})",
                       is_unbounded=True, literal_from=1))),
    _rounding("FLOOR", "The integer at or below.", "floor({0})", "floor({0})", (("FLOOR(2.7)", "2"), ("FLOOR(-2.1)", "-3"))),
    _rounding("CEIL", "The integer at or above.", "ceil({0})", "ceil({0})", (("CEIL(2.1)", "3"), ("CEIL(-2.7)", "-2"))),
    _real("SQRT", "Square root; NULL of a negative number.", "(sqrt({0}) if {0} >= 0 else None)",
          (("SQRT(16)", "4.0"), ("SQRT(-1)", "NULL"))),
    _real("EXP", "e to that power; NULL where too large.", "exponential({0})", (("EXP(0)", "1.0"), ("EXP(1000)", "NULL"))),
    _real("LN", "Natural logarithm; NULL of zero and below.", "(log({0}) if {0} > 0 else None)", (("LN(1)", "0.0"), ("LN(0)", "NULL"))),
    _real("LOG10", "Logarithm to base 10; NULL of zero and below.", "(log10({0}) if {0} > 0 else None)",
          (("LOG10(1000)", "3.0"), ("LOG10(-1)", "NULL"))),
    Function(name="POWER", group="Numbers", signature="`POWER(number, exponent)`",
             about="A number to a power; NULL where it is undefined or too large.",
             examples=(("POWER(2, 10)", "1024.0"), ("POWER(-8, 0.5)", "NULL"), ("POWER(0, -1)", "NULL")),
             forms=(_f("nn", _N, "pow({0}, {1})", "power({0}, {1})", is_partial=True, is_unbounded=True),)),
    Function(name="TO_NUMBER", group="Numbers", signature="`TO_NUMBER(text)`",
             about="The number a text holds: digits with an optional sign and decimal point, nothing else. NULL if it holds none.",
             examples=(("TO_NUMBER('-12.5')", "-12.5"), ("TO_NUMBER('12 kr')", "NULL"), ("TO_NUMBER('1e3')", "NULL")),
             forms=(_f("t", _N, r"TRY_CAST(regexp_extract({0}, '^[+-]?[0-9]{{1,300}}([.][0-9]{{1,300}})?$') AS DOUBLE)",
                       "number_of({0})",
                       r"TRY_CAST(regexp_extract({0}, '^[+-]?[0-9]{{1,300}}([.][0-9]{{1,300}})?\\z', 0) AS DOUBLE)",
                       is_partial=True),
                    _f("n", _N, "{0}", "{0}"))),
)  # fmt: skip

_TEXTS = (
    Function(name="||", group="Texts", signature="`a || b`", about="Texts joined.",
             examples=(("'Ny' || 'köping'", "'Nyköping'"), ("'a' || NULL", "NULL"))),
    Function(name="CONCAT", group="Texts", signature="`CONCAT(a, b, ...)`", about="Texts joined.",
             nulls="NULL texts are left out; never NULL.",
             examples=(("CONCAT('a', NULL, 'b')", "'ab'"), ("CONCAT(NULL, NULL)", "''"))),
    Function(name="LOWER", group="Texts", signature="`LOWER(text)`", about="In lower case, letter by letter.",
             examples=(("LOWER('ÅSA')", "'åsa'"), ("LOWER(NULL)", "NULL")),
             forms=(_f("t", _T, "lower({0})", "lower({0})",
                       _LETTERS.format("CASE WHEN length(lower(c)) = 1 THEN lower(c) ELSE translate(c, 'İ', 'i') END")),)),
    Function(name="UPPER", group="Texts", signature="`UPPER(text)`", about="In upper case, letter by letter.",
             examples=(("UPPER('åsa')", "'ÅSA'"), ("UPPER('ß')", "'ẞ'")),
             forms=(_f("t", _T, "upper({0})", "upper({0})",
                       _LETTERS.format("CASE WHEN length(upper(c)) = 1 THEN upper(c) "
                                       f"ELSE translate(c, '{UPPER_ODD}', '{UPPER_EVEN}') END")),)),
    Function(name="TRIM", group="Texts", signature="`TRIM(text)`", about="Without spaces at both ends.",
             examples=(("TRIM('  a b ')", "'a b'"),),
             forms=(_f("t", _T, "trim({0}, ' ')", "{0}.strip(' ')", "trim(BOTH ' ' FROM {0})"),)),
    Function(name="LENGTH", group="Texts", signature="`LENGTH(text)`", about="Number of characters (Unicode code points).",
             examples=(("LENGTH('lån')", "3"), ("LENGTH('')", "0")),
             forms=(_f("t", _I, "length({0})", "len({0})", _BIG.format("length({0})")),)),
    Function(name="SUBSTRING", group="Texts", signature="`SUBSTRING(text, start, count)`",
             about="So many characters from a position, the first being 1. Both are literals.",
             examples=(("SUBSTRING('abcdef', 2, 3)", "'bcd'"), ("SUBSTRING('ab', 3, 1)", "''")),
             forms=(_f("tii", _T, "substring({0}, {1}, {2})", "{0}[{1} - 1:{1} - 1 + {2}]", literal_from=1),)),
    Function(name="REPLACE", group="Texts", signature="`REPLACE(text, part, other)`",
             about="With each occurrence of a part replaced; an empty part changes nothing.",
             examples=(("REPLACE('a-b-c', '-', '')", "'abc'"), ("REPLACE('abc', '', 'x')", "'abc'")),
             forms=(_f("ttt", _T, "replace({0}, {1}, {2})", "({0}.replace({1}, {2}) if {1} else {0})"),)),
    Function(name="SPLIT_PART", group="Texts", signature="`SPLIT_PART(text, separator, position)`",
             about="The part at a position (from 1) between separators; the empty text beyond the last. Separator and position are literals.",
             examples=(("SPLIT_PART('a/b/c', '/', 2)", "'b'"), ("SPLIT_PART('a', '/', 2)", "''")),
             forms=(_f("tti", _T, "split_part({0}, {1}, {2})", "split_part({0}, {1}, {2})", literal_from=1),)),
    _text_test("STARTS_WITH", "Whether a text begins with another.", "starts_with({0}, {1})", "startswith({0}, {1})",
               "{0}.startswith({1})", "STARTS_WITH('savings', 'sav')"),
    _text_test("ENDS_WITH", "Whether a text ends with another.", "suffix({0}, {1})", "endswith({0}, {1})",
               "{0}.endswith({1})", "ENDS_WITH('savings', 'ings')"),
    _text_test("CONTAINS", "Whether a text holds another.", "contains({0}, {1})", "contains({0}, {1})",
               "({1} in {0})", "CONTAINS('savings', 'vin')"),
    Function(name="TO_TEXT", group="Texts", signature="`TO_TEXT(value)`",
             about="An integer, boolean or date written out. Round a number with decimals first.",
             examples=(("TO_TEXT(42)", "'42'"), ("TO_TEXT(TRUE)", "'true'"), ("TO_TEXT(DATE '2026-05-04')", "'2026-05-04'")),
             forms=(_f("t", _T, "{0}", "{0}"),
                    _f("i", _T, "CAST({0} AS VARCHAR)", "str({0})", "CAST({0} AS STRING)"),
                    _f("b", _T, "CAST({0} AS VARCHAR)", "('true' if {0} else 'false')", "CAST({0} AS STRING)"),
                    _f("d", _T, "CAST({0} AS VARCHAR)", "{0}.isoformat()", "CAST({0} AS STRING)"))),
)  # fmt: skip

_DATES = (
    Function(name="NOW", group="Dates and times", signature="`NOW()`", about="The instant of the evaluation.", nulls="Never NULL.",
             examples=(("NOW() IS NULL", "FALSE"),)),
    Function(name="TODAY", group="Dates and times", signature="`TODAY()`", about="The date of the evaluation in the workspace's time zone.",
             nulls="Never NULL.", examples=(("TODAY() = DATE_OF(NOW())", "TRUE"),)),
    _date_part("YEAR", "The calendar year.", "year({0})", "year({0})", "{0}.year", "2026"),
    _date_part("QUARTER", "1 to 4.", "quarter({0})", "quarter({0})", "(({0}.month + 2) // 3)", "2"),
    _date_part("MONTH", "1 to 12.", "month({0})", "month({0})", "{0}.month", "5"),
    _date_part("DAY", "Day of the month.", "day({0})", "day({0})", "{0}.day", "4"),
    _date_part("DAY_OF_WEEK", "1 for Monday to 7 for Sunday.", "isodow({0})", "weekday({0}) + 1", "{0}.isoweekday()", "1"),
    Function(name="DAYS_BETWEEN", group="Dates and times", signature="`DAYS_BETWEEN(from, to)`",
             about="Days from the first date to the second; negative if that is earlier.",
             examples=(("DAYS_BETWEEN(DATE '2026-02-27', DATE '2026-03-01')", "2"),),
             forms=(_f("dd", _I, "date_diff('day', {0}, {1})", "({1} - {0}).days", _BIG.format("datediff({1}, {0})")),)),
    Function(name="MONTHS_BETWEEN", group="Dates and times", signature="`MONTHS_BETWEEN(from, to)`",
             about="Complete months from the first date to the second, rounded down.",
             examples=(("MONTHS_BETWEEN(DATE '2026-01-31', DATE '2026-02-28')", "0"),
                       ("MONTHS_BETWEEN(DATE '2026-01-15', DATE '2026-03-15')", "2")),
             forms=(_f("dd", _I, _MONTHS, "months_between({0}, {1})", _BIG.format(_MONTHS), copies=3),)),
    Function(name="YEARS_BETWEEN", group="Dates and times", signature="`YEARS_BETWEEN(from, to)`",
             about="Complete years from the first date to the second, rounded down.",
             examples=(("YEARS_BETWEEN(DATE '2000-05-05', DATE '2026-05-04')", "25"),),
             forms=(_f("dd", _I, _YEARS, "years_between({0}, {1})", _BIG.format(_YEARS), copies=3),)),
    Function(name="AGE", group="Dates and times", signature="`AGE(birth_date)`",
             about="Complete years until today: YEARS_BETWEEN(birth_date, TODAY()). Who is born on 29 February ages on 1 March in other years.",
             examples=(("AGE(TODAY())", "0"), ("AGE(NULL)", "NULL"))),
    Function(name="DATE_ADD_DAYS", group="Dates and times", signature="`DATE_ADD_DAYS(date, days)`",
             about="So many days later, or earlier if negative. NULL outside the years 1 to 9999.",
             examples=(("DATE_ADD_DAYS(DATE '2026-02-27', 2)", "DATE '2026-03-01'"), ("DATE_ADD_DAYS(DATE '2026-01-01', 9999999)", "NULL")),
             forms=(_f("di", _D, f"CASE WHEN CAST(date_diff('day', {_DAY_ONE}, {{0}}) AS HUGEINT) + {{1}} BETWEEN 0 AND 3652058 "
                                 "THEN {0} + TRY_CAST({1} AS INTEGER) END", "add_days({0}, {1})",
                       f"CASE WHEN try_add(CAST(datediff({{0}}, {_DAY_ONE}) AS BIGINT), {{1}}) BETWEEN 0 AND 3652058 "
                       "THEN date_add({0}, TRY_CAST({1} AS INT)) END", is_partial=True, copies=2),)),
    Function(name="DATE_OF", group="Dates and times", signature="`DATE_OF(timestamp)`",
             about="The calendar date of an instant in the workspace's time zone. Instants before 1970 are read with the offset of 1 January 1970.",
             examples=(("DATE_OF(TIMESTAMP '2026-05-04 23:30:00')", "DATE '2026-05-04'"),)),
    Function(name="HOUR_OF", group="Dates and times", signature="`HOUR_OF(timestamp)`",
             about="The hour, 0 to 23, of an instant in the workspace's time zone.",
             examples=(("HOUR_OF(TIMESTAMP '2026-05-04 23:30:00')", "23"),)),
)  # fmt: skip

FUNCTIONS: dict[str, Function] = {
    function.name: function
    for function in (*_LOGIC, *_COMPARISONS, *_CALCULATIONS, *_CHOICES, *_NUMBERS, *_TEXTS, *_DATES)
}
