"""Readings of engagement: SELECT texts of `lifecycle_readings`, and of the days on which their trend turns.

A reading is an event's own field (then: profile, day, value), or a measure over calendar periods (then:
profile, opened, closed, number of the period it follows upon, value). A measured reading belongs to the first
day after its last period, and there is one for every period that ends while the relation is open: zero where
nothing happened. What it measures is what the customer did in the periods, whenever the relation began.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import msgspec

from tilltal.core.errors import Place, WorkspaceError
from tilltal.customers.lifecycle.calendar import CALENDARS, Calendar
from tilltal.customers.lifecycle.days import to_date
from tilltal.customers.lifecycle.few_periods import ADDITIVE, MOST_PERIODS, few_turn_steps
from tilltal.customers.lifecycle.occurrences import Past
from tilltal.customers.lifecycle.stage import Terms
from tilltal.customers.lifecycle.trends import dated_turn_steps, periodic_turn_steps
from tilltal.customers.step import Step
from tilltal.workspace.definitions.profile import Measure
from tilltal.workspace.definitions.segments import Engagement

_NONE = "SELECT CAST(0 AS BIGINT) AS profile, 0 AS day, CAST(0 AS DOUBLE) AS value WHERE FALSE"


class _Measure(msgspec.Struct, frozen=True):
    """How a measure is taken per period, and read over the periods that a window covers."""

    parts: str
    value: str


_LATEST = "{'at': instant, 'received': received, 'id': event_id, 'value': value}"
_MEASURES: dict[Measure, _Measure] = {
    "count": _Measure("CAST(COUNT(*) AS DOUBLE) AS n", "SUM(n) OVER covered"),
    "exists": _Measure("1 AS n", "MAX(n) OVER covered"),
    "sum": _Measure("SUM(value) AS n", "SUM(n) OVER covered"),
    "avg": _Measure(
        "SUM(value) AS s, CAST(COUNT(*) AS DOUBLE) AS n", "SUM(s) OVER covered / SUM(n) OVER covered"
    ),
    "min": _Measure("MIN(value) AS m", "MIN(m) OVER covered"),
    "max": _Measure("MAX(value) AS m", "MAX(m) OVER covered"),
    "first": _Measure(f"MIN({_LATEST}) AS m", "(MIN(m) OVER covered).value"),
    "last": _Measure(f"MAX({_LATEST}) AS m", "(MAX(m) OVER covered).value"),
    "distinct": _Measure("COUNT(DISTINCT value) AS n", "MAX(n) OVER covered"),
}
_OF_ANYTHING: tuple[Measure, ...] = ("count", "exists", "distinct")


def engagement_steps(
    engagement: Engagement | None, terms: Terms, past: Past, since: date | None
) -> Iterator[Step]:
    """Yield the steps from events and `lifecycle_relations` to `lifecycle_turns`.

    `since` is a day before which nothing happened, if known: few periods can be compared side by side.

    Raises:
        WorkspaceError: if the measure or its field cannot make a reading.
    """
    if engagement is None or engagement.measure is None:
        yield Step("lifecycle_readings", _fields(engagement, past) if engagement else _NONE)
        yield from dated_turn_steps(terms, past.today)
    elif engagement.measure in _MEASURES:
        yield Step("lifecycle_periods", _periods(engagement, engagement.measure, past))
        calendar = CALENDARS[engagement.every]
        spans = _spans_sql(calendar, past)
        numbers = calendar.number(since or date.min), calendar.number(past.clock.today)
        if engagement.measure in ADDITIVE and 0 < numbers[1] - numbers[0] < MOST_PERIODS:
            yield from few_turn_steps(engagement, terms, past.clock.today, numbers, spans)
        else:
            yield Step("lifecycle_readings", _measured(engagement, engagement.measure, spans))
            yield from periodic_turn_steps(terms, calendar, past.today)
    else:
        raise WorkspaceError.of(
            "W166",
            f"the measure {engagement.measure} is no measure of engagement: it grows as engagement falls",
            place=Place(file="lifecycle.yaml"),
            valid=tuple(_MEASURES),
        )


def _fields(engagement: Engagement, past: Past) -> str:
    """Return each day's last reading."""
    assert engagement.of is not None, "checked with the workspace"
    numbers = past.numbers(engagement.from_, engagement.where, engagement.of)
    return f"""
SELECT profile, day, (MAX({_LATEST})).value AS value
FROM (SELECT *, {past.local_day} AS day FROM ({numbers}) AS numbers) AS readings
GROUP BY profile, day"""


def _occurrences(engagement: Engagement, measure: Measure, past: Past) -> str:
    if engagement.of is None:
        return past.events(engagement.from_, engagement.where)
    if measure in _OF_ANYTHING:
        return past.keys(engagement.from_, engagement.where, engagement.of)
    return past.numbers(engagement.from_, engagement.where, engagement.of)


def _periods(engagement: Engagement, measure: Measure, past: Past) -> str:
    """Return the measure's parts per profile and period."""
    number = CALENDARS[engagement.every].number_sql(past.local_date)
    occurrences = _occurrences(engagement, measure, past)
    numbered = f"SELECT *, {number} AS number FROM ({occurrences}) AS events"
    if measure == "distinct":  # does not add up: taken at once over all periods of a reading
        covered = ", ".join(f"({back})" for back in range(engagement.over))
        numbered = f"""
  SELECT profile, number + back AS number, value
  FROM ({numbered}) AS numbered CROSS JOIN (VALUES {covered}) AS covered(back)"""
    return f"""
SELECT profile, number, {_MEASURES[measure].parts} FROM ({numbered}) AS numbered GROUP BY profile, number"""


def _spans_sql(calendar: Calendar, past: Past) -> str:
    """Return each relation with the numbers of the periods in which it opened, and is last open."""
    until = f"LEAST(COALESCE(closed - 1, {past.today}), {past.today})"
    return f"""
SELECT profile, opened, closed, opened_in, ended_in
FROM (
  SELECT profile, opened, closed, {calendar.number_sql(to_date("opened"))} AS opened_in,
    {calendar.number_sql(to_date(until))} AS ended_in
  FROM lifecycle_relations) AS numbered
WHERE opened_in < ended_in"""


def _measured(engagement: Engagement, measure: Measure, spans: str) -> str:
    """Return a reading for each period that ends while a relation is open."""
    over = 1 if measure == "distinct" else engagement.over
    return f"""
SELECT profile, opened, closed, number, COALESCE(CAST(value AS DOUBLE), 0) AS value
FROM (
  SELECT d.profile, d.opened, d.closed, d.number, d.opened_in, {_MEASURES[measure].value} AS value
  FROM (
    SELECT *, UNNEST(GENERATE_SERIES(opened_in + {1 - over}, ended_in)) AS number
    FROM ({spans}) AS spans) AS d
  LEFT JOIN lifecycle_periods AS p ON p.profile = d.profile AND p.number = d.number
  WINDOW covered AS (
    PARTITION BY d.profile, d.opened ORDER BY d.number
    ROWS BETWEEN {over} PRECEDING AND 1 PRECEDING)) AS taken
WHERE number > opened_in"""
