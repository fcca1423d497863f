"""The periods that key figures are reported by: calendar periods, the last one up to as-of."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec

from tilltal.customers.lifecycle.calendar import CALENDARS, Calendar


class Periods(msgspec.Struct, frozen=True):
    """The last `count` calendar periods up to and including the one of `today`."""

    calendar: Calendar
    today: date
    count: int

    @property
    def last(self) -> int:
        """The number of the period of `today`."""
        return self.calendar.number(self.today)

    @property
    def first(self) -> int:
        """The number of the earliest period."""
        return max(self.last - self.count + 1, self.calendar.number(date(1, 1, 1)))

    def bounds(self, number: int) -> tuple[date, date]:
        """Return first and last day of a period; the one that is not over yet ends today."""
        following = self.calendar.first_day(number + 1)
        return self.calendar.first_day(number), min(following - timedelta(days=1), self.today)

    def number_sql(self, day: str) -> str:
        """Return SQL for the number of a DATE's period, or of the one before the first; NULL of NULL."""
        number = self.calendar.number_sql(day)
        return f"CASE WHEN {number} < {self.first} THEN {self.first - 1} ELSE {number} END"

    def sql(self) -> str:
        """Return a SELECT of `number`, `period_start`, `period_end`, a row per period."""
        rows = []
        for number in range(self.first, self.last + 1):
            start, end = self.bounds(number)
            rows.append(f"({number}, DATE '{start}', DATE '{end}')")
        return f"SELECT * FROM (VALUES {', '.join(rows)}) AS listed(number, period_start, period_end)"


def periods_until(kind: str, today: date, count: int) -> Periods:
    """Return the last `count` periods of a kind: `month`, `quarter` or `year`."""
    return Periods(CALENDARS[kind], today, count)
