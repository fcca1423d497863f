"""SQL that reads numbers, money and booleans; nothing is rounded on the way.

Text is read as decimals, so 0.10 kronor are 10 öre exactly. Numbers that a database already holds as binary
floats are rounded to the minor unit they mean.
"""

from __future__ import annotations

from tilltal.core.money import minor_per_major

_INTEGER = r"[+-]?\d+(\.0*)?"
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_GROUPED = r"[+-]?\d{1,3}([ \x{00A0}\x{202F}]\d{3})+([.,]\d*)?"  # 1 234 567,50
_SPACES = r"[ \x{00A0}\x{202F}]"
_WHOLE_TYPES = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_FLOAT_TYPES = ("FLOAT", "DOUBLE")
_FLOAT_SLACK = 1e-4  # of a minor unit: what binary floats lose, far below what a wrong decimal would show
JSON_NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"
TRUE = ("true", "t", "yes", "y", "1")
FALSE = ("false", "f", "no", "n", "0")


def integer(sql: str, kind: str, decimal: str) -> str:
    """Return SQL of a whole number as BIGINT, NULL where it is none."""
    if kind in _WHOLE_TYPES:
        return f"CAST({sql} AS BIGINT)"
    text = plain(sql if kind == "VARCHAR" else f"CAST({sql} AS VARCHAR)", decimal)
    return f"CASE WHEN regexp_full_match({text}, '{_INTEGER}') THEN TRY_CAST({text} AS BIGINT) END"


def number(sql: str, kind: str, decimal: str) -> str:
    """Return SQL of a number as DOUBLE, NULL where it is none."""
    if kind != "VARCHAR":
        return f"TRY_CAST({sql} AS DOUBLE)"
    text = plain(sql, decimal)
    return f"CASE WHEN regexp_full_match({text}, '{_NUMBER}') THEN TRY_CAST({text} AS DOUBLE) END"


def money(sql: str, kind: str, decimal: str, currency: str) -> str:
    """Return SQL of an amount in minor units, still with what decimals it has left; NULL where it is none."""
    minor = minor_per_major(currency)
    if kind in _FLOAT_TYPES:
        exact = f"CAST({sql} AS DOUBLE) * {minor}"
        is_whole = f"abs({exact} - round({exact})) < {_FLOAT_SLACK}"
        return f"TRY_CAST(CASE WHEN {is_whole} THEN round({exact}) ELSE {exact} END AS DECIMAL(34, 12))"
    text = plain(sql if kind == "VARCHAR" else f"CAST({sql} AS VARCHAR)", decimal)
    major = f"CASE WHEN regexp_full_match({text}, '{_NUMBER}') THEN TRY_CAST({text} AS DECIMAL(30, 12)) END"
    return f"({major}) * CAST({minor} AS DECIMAL(4, 0))"


def boolean(sql: str, kind: str) -> str:
    """Return SQL of a boolean, NULL where it is none."""
    if kind == "BOOLEAN":
        return sql
    text = f"lower(CAST({sql} AS VARCHAR))"
    yes, no = (", ".join(f"'{word}'" for word in words) for words in (TRUE, FALSE))
    return f"CASE WHEN {text} IN ({yes}) THEN true WHEN {text} IN ({no}) THEN false END"


def scalar(text: str, says_text: str) -> str:
    """Return SQL of an untyped value as JSON: a finite number or a boolean as it stands, all else as a text.

    `says_text` is SQL that is true where the source says that it is a text, whatever it looks like. A whole
    number beyond 64 bits is written as a binary float.
    """
    number = f"TRY_CAST({text} AS DOUBLE)"
    is_number = f"regexp_full_match({text}, '{JSON_NUMBER}') AND isfinite({number})"
    written = f"CASE WHEN TRY_CAST({text} AS BIGINT) IS NULL THEN CAST({number} AS VARCHAR) ELSE {text} END"
    return (
        f"CASE WHEN {text} IS NULL THEN NULL WHEN {says_text} THEN CAST(to_json({text}) AS VARCHAR) "
        f"WHEN {text} IN ('true', 'false') THEN {text} WHEN {is_number} THEN {written} "
        f"ELSE CAST(to_json({text}) AS VARCHAR) END"
    )


def plain(text: str, decimal: str) -> str:
    """Return SQL of a number's text with a point for its decimals and without spaces between thousands.

    Where the decimal sign is a comma, a point is refused rather than taken for a separator of thousands.
    """
    together = (
        f"CASE WHEN contains({text}, ' ') OR contains({text}, chr(160)) OR contains({text}, chr(8239)) THEN "
        f"CASE WHEN regexp_full_match({text}, '{_GROUPED}') "
        f"THEN regexp_replace({text}, '{_SPACES}', '', 'g') ELSE {text} END ELSE {text} END"
    )
    return together if decimal == "." else f"replace(replace({together}, '.', '?'), ',', '.')"
