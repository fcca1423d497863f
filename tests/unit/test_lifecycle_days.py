from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from tilltal.customers.lifecycle.calendar import CALENDARS
from tilltal.customers.lifecycle.days import day_number, local_day_sql, to_date
from tilltal.engines.duckdb import DuckDBEngine

LAST = datetime(2026, 11, 21, tzinfo=UTC)
ZONES = ("Europe/Stockholm", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "Africa/Casablanca", "UTC")


def instants(seed: int, zone: ZoneInfo) -> list[datetime]:
    """Instants of all ages, near local midnights, and every half hour of a year full of clock changes."""
    chance = random.Random(seed)
    moments = [datetime(1, 1, 3, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC), LAST]
    for _ in range(3_000):
        day = date.fromordinal(chance.randint(3, LAST.toordinal() - 1))
        near = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        moments.append(
            near + timedelta(microseconds=chance.choice([-1, 0, 1, 3_600_000_000 - 1, 7_200_000_000]))
        )
    start = datetime(2011, 1, 1, tzinfo=UTC)
    moments += [start + timedelta(minutes=30 * number) for number in range(2 * 24 * 366)]
    return moments


@pytest.mark.parametrize("name", ZONES)
def test_local_days_in_sql_are_those_of_python(name: str) -> None:
    zone = ZoneInfo(name)
    moments = instants(11, zone)
    naive = [moment.replace(tzinfo=None) for moment in moments]
    with DuckDBEngine() as engine:
        engine.register("moments", pa.table({"at": pa.array(naive, pa.timestamp("us"))}))
        day = local_day_sql('"at"', zone, LAST)
        rows = engine.rows(f'SELECT "at", {day}, {to_date(day)} FROM moments')
    assert len(rows) == len(moments)
    for at, number, day_found in rows:
        expected = at.replace(tzinfo=UTC).astimezone(zone).date()
        assert (number, day_found) == (day_number(expected), expected), at


@pytest.mark.parametrize("kind", CALENDARS)
def test_periods_in_sql_are_those_of_python(kind: str) -> None:
    calendar = CALENDARS[kind]
    days = [date(1, 1, 8) + timedelta(days=13 * number) for number in range(56_000)]
    with DuckDBEngine() as engine:
        engine.register("days", pa.table({"day": pa.array(days, pa.date32())}))
        number = calendar.number_sql("day")
        rows = engine.rows(f"SELECT day, {number}, {to_date(calendar.first_day_sql(number))} FROM days")
    assert len(rows) == len(days)
    for day, number_found, first in rows:
        assert (number_found, first) == (calendar.number(day), calendar.first_day(calendar.number(day)))
        assert first <= day < calendar.first_day(number_found + 1)


def test_weeks_begin_on_monday() -> None:
    weeks = CALENDARS["week"]
    assert weeks.first_day(weeks.number(date(2026, 11, 22))) == date(2026, 11, 16)
    assert weeks.number(date(2026, 11, 23)) == weeks.number(date(2026, 11, 22)) + 1
