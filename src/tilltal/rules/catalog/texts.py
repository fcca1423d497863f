"""Functions of texts."""

from __future__ import annotations

from tilltal.rules.catalog.forms import BOOLEAN, INTEGER, TEXT, Function, entry, form
from tilltal.rules.running.arithmetic import UPPER_EVEN, UPPER_ODD

_BIG = "CAST({0} AS BIGINT)"

# Java's case conversions look at neighbours and may give two letters for one; this goes letter by letter.
_EACH_LETTER = "array_join(transform(regexp_extract_all({{0}}, '(?s).', 0), c -> {0}), '')"


def _text_test(name: str, about: str, sql: str, spark: str, python: str, example: str) -> Function:
    return entry(
        name,
        f"{name}(text, part)",
        about,
        form("tt", BOOLEAN, sql, python, spark),
        examples=f"{example} → TRUE; {name}('savings', 'card') → FALSE",
    )


TEXTS = (
    entry("||", "a || b", "Texts joined.", examples="'Ny' || 'köping' → 'Nyköping'; 'a' || NULL → NULL"),
    entry(
        "CONCAT",
        "CONCAT(a, b, ...)",
        "Texts joined.",
        nulls="NULL texts are left out; never NULL.",
        examples="CONCAT('a', NULL, 'b') → 'ab'; CONCAT(NULL, NULL) → ''",
    ),
    entry(
        "LOWER",
        "LOWER(text)",
        "In lower case, letter by letter.",
        form(
            "t",
            TEXT,
            "lower({0})",
            "lower({0})",
            _EACH_LETTER.format(
                "CASE WHEN length(lower(c)) = 1 THEN lower(c) ELSE translate(c, 'İ', 'i') END"
            ),
        ),
        examples="LOWER('ÅSA') → 'åsa'; LOWER(NULL) → NULL",
    ),
    entry(
        "UPPER",
        "UPPER(text)",
        "In upper case, letter by letter.",
        form(
            "t",
            TEXT,
            "upper({0})",
            "upper({0})",
            _EACH_LETTER.format(
                f"CASE WHEN length(upper(c)) = 1 THEN upper(c) ELSE translate(c, '{UPPER_ODD}', "
                f"'{UPPER_EVEN}') END"
            ),
        ),
        examples="UPPER('åsa') → 'ÅSA'; UPPER('ß') → 'ẞ'",
    ),
    entry(
        "TRIM",
        "TRIM(text)",
        "Without spaces at both ends.",
        form("t", TEXT, "trim({0}, ' ')", "{0}.strip(' ')", "trim(BOTH ' ' FROM {0})"),
        examples="TRIM('  a b ') → 'a b'",
    ),
    entry(
        "LENGTH",
        "LENGTH(text)",
        "Number of characters (Unicode code points).",
        form("t", INTEGER, "length({0})", "len({0})", _BIG.format("length({0})")),
        examples="LENGTH('lån') → 3; LENGTH('') → 0",
    ),
    entry(
        "SUBSTRING",
        "SUBSTRING(text, start, count)",
        "So many characters from a position, the first being 1. Both are literals.",
        form("tii", TEXT, "substring({0}, {1}, {2})", "{0}[{1} - 1:{1} - 1 + {2}]", literal_from=1),
        examples="SUBSTRING('abcdef', 2, 3) → 'bcd'; SUBSTRING('ab', 3, 1) → ''",
    ),
    entry(
        "REPLACE",
        "REPLACE(text, part, other)",
        "With each occurrence of a part replaced; an empty part changes nothing.",
        form("ttt", TEXT, "replace({0}, {1}, {2})", "({0}.replace({1}, {2}) if {1} else {0})"),
        examples="REPLACE('a-b-c', '-', '') → 'abc'; REPLACE('abc', '', 'x') → 'abc'",
    ),
    entry(
        "SPLIT_PART",
        "SPLIT_PART(text, separator, position)",
        "The part at a position (from 1) between separators; the empty text beyond the last. Separator "
        "and position are literals.",
        form("tti", TEXT, "split_part({0}, {1}, {2})", "split_part({0}, {1}, {2})", literal_from=1),
        examples="SPLIT_PART('a/b/c', '/', 2) → 'b'; SPLIT_PART('a', '/', 2) → ''",
    ),
    _text_test(
        "STARTS_WITH",
        "Whether a text begins with another.",
        "starts_with({0}, {1})",
        "startswith({0}, {1})",
        "{0}.startswith({1})",
        "STARTS_WITH('savings', 'sav')",
    ),
    _text_test(
        "ENDS_WITH",
        "Whether a text ends with another.",
        "suffix({0}, {1})",
        "endswith({0}, {1})",
        "{0}.endswith({1})",
        "ENDS_WITH('savings', 'ings')",
    ),
    _text_test(
        "CONTAINS",
        "Whether a text holds another.",
        "contains({0}, {1})",
        "contains({0}, {1})",
        "({1} in {0})",
        "CONTAINS('savings', 'vin')",
    ),
    entry(
        "TO_TEXT",
        "TO_TEXT(value)",
        "An integer, boolean or date written out. Round a number with decimals first.",
        form("t", TEXT, "{0}", "{0}"),
        form("i", TEXT, "CAST({0} AS VARCHAR)", "str({0})", "CAST({0} AS STRING)"),
        form("b", TEXT, "CAST({0} AS VARCHAR)", "('true' if {0} else 'false')", "CAST({0} AS STRING)"),
        form("d", TEXT, "CAST({0} AS VARCHAR)", "{0}.isoformat()", "CAST({0} AS STRING)"),
        examples="TO_TEXT(42) → '42'; TO_TEXT(TRUE) → 'true'; TO_TEXT(DATE '2026-05-04') → '2026-05-04'",
    ),
)
