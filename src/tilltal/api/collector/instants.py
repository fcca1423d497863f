"""Instants as clients write them, and what they mean by the server's clock."""

from __future__ import annotations

from datetime import UTC, datetime


def read_instant(value: object) -> datetime | None:
    """Return an ISO 8601 instant in UTC (without an offset it is UTC), or None if it cannot be read."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def corrected(timestamp: datetime | None, sent_at: datetime | None, received: datetime) -> datetime | None:
    """Return when something happened by the server's clock; None if that is outside the calendar.

    received − (sentAt − timestamp): what a client's clock is wrong by, it is wrong by in both. Source: the
    Segment specification, common fields.

    >>> hour = [datetime(2026, 5, 4, at, tzinfo=UTC) for at in range(24)]
    >>> corrected(hour[9], hour[10], hour[12])  # a clock two hours slow
    datetime.datetime(2026, 5, 4, 11, 0, tzinfo=datetime.timezone.utc)
    """
    if timestamp is None:
        return received
    if sent_at is None:
        return timestamp
    try:
        return received - (sent_at - timestamp)
    except OverflowError:
        return None
