"""What users of other systems write, and what the dialect has instead."""

from __future__ import annotations

ALIASES = {"CEILING": "CEIL", "POW": "POWER", "SUBSTR": "SUBSTRING", "LCASE": "LOWER", "UCASE": "UPPER"}

ELSEWHERE = {
    **dict.fromkeys(
        ("COUNT", "SUM", "AVG", "MIN", "MAX", "FIRST", "LAST", "MEDIAN", "STDDEV"),
        "Measures over events belong in a trait (traits/<name>.yaml); LEAST and GREATEST compare values.",
    ),
    **dict.fromkeys(("ROW_NUMBER", "RANK", "LAG", "LEAD", "NTILE"), "Windows over rows belong in a trait."),
    **dict.fromkeys(("CAST", "TRY_CAST", "CONVERT"), "Values are never cast; TO_NUMBER and TO_TEXT convert."),
    **dict.fromkeys(("IFNULL", "NVL"), "Write COALESCE(a, b)."),
    **dict.fromkeys(("ISNULL", "ISNOTNULL"), "Write x IS NULL or x IS NOT NULL."),
    **dict.fromkeys(("DATEDIFF", "DATE_DIFF"), "Write DAYS_BETWEEN(from, to)."),
    **dict.fromkeys(("DATE_ADD", "DATEADD", "DATE_SUB"), "Write DATE_ADD_DAYS(date, days)."),
    **dict.fromkeys(("CURRENT_DATE", "CURDATE", "GETDATE"), "Write TODAY()."),
    **dict.fromkeys(("CURRENT_TIMESTAMP", "SYSDATE"), "Write NOW()."),
    **dict.fromkeys(
        ("RANDOM", "RAND", "UUID"),
        "Chance has no place here: the same customer must get the same answer.",
    ),
    **dict.fromkeys(("REGEXP_MATCHES", "REGEXP_LIKE", "REGEXP_REPLACE"), "Write LIKE with % and _."),
    **dict.fromkeys(("LEN", "CHAR_LENGTH"), "Write LENGTH(text)."),
    **dict.fromkeys(("LTRIM", "RTRIM"), "Write TRIM(text)."),
    **dict.fromkeys(("LEFT", "RIGHT"), "Write SUBSTRING(text, start, count), STARTS_WITH or ENDS_WITH."),
    **dict.fromkeys(
        ("YEARS", "MONTHS", "DAYS", "DATE_PART", "EXTRACT"),
        "Write YEAR(date), MONTH(date), DAY(date).",
    ),
    "LOG": "Write LN(x) or LOG10(x).",
    "IIF": "Write IF(condition, a, b).",
    "MOD": "Write a % b.",
    "DATE": "Write DATE '2026-05-04', or DATE_OF(timestamp).",
    "TIMESTAMP": "Write TIMESTAMP '2026-05-04 09:00:00'.",
    "TRUNC": "Write FLOOR(x) or CEIL(x).",
    "EXISTS": "Write x IS NOT NULL; whether events exist is a trait.",
}  # fmt: skip
