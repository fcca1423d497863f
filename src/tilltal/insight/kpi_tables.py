"""Key figures of all customers, per period and per segment, as a plan of steps over a refresh's tables.

A relation is reduced to the numbers of the periods in which it opened and closed. Relations of one segment
with the same numbers make a cohort, and cohorts are few, whatever the number of customers.

Who belongs to a segment in a period: by lifecycle stage, the stage at the period's start, or on the day of
joining for those who join in it; by anything else, the segment of today, for no other is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

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


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What key figures are made over: periods, and the columns of the profile to report by."""

    periods: Periods
    past: Past
    today_dimensions: tuple[str, ...]
    by_stage: bool


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
    named = [name for name in kpis.by if name in available]
    frame = Frame(
        periods=periods_until(kpis.period, clock.today, kpis.periods),
        past=Past(schemas, clock),
        today_dimensions=tuple(name for name in named if name != STAGE),
        by_stage=STAGE in named,
    )
    return (
        Step("kpi_periods", frame.periods.sql()),
        Step("kpi_relations", _relations_sql(frame)),
        Step("kpi_segments", _segments_sql(frame)),
        Step("kpi_cohorts", _cohorts_sql(frame)),
        Step("kpi_counts", _counts_sql()),
        *_activity_steps(kpis, schemas, frame),
        Step("kpis", _kpis_sql(kpis)),
    )


def _relations_sql(frame: Frame) -> str:
    """Return each relation with the numbers of the periods in which it opened and closed."""
    periods = frame.periods
    return f"""
SELECT profile, opened, {periods.number_sql("opened")} AS opened_in,
  COALESCE({periods.number_sql("closed")}, {_LATER}) AS closed_in
FROM relations"""


def _segments_sql(frame: Frame) -> str:
    """Return who belongs to which segment: profile, dimension, segment, for periods in (after_number, to_number].

    A customer's first stage also holds for the period in which it began.
    """
    first, number = frame.periods.first, frame.periods.number_sql
    today = [
        f"SELECT profile, {literal(name)} AS dimension, COALESCE(CAST({quote(name)} AS VARCHAR), {literal(NONE)})"
        f" AS segment, {first - 1} AS after_number, {_LATER} AS to_number FROM profiles"
        for name in frame.today_dimensions
    ]
    stages = f"""
SELECT profile, {literal(STAGE)} AS dimension, to_stage AS segment,
  CASE WHEN from_stage IS NULL THEN {number("date")} - 1 ELSE {number("date")} END AS after_number,
  COALESCE({number("LEAD(date) OVER (PARTITION BY profile ORDER BY date)")}, {_LATER}) AS to_number
FROM transitions"""
    parts = today + ([stages] if frame.by_stage else [])
    nobody = (
        "SELECT CAST(0 AS BIGINT) AS profile, '' AS dimension, '' AS segment, 0 AS after_number,"
        " 0 AS to_number WHERE FALSE"
    )
    return "\nUNION ALL\n".join(parts or [nobody])
