"""The simulated span: whole months that end on a fixed day, so that results can be reproduced.

Days count from the first simulated day; moments are local wall-clock seconds from that day's midnight.
Nothing happens between midnight and six, so no moment falls into an hour that a clock change skips.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from tilltal.core.time import day_start, months_before
from tilltal.demo.shapes import Floats, Ints

LAST_DAY = date(2026, 10, 31)
ZONE = ZoneInfo("Europe/Stockholm")
DAY_SECONDS = 86_400

# Share of what happens per hour of the day, from 6 to 23.
_HOURS = np.array([2, 5, 7, 7, 7, 8, 9, 7, 6, 6, 7, 8, 7, 7, 6, 4, 2, 1], dtype=np.float64)


class Span:
    """`months` whole months up to and including `LAST_DAY`, and `ahead` months after it."""

    def __init__(self, months: int, ahead: int = 0) -> None:
        after = LAST_DAY + timedelta(days=1)
        starts = [months_before(after, months - index) for index in range(months + ahead + 1)]
        self.past = months
        self.months = months + ahead
        self.first_day = starts[0]
        self.days = (starts[-1] - self.first_day).days
        self.month_start: Ints = np.array([(day - self.first_day).days for day in starts], dtype=np.int64)
        self._epoch = int(datetime.combine(self.first_day, datetime.min.time(), UTC).timestamp())
        self._offset = self._utc_offsets()

    def _utc_offsets(self) -> Ints:
        """Seconds from UTC to local time per day, as in force from six in the morning."""
        days = (self.first_day + timedelta(days=index) for index in range(self.days))
        midnights = (day_start(day + timedelta(days=1), ZONE) for day in days)
        return np.array(
            [
                int((midnight.astimezone(ZONE).utcoffset() or timedelta()).total_seconds())
                for midnight in midnights
            ],
            dtype=np.int64,
        )

    def lengths(self) -> Ints:
        """Days per month, shape (months,)."""
        return np.diff(self.month_start)

    def dates(self, days: Ints) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
        """Dates of day numbers, also before the span."""
        return np.datetime64(self.first_day, "D") + days.astype("timedelta64[D]")

    def local(self, moments: Ints) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
        """Local wall-clock times of moments."""
        return (self._epoch + moments).astype("datetime64[s]")

    def utc(self, moments: Ints) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
        """UTC times of moments inside the span."""
        return (self._epoch + moments - self._offset[moments // DAY_SECONDS]).astype("datetime64[s]")


def seconds_of_day(rng: np.random.Generator, count: int, *, opens: int = 6, closes: int = 24) -> Ints:
    """Draw seconds of the day between two hours, by the day's rhythm."""
    weights: Floats = _HOURS[opens - 6 : closes - 6]
    hours = opens + rng.choice(len(weights), size=count, p=weights / weights.sum())
    return np.asarray(hours * 3600 + rng.integers(0, 3600, count), dtype=np.int64)
