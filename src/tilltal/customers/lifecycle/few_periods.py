"""The days on which engagement turns, for sums over few periods: every period is a column.

A sum over calendar periods is read on the same days for everybody. Laid side by side, one row a relation, all
readings compare without sorting anything; `trends.periodic_turn_steps` finds the same with any number of
periods.
"""

from __future__ import annotations

from datetime import date, timedelta

from tilltal.customers.lifecycle.calendar import CALENDARS, Calendar
from tilltal.customers.lifecycle.days import day_number
from tilltal.customers.lifecycle.stage import Terms
from tilltal.customers.lifecycle.trends import NEVER, fallen_sql
from tilltal.customers.step import Step
from tilltal.workspace.definitions.segments import Engagement

ADDITIVE = ("count", "exists", "sum")
MOST_PERIODS = 60


def few_turn_steps(
    engagement: Engagement, terms: Terms, today: date, numbers: tuple[int, int], spans: str
) -> tuple[Step, ...]:
    """Return the steps from `lifecycle_periods` (profile, number, n) to `lifecycle_turns`.

    Args:
        engagement: what is measured; `measure` is one of `ADDITIVE`.
        terms: how readings are compared.
        today: the last day that counts.
        numbers: the first period in which something happened, and the period of today, a later one.
        spans: a SELECT of relations: profile, opened, closed, opened_in, ended_in; the last two are periods.
    """
    calendar, (first, last) = CALENDARS[engagement.every], numbers
    columns = ", ".join(
        f"MAX(CASE WHEN number = {each} THEN n END) AS p{each}" for each in range(first, last)
    )
    wide = f"SELECT profile, {columns} FROM lifecycle_periods GROUP BY profile"
    days = _days(calendar, terms, range(first + 1, last + 1), today)
    return (
        Step("lifecycle_wide", wide),
        Step("lifecycle_readings", _readings_sql(engagement, numbers, spans)),
        Step("lifecycle_judged", _judged_sql(calendar, terms, days, first)),
        Step("lifecycle_turns", _turns_sql(days)),
    )


def _days(calendar: Calendar, terms: Terms, numbers: range, today: date) -> list[date]:
    """Return the days on which the trend of anybody can turn: of readings, and `trend_days` after them."""
    firsts = [calendar.first_day(number) for number in numbers]
    later = [day + timedelta(days=terms.trend_days) for day in firsts]
    return sorted({day for day in firsts + later if day <= today})


def _readings_sql(engagement: Engagement, numbers: tuple[int, int], spans: str) -> str:
    """Return a row per relation with a column per reading, and the first of its own."""
    first, last = numbers

    def reading(number: int) -> str:
        covered = range(max(number - engagement.over, first), number)
        parts = [f"COALESCE(p{each}, 0)" for each in covered]
        total = f"GREATEST({', '.join(parts)})" if engagement.measure == "exists" else " + ".join(parts)
        return f"CAST({total} AS DOUBLE) AS r{number}"

    readings = ", ".join(reading(number) for number in range(first + 1, last + 1))
    own = " ".join(f"WHEN {number} THEN r{number + 1}" for number in range(first, last))
    return f"""
SELECT *, CASE opened_in {own} END AS first_reading
FROM (
  SELECT s.profile, s.closed, s.opened_in, {readings}
  FROM ({spans}) AS s LEFT JOIN lifecycle_wide AS w ON w.profile = s.profile) AS readings"""


def _judged_sql(calendar: Calendar, terms: Terms, days: list[date], first: int) -> str:
    """Return a row per relation that says of each day whether engagement has fallen."""
    columns = []
    for index, day in enumerate(days):
        current, old = calendar.number(day), calendar.number(day - timedelta(days=terms.trend_days))
        earlier = (
            f"CASE WHEN opened_in < {old} THEN r{old} ELSE first_reading END"
            if old > first
            else "first_reading"
        )
        columns.append(
            f"opened_in < {current} AND {fallen_sql(f'r{current}', f'({earlier})', terms)} AS f{index}"
        )
    return f"SELECT profile, closed, {', '.join(columns)} FROM lifecycle_readings"


def _turns_sql(days: list[date]) -> str:
    selects = [
        f"SELECT profile, {day_number(day)} AS day, f{index} AS fallen FROM lifecycle_judged"
        f" WHERE f{index} <> {f'f{index - 1}' if index else 'FALSE'}"
        f" AND COALESCE(closed, {NEVER}) > {day_number(day)}"
        for index, day in enumerate(days)
    ]
    return "\nUNION ALL\n".join(selects)
