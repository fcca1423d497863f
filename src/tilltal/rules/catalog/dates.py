"""Functions of dates and instants."""

from __future__ import annotations

from tilltal.rules.catalog.forms import DATE, INTEGER, Function, entry, form

_BIG = "CAST({0} AS BIGINT)"
_DAY_ONE = "DATE '0001-01-01'"
_YEARS = (
    "(year({1}) - year({0}) - CASE WHEN month({1}) * 100 + day({1}) < month({0}) * 100 + day({0}) "
    "THEN 1 ELSE 0 END)"
)
_MONTHS = (
    "((year({1}) - year({0})) * 12 + month({1}) - month({0}) - CASE WHEN day({1}) < day({0}) "
    "THEN 1 ELSE 0 END)"
)


def _date_part(name: str, about: str, sql: str, spark: str, python: str, example: str) -> Function:
    part = form("d", INTEGER, sql, python, _BIG.format(spark))
    return entry(name, f"{name}(date)", about, part, examples=f"{name}(DATE '2026-05-04') → {example}")


DATES = (
    entry(
        "NOW",
        "NOW()",
        "The instant of the evaluation.",
        nulls="Never NULL.",
        examples="NOW() IS NULL → FALSE",
    ),
    entry(
        "TODAY",
        "TODAY()",
        "The date of the evaluation in the workspace's time zone.",
        nulls="Never NULL.",
        examples="TODAY() = DATE_OF(NOW()) → TRUE",
    ),
    _date_part("YEAR", "The calendar year.", "year({0})", "year({0})", "{0}.year", "2026"),
    _date_part("QUARTER", "1 to 4.", "quarter({0})", "quarter({0})", "(({0}.month + 2) // 3)", "2"),
    _date_part("MONTH", "1 to 12.", "month({0})", "month({0})", "{0}.month", "5"),
    _date_part("DAY", "Day of the month.", "day({0})", "day({0})", "{0}.day", "4"),
    _date_part(
        "DAY_OF_WEEK",
        "1 for Monday to 7 for Sunday.",
        "isodow({0})",
        "weekday({0}) + 1",
        "{0}.isoweekday()",
        "1",
    ),
    entry(
        "DAYS_BETWEEN",
        "DAYS_BETWEEN(from, to)",
        "Days from the first date to the second; negative if that is earlier.",
        form(
            "dd", INTEGER, "date_diff('day', {0}, {1})", "({1} - {0}).days", _BIG.format("datediff({1}, {0})")
        ),
        examples="DAYS_BETWEEN(DATE '2026-02-27', DATE '2026-03-01') → 2",
    ),
    entry(
        "MONTHS_BETWEEN",
        "MONTHS_BETWEEN(from, to)",
        "Complete months from the first date to the second, rounded down.",
        form("dd", INTEGER, _MONTHS, "months_between({0}, {1})", _BIG.format(_MONTHS)),
        examples=(
            "MONTHS_BETWEEN(DATE '2026-01-31', DATE '2026-02-28') → 0; "
            "MONTHS_BETWEEN(DATE '2026-01-15', DATE '2026-03-15') → 2"
        ),
    ),
    entry(
        "YEARS_BETWEEN",
        "YEARS_BETWEEN(from, to)",
        "Complete years from the first date to the second, rounded down.",
        form("dd", INTEGER, _YEARS, "years_between({0}, {1})", _BIG.format(_YEARS)),
        examples="YEARS_BETWEEN(DATE '2000-05-05', DATE '2026-05-04') → 25",
    ),
    entry(
        "AGE",
        "AGE(birth_date)",
        "Complete years until today: YEARS_BETWEEN(birth_date, TODAY()). Who is born on 29 February "
        "ages on 1 March in other years.",
        examples="AGE(TODAY()) → 0; AGE(NULL) → NULL",
    ),
    entry(
        "DATE_ADD_DAYS",
        "DATE_ADD_DAYS(date, days)",
        "So many days later, or earlier if negative. NULL outside the years 1 to 9999.",
        form(
            "di",
            DATE,
            f"CASE WHEN CAST(date_diff('day', {_DAY_ONE}, {{0}}) AS HUGEINT) + {{1}} BETWEEN 0 AND "
            f"3652058 THEN {{0}} + TRY_CAST({{1}} AS INTEGER) END",
            "add_days({0}, {1})",
            f"CASE WHEN try_add(CAST(datediff({{0}}, {_DAY_ONE}) AS BIGINT), {{1}}) BETWEEN 0 AND "
            f"3652058 THEN date_add({{0}}, TRY_CAST({{1}} AS INT)) END",
            is_partial=True,
        ),
        examples=(
            "DATE_ADD_DAYS(DATE '2026-02-27', 2) → DATE '2026-03-01'; "
            "DATE_ADD_DAYS(DATE '2026-01-01', 9999999) → NULL"
        ),
    ),
    entry(
        "DATE_OF",
        "DATE_OF(timestamp)",
        "The calendar date of an instant in the workspace's time zone. Instants before 1970 are read "
        "with the offset of 1 January 1970.",
        examples="DATE_OF(TIMESTAMP '2026-05-04 23:30:00') → DATE '2026-05-04'",
    ),
    entry(
        "HOUR_OF",
        "HOUR_OF(timestamp)",
        "The hour, 0 to 23, of an instant in the workspace's time zone.",
        examples="HOUR_OF(TIMESTAMP '2026-05-04 23:30:00') → 23",
    ),
)
