"""Local hours of the quarters of an hour in which something happened, as the clock on the wall had them.

A *quarter* is a number of quarters of an hour since 1970 UTC, and an *hour* one of local hours since 1970:
clocks differ from UTC by whole quarters. So what is kept of events serves every time zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from tilltal.core.instants import instant_of
from tilltal.customers.live.traits.partials import QUARTER

_DAY = 96  # quarters
_STEP = timedelta(minutes=15)


class Span(msgspec.Struct, frozen=True):
    """Quarters from `first` on, before `end`, in which a zone's clocks are `offset` quarters ahead of UTC."""

    first: int
    end: int
    offset: int


def hours_of(quarters: Iterable[int], zone: ZoneInfo) -> set[int]:
    """Return the local hours in which some quarters lie."""
    held = list(quarters)
    if not held:
        return set()
    found = spans(zone, min(held) // _DAY * _DAY, (max(held) // _DAY + 1) * _DAY)
    if len(found) == 1:
        offset = found[0].offset
        return {(quarter + offset) >> 2 for quarter in held}
    return {
        (quarter + one.offset) >> 2 for one in found for quarter in held if one.first <= quarter < one.end
    }


@lru_cache(maxsize=4096)
def spans(zone: ZoneInfo, first: int, end: int) -> tuple[Span, ...]:
    """Return the spans of equal offset from one quarter until, not including, another."""
    found: list[Span] = []
    for start in range(first, end, _DAY):
        for one in _of_day(zone, start, min(start + _DAY, end)):
            if found and found[-1].offset == one.offset:
                one = Span(found.pop().first, one.end, one.offset)
            found.append(one)
    return tuple(found)


def _of_day(zone: ZoneInfo, first: int, end: int) -> Sequence[Span]:
    """Return the spans of a day: two where clocks change."""
    before, after = offset_at(first, zone), offset_at(end - 1, zone)
    if before == after:
        return (Span(first, end, before),)
    low, high = first, end - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset_at(middle, zone) == before else (low, middle)
    return Span(first, high, before), Span(high, end, after)


def offset_at(quarter: int, zone: ZoneInfo) -> int:
    """Return by how many quarters a zone's clocks are ahead of UTC."""
    offset = instant_of(quarter * QUARTER).astimezone(zone).utcoffset()
    return 0 if offset is None else offset // _STEP
