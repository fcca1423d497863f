"""Instants as whole numbers: microseconds since 1970 in UTC, exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(instant: datetime) -> int:
    """Return an instant as microseconds; one without an offset is UTC.

    >>> micros(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    aware = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    return (aware - EPOCH) // _MICROSECOND


def instant_of(at: int) -> datetime:
    """Return microseconds as an aware instant, in UTC.

    Raises:
        OverflowError: beyond the calendar.
    """
    return EPOCH + at * _MICROSECOND
