"""When one customer's audiences change, also when no event comes.

Between two instants nothing changes but at known moments: an event arrives or its time comes, an event
leaves a window, a local day begins, a recency gains a unit. Membership is evaluated at these moments only,
so a change is found at its exact instant. A condition that reads NOW() moves all the time: there the time
between two moments is searched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

from tilltal.core.time import Unit, day_start, local_date
from tilltal.customers.derived import Derived
from tilltal.customers.traits.compiled import CompiledTrait
from tilltal.customers.traits.online import Event

Members = Callable[[datetime], frozenset[str]]

_TICK = timedelta(microseconds=1)
_SEARCH_STEP = timedelta(minutes=15)


class Change(msgspec.Struct, frozen=True, order=True):
    """A customer enters or leaves an audience at an instant."""

    at: datetime
    audience: str
    is_entry: bool


def changes(
    members: Members,
    moments: Iterable[datetime],
    after: datetime,
    until: datetime,
    *,
    is_moving: bool = False,
) -> list[Change]:
    """Return the changes of membership after `after`, up to and including `until`.

    `members` gives the audiences at an instant; between `moments` (see `moments_of`) it must not change,
    unless it `is_moving` (see `reads_now`): then every quarter of an hour is compared with the one before and
    a change between them is found to the microsecond. Two changes within one quarter that undo each other
    are not seen.
    """
    stops = [after, *sorted({moment for moment in moments if after < moment < until}), until]
    states = [(stop, members(stop)) for stop in stops]
    found: list[Change] = []
    for (start, before), (end, now) in pairwise(states):
        found += _moving(members, start, end) if is_moving else _at(end, before, now)
    return found


def moments_of(
    traits: Sequence[CompiledTrait], events: Sequence[Event], after: datetime, until: datetime, zone: ZoneInfo
) -> set[datetime]:
    """Return every instant in the span at which a trait of one customer, or TODAY(), may change."""
    moments = set(_midnights(after, until, zone))
    moments.update(max(event.at, event.received) for event in events)
    for trait in traits:
        own = [event.at for event in events if event.type in trait.types]
        if trait.window is not None and trait.window.unit.is_elapsed:
            length = timedelta(seconds=trait.window.count * trait.window.unit.seconds)
            moments.update(at + length for at in own)
        if trait.measure == "recency" and trait.unit is not Unit.DAYS:
            unit = timedelta(seconds=trait.unit.seconds)
            moments.update(moment for at in own for moment in _steps(at, unit, after, until))
    return {moment for moment in moments if after < moment <= until}


def reads_now(traits: Iterable[CompiledTrait], conditions: Iterable[Derived]) -> bool:
    """True where a condition moves with NOW(), so that its changes must be searched for."""
    expressions = [trait.where for trait in traits if trait.where is not None]
    return any("NOW" in one.functions for one in (*expressions, *(one.expression for one in conditions)))


def _midnights(after: datetime, until: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    first, last = local_date(after, zone), local_date(until, zone)
    for days in range((last - first).days + 1):
        yield day_start(first + timedelta(days=days), zone)


def _steps(at: datetime, unit: timedelta, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield when an event's age gains a whole unit, within the span."""
    for age in range(max((after - at) // unit, 0), max((until - at) // unit, 0) + 1):
        yield at + age * unit


def _moving(members: Members, start: datetime, end: datetime) -> Iterator[Change]:
    """Yield changes in (start, end] of a membership that may change at any time."""
    early, before = start, members(start)
    while early < end:
        late = min(early + _SEARCH_STEP, end)
        now = members(late)
        if now != before:
            yield from _search(members, early, late, before, now)
        early, before = late, now


def _search(
    members: Members, early: datetime, late: datetime, before: frozenset[str], now: frozenset[str]
) -> Iterator[Change]:
    """Halve the span until each change stands at its microsecond."""
    if before == now:
        return
    if late - early <= _TICK:
        yield from _at(late, before, now)
        return
    middle = early + (late - early) // 2
    between = members(middle)
    yield from _search(members, early, middle, before, between)
    yield from _search(members, middle, late, between, now)


def _at(instant: datetime, before: frozenset[str], now: frozenset[str]) -> list[Change]:
    return [Change(instant, name, name in now) for name in sorted(before ^ now)]
