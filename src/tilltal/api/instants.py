"""Instants of requests: without an offset they are UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from tilltal.api.errors import api_error


def in_utc(moment: datetime | None) -> datetime | None:
    """Return an instant in UTC.

    Raises:
        ApiError: 400, H614 if it lies outside the calendar there.
    """
    if moment is None:
        return None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise api_error(400, "H614", "the instant lies outside the calendar") from None
