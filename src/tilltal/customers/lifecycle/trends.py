"""The days on which engagement turns: SELECT texts of `lifecycle_trends`.

The trend can change on the day of a reading, and on the day a reading becomes the old one to compare with,
`trend_days` later. Both are judged against the day before, and only turns are kept: profile, day of the
reading, `until` (turns from then on count no more), `now_fallen` with `before_now`, `later_fallen` with
`before_later`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, timedelta

from tilltal.customers.lifecycle.calendar import Calendar
from tilltal.customers.lifecycle.days import to_date
from tilltal.customers.lifecycle.stage import NOISE, Terms
from tilltal.customers.step import Step

_NEVER = 2147483647


def dated_trend_steps(terms: Terms) -> tuple[Step, ...]:
    """Return the step that finds turns among readings on any days: `lifecycle_readings` of profile, day, value."""
    own = "PARTITION BY profile, opened ORDER BY day"

    def last(until: str) -> str:
        return f"LAST_VALUE(value) OVER ({own} RANGE BETWEEN UNBOUNDED PRECEDING AND {until})"

    neighbours = f"""
    SELECT profile, day, until, value, LAG(value) OVER ({own}) AS previous, FIRST_VALUE(value) OVER ({own}) AS first,
      {last(f"{terms.trend_days} PRECEDING")} AS old,
      {last(f"{terms.trend_days} FOLLOWING")} AS later,
      {last(f"{terms.trend_days - 1} FOLLOWING")} AS sooner
    FROM (
      SELECT r.profile, r.opened, r.next_opened AS until, x.day, x.value
      FROM lifecycle_readings AS x JOIN lifecycle_relations AS r
        ON x.profile = r.profile AND x.day >= r.opened AND x.day < r.next_opened) AS own"""
    return (Step("lifecycle_trends", _turns(neighbours, terms)),)


def periodic_trend_steps(terms: Terms, calendar: Calendar) -> tuple[Step, ...]:
    """Return the steps that find turns among readings of every period.

    Reads `lifecycle_readings` of profile, opened, closed, number, value. Which reading is the old one is a
    matter of the calendar alone: so many periods back, the same for everybody.
    """
    trend = timedelta(days=terms.trend_days)
    ways: dict[str, tuple[Callable[[date], date], str]] = {
        "old": (lambda day: day - trend, f"day - {terms.trend_days}"),
        "later": (lambda day: day + trend, f"day + {terms.trend_days}"),
        "sooner": (lambda day: day + trend - timedelta(days=1), f"day + {terms.trend_days - 1}"),
    }
    steps_away = ", ".join(
        f"{calendar.number_sql(to_date(day))} - number AS {name}" for name, (_, day) in ways.items()
    )
    neighbours = ", ".join(
        f"CASE k.{name} {_moved(_distances(calendar, move))} END AS {name}"
        for name, (move, _) in ways.items()
    )
    return (
        Step(
            "lifecycle_calendar",
            f"""
SELECT number, day, {steps_away}
FROM (
  SELECT number, {calendar.first_day_sql("number")} AS day
  FROM (SELECT DISTINCT number FROM lifecycle_readings) AS numbers) AS dated""",
        ),
        Step(
            "lifecycle_trends",
            _turns(
                f"""
    SELECT r.profile, k.day, COALESCE(r.closed, {_NEVER}) AS until, value, LAG(value) OVER own AS previous,
      FIRST_VALUE(value) OVER own AS first, {neighbours}
    FROM lifecycle_readings AS r JOIN lifecycle_calendar AS k ON k.number = r.number
    WINDOW own AS (PARTITION BY r.profile, r.opened ORDER BY r.number)""",
                terms,
            ),
        ),
    )


def _distances(calendar: Calendar, move: Callable[[date], date]) -> list[int]:
    """Return how many periods a move of days can lead on, over the 400 years in which the calendar repeats."""
    first, end = calendar.number(date(2000, 1, 1)) + 1, calendar.number(date(2400, 1, 1)) + 1
    return sorted({calendar.number(move(calendar.first_day(each))) - each for each in range(first, end)})


def _moved(distances: Iterable[int]) -> str:
    """Return the branches that read the value so many periods on."""
    return " ".join(
        f"WHEN {away} THEN {'LAG' if away < 0 else 'LEAD'}(value, {abs(away)}) OVER own" for away in distances
    )


def _turns(neighbours: str, terms: Terms) -> str:
    """Return the turns, given each reading's value and those around it.

    `previous` is the reading before, `first` the relation's first; `old` the one to compare with on the
    reading's day, `later` and `sooner` the latest `trend_days` and `trend_days` - 1 after it.
    """
    now = _fallen("value", "COALESCE(old, first)", terms)
    # where the reading to compare with changes on the same day, that reading's own row sees both changes
    before_now = _fallen("previous", "COALESCE(old, first)", terms)
    later = _fallen("later", "value", terms)
    before_later = _fallen("sooner", "COALESCE(previous, first)", terms)
    return f"""
SELECT * FROM (
  SELECT profile, day, until, {now} AS now_fallen, COALESCE({before_now}, FALSE) AS before_now,
    {later} AS later_fallen, {before_later} AS before_later
  FROM ({neighbours}) AS neighbours) AS judged
WHERE now_fallen <> before_now OR later_fallen <> before_later"""


def _fallen(current: str, earlier: str, terms: Terms) -> str:
    return f"({current} < {earlier} * CAST('{terms.keep!r}' AS DOUBLE) - ABS({earlier}) * {NOISE!r})"
