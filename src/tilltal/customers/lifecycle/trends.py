"""The days on which engagement turns: SELECT texts of `lifecycle_turns` (profile, day, fallen).

The trend can change on the day of a reading, and on the day a reading becomes the old one to compare with,
`trend_days` later. Both are judged against the day before; only turns are kept, and of the same day several
say the same. Three ways to find them, for readings on any days, of every period, and of few periods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, timedelta

from tilltal.customers.lifecycle.calendar import Calendar
from tilltal.customers.lifecycle.days import to_date
from tilltal.customers.lifecycle.stage import NOISE, Terms
from tilltal.customers.step import Step

NEVER = 2147483647


def dated_turn_steps(terms: Terms, today: int) -> tuple[Step, ...]:
    """Return the steps that find turns among readings on any days.

    They read `lifecycle_readings` of profile, day, value; and `lifecycle_relations`.
    """
    own = "PARTITION BY profile, opened ORDER BY day"

    def last(until: str) -> str:
        return f"LAST_VALUE(value) OVER ({own} RANGE BETWEEN UNBOUNDED PRECEDING AND {until})"

    neighbours = f"""
    SELECT profile, day, until, value, LAG(value) OVER ({own}) AS previous,
      FIRST_VALUE(value) OVER ({own}) AS first,
      {last(f"{terms.trend_days} PRECEDING")} AS old,
      {last(f"{terms.trend_days} FOLLOWING")} AS later,
      {last(f"{terms.trend_days - 1} FOLLOWING")} AS sooner
    FROM (
      SELECT r.profile, r.opened, r.next_opened AS until, x.day, x.value
      FROM lifecycle_readings AS x JOIN lifecycle_relations AS r
        ON x.profile = r.profile AND x.day >= r.opened AND x.day < r.next_opened) AS own"""
    return _turn_steps(neighbours, terms, today)


def periodic_turn_steps(terms: Terms, calendar: Calendar, today: int) -> tuple[Step, ...]:
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
    around = ", ".join(
        f"CASE k.{name} {_moved(_distances(calendar, move))} END AS {name}"
        for name, (move, _) in ways.items()
    )
    calendar_sql = f"""
SELECT number, day, {steps_away}
FROM (
  SELECT number, {calendar.first_day_sql("number")} AS day
  FROM (SELECT DISTINCT number FROM lifecycle_readings) AS numbers) AS dated"""
    neighbours = f"""
    SELECT r.profile, k.day, COALESCE(r.closed, {NEVER}) AS until, value, LAG(value) OVER own AS previous,
      FIRST_VALUE(value) OVER own AS first, {around}
    FROM lifecycle_readings AS r JOIN lifecycle_calendar AS k ON k.number = r.number
    WINDOW own AS (PARTITION BY r.profile, r.opened ORDER BY r.number)"""
    return (Step("lifecycle_calendar", calendar_sql), *_turn_steps(neighbours, terms, today))


def _distances(calendar: Calendar, move: Callable[[date], date]) -> list[int]:
    """Return how many periods a move of days can lead on, over all 400 years of the calendar."""
    first, end = calendar.number(date(2000, 1, 1)) + 1, calendar.number(date(2400, 1, 1)) + 1
    return sorted({calendar.number(move(calendar.first_day(each))) - each for each in range(first, end)})


def _moved(distances: Iterable[int]) -> str:
    """Return the branches that read the value so many periods on."""
    return " ".join(
        f"WHEN {away} THEN {'LAG' if away < 0 else 'LEAD'}(value, {abs(away)}) OVER own" for away in distances
    )


def _turn_steps(neighbours: str, terms: Terms, today: int) -> tuple[Step, ...]:
    """Return the steps that find the turns, given each reading's value and those around it.

    `previous` is the reading before, `first` the relation's first; `old` the one to compare with on the
    reading's day, `later` and `sooner` the latest `trend_days` and `trend_days` - 1 after it; from the day
    `until` turns count no more.
    """
    now = fallen_sql("value", "COALESCE(old, first)", terms)
    # where the reading to compare with changes on the same day, that reading's own row sees both changes
    before_now = fallen_sql("previous", "COALESCE(old, first)", terms)
    later = fallen_sql("later", "value", terms)
    before_later = fallen_sql("sooner", "COALESCE(previous, first)", terms)
    judged = f"""
SELECT * FROM (
  SELECT profile, day, until, {now} AS now_fallen, COALESCE({before_now}, FALSE) AS before_now,
    {later} AS later_fallen, {before_later} AS before_later
  FROM ({neighbours}) AS neighbours) AS judged
WHERE now_fallen <> before_now OR later_fallen <> before_later"""
    turns = f"""
SELECT profile, day, now_fallen AS fallen FROM lifecycle_judged
WHERE now_fallen <> before_now AND day <= {today}
UNION ALL
SELECT profile, day + {terms.trend_days}, later_fallen FROM lifecycle_judged
WHERE later_fallen <> before_later AND day + {terms.trend_days} < LEAST(until, {today + 1})"""
    return Step("lifecycle_judged", judged), Step("lifecycle_turns", turns)


def fallen_sql(current: str, earlier: str, terms: Terms) -> str:
    """Return SQL for `stage.is_decreased`."""
    return f"({current} < {earlier} * CAST('{terms.keep!r}' AS DOUBLE) - ABS({earlier}) * {NOISE!r})"
