"""Product penetration: customers who hold a product / customers.

At the end of every period over all customers, and by segment as of today.
"""

from __future__ import annotations

from collections.abc import Sequence

from tilltal.core.names import literal, quote
from tilltal.customers.step import Step
from tilltal.insight.kpi_tables import ALL, NONE
from tilltal.insight.periods import Periods, periods_until
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.policies import Kpis

_LAST_DAY = "DATE '9999-12-31'"


def penetration_steps(kpis: Kpis, clock: Clock, available: frozenset[str]) -> tuple[Step, ...]:
    """Return the steps that make `penetration`.

    They read `relations`, `holdings` and `profiles`. Columns of the result: period_start, period_end,
    product, dimension, segment, value, holders, customers.

    Args:
        kpis: the periods and the dimensions to report by.
        clock: the last period ends on its date, and segments are those of its date.
        available: the columns of `profiles`; a dimension that is not among them is left out.
    """
    periods = periods_until(kpis.period, clock.today, kpis.periods)
    dimensions = [name for name in kpis.by if name in available]
    return (
        Step("penetration_periods", periods.sql()),
        Step("penetration_held", _HELD),
        Step("penetration", _penetration_sql(periods, dimensions, clock)),
    )


# what arrived last about a product opened on a day decides; of equal arrivals, the longest
_LATEST = f"""SELECT profile, product, opened,
  (MAX({{'received': received, 'closed': COALESCE(closed, {_LAST_DAY})}})).closed AS closed
FROM holdings WHERE opened IS NOT NULL GROUP BY profile, product, opened"""

# times in which a customer held a product as a customer: several holdings of one product that overlap or
# touch are one, and only what lies within a relation counts
_HELD = f"""
SELECT h.profile, h.product, GREATEST(h.opened, r.opened) AS opened,
  LEAST(h.closed, COALESCE(r.closed, {_LAST_DAY})) AS closed
FROM (
  SELECT profile, product, MIN(opened) AS opened, MAX(closed) AS closed
  FROM (
    SELECT *, SUM(CASE WHEN opened <= reach THEN 0 ELSE 1 END) OVER (
      PARTITION BY profile, product ORDER BY opened ROWS UNBOUNDED PRECEDING) AS stretch
    FROM (
      SELECT *, MAX(closed) OVER (PARTITION BY profile, product ORDER BY opened
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reach
      FROM ({_LATEST}) AS held WHERE closed > opened) AS reached) AS grouped
  GROUP BY profile, product, stretch) AS h
JOIN relations AS r ON r.profile = h.profile
  AND h.opened < COALESCE(r.closed, {_LAST_DAY}) AND r.opened < h.closed"""


def _penetration_sql(periods: Periods, dimensions: Sequence[str], clock: Clock) -> str:
    today = f"DATE '{clock.today}'"
    last = f"SELECT * FROM penetration_periods WHERE number = {periods.last}"
    parts = [_over_time_sql()]
    for name in dimensions:
        segment = f"COALESCE(CAST(f.{quote(name)} AS VARCHAR), {literal(NONE)})"
        parts.append(_today_sql(name, segment, today, last))
    return "\nUNION ALL\n".join(parts)


def _over_time_sql() -> str:
    return f"""
SELECT c.period_start, c.period_end, h.product, {literal(ALL)} AS dimension, {literal(ALL)} AS segment,
  h.holders / CAST(NULLIF(c.customers, 0) AS DOUBLE) AS value, h.holders, c.customers
FROM ({_at_ends_sql("product", "penetration_held", "holders")}) AS h
JOIN ({_at_ends_sql("'' AS product", "relations", "customers")}) AS c ON c.number = h.number"""


def _at_ends_sql(product: str, relation: str, count: str) -> str:
    """Return how many times run at the end of each period; they are first reduced to their days."""
    return f"""
  SELECT p.number, p.period_start, p.period_end, product, CAST(SUM(n) AS BIGINT) AS {count}
  FROM (SELECT {product}, opened, closed, COUNT(*) AS n FROM {relation} GROUP BY ALL) AS days
  JOIN penetration_periods AS p ON opened <= p.period_end AND COALESCE(closed > p.period_end, TRUE)
  GROUP BY p.number, p.period_start, p.period_end, product"""


def _today_sql(dimension: str, segment: str, today: str, last: str) -> str:
    def counted(columns: str, relation: str, count: str) -> str:
        return (
            f"SELECT {columns}{segment} AS segment, COUNT(*) AS {count} FROM {relation} AS t"
            f" JOIN profiles AS f ON f.profile = t.profile"
            f" WHERE t.opened <= {today} AND COALESCE(t.closed > {today}, TRUE) GROUP BY ALL"
        )

    return f"""
SELECT p.period_start, p.period_end, h.product, {literal(dimension)} AS dimension, c.segment,
  h.holders / CAST(c.customers AS DOUBLE) AS value, h.holders, c.customers
FROM ({counted("t.product, ", "penetration_held", "holders")}) AS h
JOIN ({counted("", "relations", "customers")}) AS c ON c.segment = h.segment CROSS JOIN ({last}) AS p"""
