"""Snapshot instants: the past midnights at which customers are looked at as if it were then.

A training row is a customer as known at a snapshot and what happened after it. The latest snapshot lies a
whole horizon before the end of the data, so that every label is complete (Kaufman, Rosset & Perlich 2012,
"Leakage in data mining", ACM TKDD 6(4): learn only from what was observable at the time).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from tilltal.core.time import Unit, Window, day_start, local_date, months_before, parse_window


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One local midnight and the end of its label window.

    `day` is the local date that begins at `at`; labels are taken from `(at, label_end]`, or in local dates
    up to `label_end_day`. Instants are aware and in UTC.
    """

    day: date
    at: datetime
    label_end_day: date
    label_end: datetime


def plan_snapshots(
    as_of: datetime,
    horizon: str,
    every: str,
    count: int,
    zone: ZoneInfo,
    *,
    earliest: datetime | None = None,
) -> tuple[Snapshot, ...]:
    """Return up to `count` snapshots, oldest first, whose label windows are complete at `as_of`.

    Args:
        as_of: how far the data reaches; nothing after it is known.
        horizon: length of the label window, such as `30 days`.
        every: distance between snapshots, such as `1 month`; less than a day counts as a day.
        count: how many snapshots at most.
        zone: the workspace's time zone; snapshots are its midnights.
        earliest: snapshots before it are left out, for there is nothing to know yet.

    >>> zone = ZoneInfo("Europe/Stockholm")
    >>> plan = plan_snapshots(datetime(2026, 6, 30, 12, tzinfo=zone), "30 days", "1 month", 3, zone)
    >>> [str(snapshot.day) for snapshot in plan]
    ['2026-03-31', '2026-04-30', '2026-05-31']
    """
    span, step = parse_window(horizon), parse_window(every)
    latest = _latest_day(as_of, span, zone)
    days = [_back(latest, step, index) for index in range(count)]
    first = local_date(earliest, zone) if earliest else date.min
    return tuple(_snapshot(day, span, zone) for day in reversed(days) if day >= first and day.year > 1)


def label_end_day(day: date, horizon: Window) -> date:
    """Return the local date at which the label window of a snapshot has passed.

    >>> str(label_end_day(date(2026, 1, 31), parse_window("1 month")))
    '2026-02-28'
    """
    if horizon.unit is Unit.MONTHS:
        return months_before(day, -horizon.count)
    if horizon.unit is Unit.DAYS:
        return day + timedelta(days=horizon.count)
    return day + timedelta(days=_whole_days(horizon))


def _snapshot(day: date, span: Window, zone: ZoneInfo) -> Snapshot:
    at = day_start(day, zone)
    end_day = label_end_day(day, span)
    end = day_start(end_day, zone)
    if span.unit.is_elapsed:
        end = at + timedelta(seconds=span.count * span.unit.seconds)
    return Snapshot(day=day, at=at, label_end_day=end_day, label_end=end.astimezone(UTC))


def _latest_day(as_of: datetime, span: Window, zone: ZoneInfo) -> date:
    today = local_date(as_of, zone)
    if span.unit is Unit.MONTHS:
        return months_before(today, span.count)
    if span.unit is Unit.DAYS:
        return today - timedelta(days=span.count)
    return local_date(as_of - timedelta(seconds=span.count * span.unit.seconds), zone)


def _back(latest: date, step: Window, index: int) -> date:
    if step.unit is Unit.MONTHS:
        return months_before(latest, step.count * index)
    days = step.count if step.unit is Unit.DAYS else _whole_days(step)
    return date.fromordinal(max(latest.toordinal() - days * index, 1))


def _whole_days(window: Window) -> int:
    """An elapsed window in days, rounded up."""
    return -(-window.count * window.unit.seconds // 86_400)
