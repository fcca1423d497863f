"""Conditions, comparisons and choices: what treats NULL by rules of its own."""

from __future__ import annotations

from tilltal.rules.catalog.forms import Function, entry


def _comparison(sign: str, about: str, examples: str) -> Function:
    return entry(sign, f"a {sign} b", about, nulls="Unknown if a side is NULL.", examples=examples)


CONDITIONS = (
    entry(
        "AND",
        "a AND b",
        "True if both are.",
        nulls="FALSE if a side is FALSE, else unknown if a side is NULL.",
        examples="TRUE AND TRUE → TRUE; FALSE AND NULL → FALSE; TRUE AND NULL → NULL",
    ),
    entry(
        "OR",
        "a OR b",
        "True if one is.",
        nulls="TRUE if a side is TRUE, else unknown if a side is NULL.",
        examples="FALSE OR TRUE → TRUE; TRUE OR NULL → TRUE; FALSE OR NULL → NULL",
    ),
    entry(
        "NOT",
        "NOT a",
        "True if the condition is false.",
        nulls="Unknown if it is NULL.",
        examples="NOT FALSE → TRUE; NOT 1 = 1 → FALSE; NOT NULL → NULL",
    ),
    entry(
        "IS NULL",
        "a IS NULL or a IS NOT NULL",
        "Whether there is a value.",
        nulls="Never unknown.",
        examples="NULL IS NULL → TRUE; 5 IS NULL → FALSE; 5 IS NOT NULL → TRUE",
    ),
    entry(
        "IS TRUE",
        "a IS TRUE or a IS NOT TRUE",
        "Whether a condition holds for certain.",
        nulls="Never unknown: NULL is not TRUE.",
        examples="1 = 1 IS TRUE → TRUE; NULL IS TRUE → FALSE; NULL IS NOT TRUE → TRUE",
    ),
    entry(
        "IS FALSE",
        "a IS FALSE or a IS NOT FALSE",
        "Whether a condition fails for certain.",
        nulls="Never unknown: NULL is not FALSE.",
        examples="1 = 2 IS FALSE → TRUE; NULL IS FALSE → FALSE; NULL IS NOT FALSE → TRUE",
    ),
    entry(
        "IN",
        "a IN (x, y, ...) or a NOT IN (x, y, ...)",
        "Whether a value equals one of a list.",
        nulls=(
            "Unknown if the value is NULL, or if it is not found and the list holds a NULL: NOT IN with a "
            "NULL in the list is never TRUE."
        ),
        examples=(
            "2 IN (1, 2) → TRUE; 'sv' NOT IN ('sv', 'fi') → FALSE; 3 NOT IN (1, NULL) → NULL; "
            "1 IN (1, NULL) → TRUE; NULL IN (1, 2) → NULL"
        ),
    ),
    entry(
        "BETWEEN",
        "a BETWEEN low AND high or a NOT BETWEEN low AND high",
        "Whether a value lies within bounds, both included.",
        nulls="As `a >= low AND a <= high`.",
        examples=(
            "10 BETWEEN 8 AND 10 → TRUE; 7 NOT BETWEEN 8 AND 10 → TRUE; 10 BETWEEN NULL AND 5 → FALSE; "
            "NULL BETWEEN 1 AND 2 → NULL"
        ),
    ),
    entry(
        "LIKE",
        "text LIKE 'pattern' or text LIKE 'pattern' ESCAPE '!'",
        "Whether a text fits a pattern: `%` is any text, `_` one character, all else itself, upper and "
        "lower case apart. ESCAPE names a sign that takes `%` and `_` literally.",
        nulls="Unknown if the text is NULL.",
        examples=(
            "'/lån/bolån' LIKE '/l_n/%' → TRUE; 'Oslo' LIKE 'o%' → FALSE; "
            "'5%' LIKE '_!%' ESCAPE '!' → TRUE; NULL LIKE 'a%' → NULL"
        ),
    ),
)
COMPARISONS = (
    _comparison(
        "=",
        "Whether two values are equal. Texts compare letter by letter, upper and lower case apart.",
        "5 = 5.0 → TRUE; 'a' = 'A' → FALSE; NULL = NULL → NULL",
    ),
    _comparison("<>", "Whether two values differ; `!=` means the same.", "5 <> 6 → TRUE; 5 <> NULL → NULL"),
    _comparison(
        "<",
        "Whether the left side comes first; texts by code point, dates by the calendar.",
        "'Z' < 'a' → TRUE; 1 < NULL → NULL",
    ),
    _comparison("<=", "Less or equal.", "DATE '2026-01-01' <= DATE '2026-01-01' → TRUE"),
    _comparison(">", "Greater.", "2 > 1.5 → TRUE"),
    _comparison(">=", "Greater or equal.", "18 >= 18 → TRUE; NULL >= 18 → NULL"),
)
CHOICES = (
    entry(
        "CASE",
        "CASE WHEN condition THEN value ... ELSE value END or CASE x WHEN value THEN ... END",
        "The value of the first condition that is TRUE; without ELSE, NULL.",
        nulls="An unknown condition is passed over.",
        examples=(
            "CASE WHEN 1 > 2 THEN 'a' WHEN 2 > 1 THEN 'b' ELSE 'c' END → 'b'; "
            "CASE 3 WHEN 1 THEN 'one' END → NULL; CASE WHEN NULL THEN 1 ELSE 2 END → 2"
        ),
    ),
    entry(
        "IF",
        "IF(condition, a, b)",
        "The first value if the condition is TRUE, else the second.",
        nulls="An unknown condition gives the second value.",
        examples="IF(2 > 1, 'yes', 'no') → 'yes'; IF(NULL, 1, 2) → 2",
    ),
    entry(
        "COALESCE",
        "COALESCE(a, b, ...)",
        "The first value that is there.",
        nulls="NULL only if all are.",
        examples="COALESCE(NULL, 5) → 5; COALESCE(NULL, NULL) → NULL",
    ),
    entry(
        "NULLIF",
        "NULLIF(a, b)",
        "NULL if the two are equal, else the first.",
        nulls="NULL if the first is; a NULL second changes nothing.",
        examples="NULLIF(5, 5) → NULL; NULLIF(5, 6) → 5; NULLIF(5, NULL) → 5",
    ),
    entry(
        "LEAST",
        "LEAST(a, b, ...)",
        "The smallest value.",
        nulls="NULL values are passed over; NULL only if all are.",
        examples="LEAST(3, 1.5, 2) → 1.5; LEAST(NULL, 3) → 3",
    ),
    entry(
        "GREATEST",
        "GREATEST(a, b, ...)",
        "The greatest value.",
        nulls="NULL values are passed over; NULL only if all are.",
        examples="GREATEST('a', 'b') → 'b'; GREATEST(NULL, NULL) → NULL",
    ),
)
