"""Readings of engagement: SELECT texts of `lifecycle_readings` (profile, day, value).

A reading is an event's own field, or a measure over calendar periods. A measured reading belongs to the first
day after its last period, and there is one for every period that ends while the relation is open: zero where
nothing happened. What it measures is what the customer did in the periods, whenever the relation began.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tilltal.core.errors import Place, WorkspaceError
from tilltal.customers.lifecycle.calendar import CALENDARS
from tilltal.customers.lifecycle.days import to_date
from tilltal.customers.lifecycle.occurrences import Past
from tilltal.customers.step import Step
from tilltal.workspace.definitions.profile import Measure
from tilltal.workspace.definitions.segments import Engagement

_NONE = "SELECT CAST(0 AS BIGINT) AS profile, 0 AS day, CAST(0 AS DOUBLE) AS value WHERE FALSE"


class _Measure(msgspec.Struct, frozen=True):
    """How a measure is taken per period (`parts`), put together over periods (`merged`), and read."""

    parts: str
    merged: str
    value: str


_COUNTED = _Measure("COUNT(*) AS n", "SUM(n) AS n", "n")
_LATEST = "{'at': instant, 'id': event_id, 'value': value}"
_MEASURES: dict[Measure, _Measure] = {
    "count": _COUNTED,
    "exists": msgspec.structs.replace(_COUNTED, value="1"),
    "sum": _Measure("SUM(value) AS s", "SUM(s) AS s", "s"),
    "avg": _Measure("SUM(value) AS s, COUNT(*) AS n", "SUM(s) AS s, SUM(n) AS n", "s / n"),
    "min": _Measure("MIN(value) AS m", "MIN(m) AS m", "m"),
    "max": _Measure("MAX(value) AS m", "MAX(m) AS m", "m"),
    "first": _Measure(f"MIN({_LATEST}) AS m", "MIN(m) AS m", "m.value"),
    "last": _Measure(f"MAX({_LATEST}) AS m", "MAX(m) AS m", "m.value"),
    "distinct": _Measure("value AS v", "COUNT(DISTINCT v) AS n", "n"),
}
_OF_ANYTHING: tuple[Measure, ...] = ("count", "exists", "distinct")


def reading_steps(engagement: Engagement | None, past: Past) -> Iterator[Step]:
    """Yield the steps up to `lifecycle_readings`; those of a measure read `lifecycle_relations`.

    Raises:
        WorkspaceError: if the measure or its field cannot make a reading.
    """
    if engagement is None:
        yield Step("lifecycle_readings", _NONE)
    elif engagement.measure is None:
        yield Step("lifecycle_readings", _fields(engagement, past))
    elif engagement.measure not in _MEASURES:
        raise WorkspaceError.of(
            "W166",
            f"the measure {engagement.measure} is no measure of engagement: it grows as engagement falls",
            place=Place(file="lifecycle.yaml"),
            valid=tuple(_MEASURES),
        )
    else:
        yield Step("lifecycle_periods", _periods(engagement, engagement.measure, past))
        yield Step("lifecycle_readings", _measured(engagement, engagement.measure, past))


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
    grouped = "profile, number, value" if measure == "distinct" else "profile, number"
    return f"""
SELECT profile, number, {_MEASURES[measure].parts}
FROM (SELECT *, {number} AS number FROM ({_occurrences(engagement, measure, past)}) AS events) AS numbered
GROUP BY {grouped}"""


def _measured(engagement: Engagement, measure: Measure, past: Past) -> str:
    """Return a reading for each period that ends while a relation is open."""
    calendar, taken = CALENDARS[engagement.every], _MEASURES[measure]
    until = f"LEAST(COALESCE(closed - 1, {past.today}), {past.today})"
    begin, end = calendar.number_sql(to_date("opened")), calendar.number_sql(to_date(until))
    covered = ", ".join(f"({number})" for number in range(1, engagement.over + 1))
    return f"""
SELECT d.profile, {calendar.first_day_sql("d.number")} AS day,
  COALESCE(CAST({taken.value} AS DOUBLE), 0) AS value
FROM (
  SELECT profile, UNNEST(GENERATE_SERIES(begin_number + 1, end_number)) AS number
  FROM (SELECT profile, {begin} AS begin_number, {end} AS end_number FROM lifecycle_relations) AS spans
  WHERE begin_number < end_number) AS d
LEFT JOIN (
  SELECT profile, number + back AS reading_number, {taken.merged}
  FROM lifecycle_periods CROSS JOIN (VALUES {covered}) AS covered(back)
  GROUP BY profile, number + back) AS m
  ON m.profile = d.profile AND m.reading_number = d.number"""
