"""The hours in which a message may be sent: from now on, within a horizon, outside quiet hours."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from tilltal.core.instants import instant_of, micros
from tilltal.customers.live.traits.partials import QUARTER
from tilltal.customers.rhythms.local_hours import offset_at
from tilltal.customers.rhythms.rhythm import HOURS
from tilltal.decisions.contacting.quiet_hours import Hours, first_open


class Slot(msgspec.Struct, frozen=True):
    """A local hour of the day, and its first instant that is allowed (microseconds since 1970 UTC)."""

    hour: int
    at: int


def slots(quiet: Sequence[Hours], zone: ZoneInfo, now: int, until: int) -> tuple[Slot, ...]:
    """Return the slots from an instant until, not including, another, in order of time.

    Where clocks go back an hour of the day comes twice; where they go forward, one is missing.
    """
    found: list[Slot] = []
    start = now
    while start < until:
        opens = opening(quiet, zone, start)
        if opens is None or opens >= until:
            break
        hour, after = hour_of(opens, zone)
        found.append(Slot(hour % HOURS, opens))
        start = after
    return tuple(found)


def opening(quiet: Sequence[Hours], zone: ZoneInfo, now: int) -> int | None:
    """Return the first instant from `now` on that is not quiet; None if there is none."""
    if not quiet:
        return now
    found = first_open(quiet, instant_of(now), zone)
    return None if found is None else micros(found)


def hour_of(at: int, zone: ZoneInfo) -> tuple[int, int]:
    """Return the local hour of an instant, and the first instant of the next one."""
    quarter = at // QUARTER
    offset = offset_at(quarter, zone)
    hour = (quarter + offset) // 4
    return hour, ((hour + 1) * 4 - offset) * QUARTER
