"""The clock of an evaluation: one instant and the workspace's time zone, given, never read."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import msgspec

from tilltal.core.time import local_date, utc_naive


class Clock(msgspec.Struct, frozen=True):
    """What NOW() and TODAY() mean. `now` is an aware instant."""

    now: datetime
    zone: ZoneInfo

    @property
    def instant(self) -> datetime:
        """NOW(): the instant as stores hold it, naive UTC."""
        return utc_naive(self.now)

    @property
    def today(self) -> date:
        """TODAY(): the calendar date in the workspace's zone."""
        return local_date(self.now, self.zone)

    def instant_of(self, local: datetime) -> datetime:
        """Return the instant (naive UTC) of a clock time in the workspace's zone.

        A clock time that a change to summer time skips is read with the offset before the change.
        """
        try:
            return local.replace(tzinfo=self.zone).astimezone(UTC).replace(tzinfo=None)
        except OverflowError:  # within a day of year 1 or 9999, where the shift leaves the calendar
            return local
