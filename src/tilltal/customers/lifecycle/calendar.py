"""Calendar periods by number, so that a period before or after is plus or minus one: in Python and in SQL."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec

from tilltal.customers.lifecycle.days import EPOCH, of_date

# 1970-01-01 was a Thursday, three days after a Monday; so many weeks more make every number positive
_TO_MONDAY = 3 + 7 * 200_000


class Calendar(msgspec.Struct, frozen=True):
    """Weeks (from Monday), or whole months: `months` in a period, 0 for weeks."""

    months: int

    def number(self, day: date) -> int:
        """Return the number of the period that a day lies in."""
        if not self.months:
            return ((day - EPOCH).days + _TO_MONDAY) // 7
        return (day.year * 12 + day.month - 1) // self.months

    def first_day(self, number: int) -> date:
        """Return the first day of a period.

        Raises:
            OverflowError, ValueError: for a period outside the years 1 to 9999.
        """
        if not self.months:
            return EPOCH + timedelta(days=number * 7 - _TO_MONDAY)
        year, month = divmod(number * self.months, 12)
        return date(year, month + 1, 1)

    def number_sql(self, day: str) -> str:
        """Return SQL for the number of the period that a DATE lies in."""
        if not self.months:
            return f"(({of_date(day)} + {_TO_MONDAY}) // 7)"
        months = f"(EXTRACT(YEAR FROM {day}) * 12 + EXTRACT(MONTH FROM {day}) - 1)"
        return f"CAST({months} // {self.months} AS INTEGER)"

    def first_day_sql(self, number: str) -> str:
        """Return SQL for the first day of a period, in days since 1970-01-01."""
        if not self.months:
            return f"({number} * 7 - {_TO_MONDAY})"
        months = f"({number} * {self.months})"
        return of_date(f"MAKE_DATE({months} // 12, {months} % 12 + 1, 1)")


CALENDARS = {"week": Calendar(0), "month": Calendar(1), "quarter": Calendar(3), "year": Calendar(12)}
