"""Key figures of all customers, per period and per segment, as a plan of steps over a refresh's tables.

A relation is reduced to the numbers of the periods in which it opened and closed. Relations of one segment
with the same numbers make a cohort, and cohorts are few, whatever the number of customers.

Who belongs to a segment in a period: by lifecycle stage, the stage at the period's start, or on the day of
joining for those who join in it; by anything else, the segment of today, for no other is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tilltal.core.names import literal, quote
from tilltal.customers.lifecycle.occurrences import Past
from tilltal.customers.step import Step
from tilltal.customers.traits.schema import Schemas
from tilltal.insight.periods import Periods, periods_until
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.policies import Kpis

ALL, NONE = "all", "-"
STAGE = "lifecycle.stage"
_LATER = 2147483647
_FIRST_DAY, _LAST_DAY = "DATE '0001-01-01'", "DATE '9999-12-31'"

_COUNTS: Mapping[str, str] = {
    "customers_start": "start_count",
    "customers_new": "new_count",
    "customers_left": "left_count",
    "customers_end": "end_count",
}
_RATIOS: Mapping[str, tuple[str, str]] = {
    "duration": ("start_count", "left_count"),
    "churn_rate": ("start_count - end_count", "start_count"),
    "retention_rate": ("end_count - new_count", "start_count"),
    "gross_churn_rate": ("left_count", "start_count"),
}


def kpi_steps(kpis: Kpis, schemas: Schemas, clock: Clock, available: frozenset[str]) -> tuple[Step, ...]:
    """Return the steps that make `kpis`.

    They read `relations`, `transitions`, `profiles` and event views. Columns of the result: period_start,
    period_end, kpi, dimension, segment, value, numerator, denominator.

    Args:
        kpis: the definition.
        schemas: the event types.
        clock: the last period ends on its date.
        available: the columns of `profiles`; a dimension that is not among them is left out.
    """
    periods = periods_until(kpis.period, clock.today, kpis.periods)
    dimensions = [name for name in kpis.by if name in available]
    activity = _activity_sql(kpis, periods, Past(schemas, clock))
    return (
        Step("kpi_periods", periods.sql()),
        Step("kpi_relations", _relations_sql(periods)),
        Step("kpi_segments", _segments_sql(periods, dimensions)),
        Step("kpi_cohorts", _COHORTS),
        Step("kpi_activity", activity),
        Step("kpi_figures", _FIGURES),
        Step("kpis", _kpis_sql(kpis, schemas)),
    )


def _relations_sql(periods: Periods) -> str:
    """Return each relation with the numbers of the periods in which it opened and closed."""
    return f"""
SELECT profile, opened, {periods.number_sql("opened")} AS opened_in,
  COALESCE({periods.number_sql("closed")}, {_LATER}) AS closed_in
FROM relations"""


def _segments_sql(periods: Periods, dimensions: Sequence[str]) -> str:
    """Return who belongs to which segment: from a day until another, and so at the start of which periods.

    That is periods in (after_number, to_number]. The first stage also holds for the period in which it began.
    """
    parts = [_segment_sql(periods, ALL, literal(ALL))]
    for name in dimensions:
        if name == STAGE:
            parts.append(_stages_sql(periods))
        else:
            segment = f"COALESCE(CAST({quote(name)} AS VARCHAR), {literal(NONE)})"
            parts.append(_segment_sql(periods, name, segment))
    return "\nUNION ALL\n".join(parts)


def _segment_sql(periods: Periods, dimension: str, segment: str) -> str:
    return f"""
SELECT profile, {literal(dimension)} AS dimension, {segment} AS segment, {_FIRST_DAY} AS from_day,
  {_LAST_DAY} AS to_day, {periods.first - 1} AS after_number, {_LATER} AS to_number
FROM profiles"""


def _stages_sql(periods: Periods) -> str:
    number = periods.number_sql
    return f"""
SELECT profile, {literal(STAGE)}, to_stage, date, COALESCE(next_date, {_LAST_DAY}),
  CASE WHEN from_stage IS NULL THEN {number("date")} - 1 ELSE {number("date")} END,
  COALESCE({number("next_date")}, {_LATER})
FROM (
  SELECT *, LEAD(date) OVER (PARTITION BY profile ORDER BY date) AS next_date FROM transitions) AS stages"""


# n relations that were there at the start of periods in (after_number, to_number], or joined in it
_COHORTS = """
SELECT dimension, segment, is_new, after_number, to_number, closed_in, COUNT(*) AS n
FROM (
  SELECT s.dimension, s.segment, FALSE AS is_new, GREATEST(s.after_number, r.opened_in) AS after_number,
    LEAST(s.to_number, r.closed_in) AS to_number, r.closed_in
  FROM kpi_relations AS r JOIN kpi_segments AS s ON s.profile = r.profile
    AND GREATEST(s.after_number, r.opened_in) < LEAST(s.to_number, r.closed_in)
  UNION ALL
  SELECT s.dimension, s.segment, TRUE, r.opened_in - 1, r.opened_in, r.closed_in
  FROM kpi_relations AS r JOIN kpi_segments AS s ON s.profile = r.profile
    AND s.from_day <= r.opened AND r.opened < s.to_day) AS members
GROUP BY dimension, segment, is_new, after_number, to_number, closed_in"""

_FIGURES = """
SELECT number, dimension, segment, SUM(start_count) AS start_count, SUM(new_count) AS new_count,
  SUM(left_count) AS left_count, SUM(start_count) + SUM(new_count) - SUM(left_count) AS end_count,
  SUM(active) AS active, SUM(sales) AS sales, SUM(income) AS income
FROM (
  SELECT p.number, c.dimension, c.segment, CASE WHEN is_new THEN 0 ELSE n END AS start_count,
    CASE WHEN is_new THEN n ELSE 0 END AS new_count,
    CASE WHEN closed_in = p.number THEN n ELSE 0 END AS left_count,
    0 AS active, 0 AS sales, 0 AS income
  FROM kpi_cohorts AS c JOIN kpi_periods AS p ON p.number > c.after_number AND p.number <= c.to_number
  UNION ALL
  SELECT a.number, s.dimension, s.segment, 0, 0, 0, a.active, a.sales, a.income
  FROM kpi_activity AS a JOIN kpi_segments AS s ON s.profile = a.profile
    AND a.number > s.after_number AND a.number <= s.to_number) AS parts
GROUP BY number, dimension, segment"""


def _activity_sql(kpis: Kpis, periods: Periods, past: Past) -> str:
    """Return what each profile did in each period: active (0 or 1, customers only), sales, income."""
    income_type, income_field = kpis.income or ("", "")
    types = dict.fromkeys((*kpis.active, *kpis.sales, *([income_type] if income_type else [])))
    if not types:
        columns = f"{_LATER} AS number, 0 AS active, 0 AS sales, 0 AS income"
        return f"SELECT profile, {columns} FROM profiles WHERE FALSE"
    events = "\nUNION ALL\n".join(
        f"SELECT profile, {quote('at')} AS instant, {int(name in kpis.active)} AS active,"
        f" {int(name in kpis.sales)} AS sales,"
        f" {quote(income_field) if name == income_type else '0'} AS income FROM {quote(f'event.{name}')}"
        for name in types
    )
    return f"""
SELECT a.profile, a.number, CASE WHEN r.profile IS NULL THEN 0 ELSE a.active END AS active, a.sales, a.income
FROM (
  SELECT profile, number, MAX(active) AS active, SUM(sales) AS sales, COALESCE(SUM(income), 0) AS income
  FROM (SELECT *, {periods.calendar.number_sql(past.local_date)} AS number FROM ({events}) AS events) AS dated
  WHERE number >= {periods.first} GROUP BY profile, number) AS a
LEFT JOIN (
  SELECT DISTINCT r.profile, p.number FROM kpi_relations AS r JOIN kpi_periods AS p
    ON p.number >= r.opened_in AND p.number <= r.closed_in) AS r
  ON r.profile = a.profile AND r.number = a.number"""


def _kpis_sql(kpis: Kpis, schemas: Schemas) -> str:
    """Return the long table: a row per period, figure and segment; ratios with their parts."""
    figures = [(name, column, "NULL") for name, column in _COUNTS.items()]
    figures += [(name, *parts) for name, parts in _RATIOS.items()]
    if kpis.active:
        figures += [
            ("active_customers", "active", "NULL"),
            ("active_rate", "active", "start_count + new_count"),
        ]
    if kpis.sales:
        figures.append(("sales", "sales", "NULL"))
    if kpis.income:
        name, field = kpis.income
        figures.append(("income", f"income / CAST({schemas[name].money.get(field, 1)} AS DOUBLE)", "NULL"))
    selects = [
        f"SELECT number, {literal(name)} AS kpi, dimension, segment, CAST({top} AS DOUBLE) AS numerator,"
        f" CAST({bottom} AS DOUBLE) AS denominator FROM kpi_figures"
        for name, top, bottom in figures
    ]
    return f"""
SELECT p.period_start, p.period_end, f.kpi, f.dimension, f.segment,
  CASE WHEN f.denominator IS NULL THEN f.numerator ELSE f.numerator / NULLIF(f.denominator, 0) END AS value,
  f.numerator, f.denominator
FROM ({" UNION ALL ".join(selects)}) AS f JOIN kpi_periods AS p ON p.number = f.number"""
