"""Capacities: so many of an action are handed out in a period, to all customers together.

A contact takes one from its reservation on, in the period in which it is sent, until it is released or
lapses. What is kept of a period is a few numbers, however many contacts there are:

    committed ──────────────────────────────┐
    pending: minute after which they lapse ─┼─► taken, as of an instant ─► room for one more?
             → how many reservations        │
    (those that lapsed count no more) ──────┘

Reservations lapse to the minute: what is given back may be so up to a minute later, never earlier. Whoever is
let in because others lapsed leaves the instant (`seen`), so that none of those is committed as of before.
"""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo

import msgspec

from tilltal.decisions.contacting.reservations import Contacted
from tilltal.decisions.contacting.windows import FOREVER, Span, calendar_span
from tilltal.workspace.definitions.actions import Capacity

_MINUTE = 60_000_000
_KEPT = 60 * _MINUTE  # a reservation that lapsed so long ago is committed no more
_LATE = 8 * 1440 * _MINUTE  # a period that ended so long ago is forgotten

Periods = dict[str, "Taken"]


class Taken(msgspec.Struct):
    """What of a capacity is taken in one period: instants in microseconds since 1970 UTC.

    `pending` is by the minute, counted from 1970, at whose beginning reservations have lapsed; 0 = never.
    `end` is the period's. `seen` is the latest instant as of which anybody was let in.
    """

    end: int
    committed: int = 0
    pending: dict[int, int] = {}
    seen: int = 0

    def count(self, now: int) -> int:
        """Return how many are taken as of an instant."""
        held = sum(number for minute, number in self.pending.items() if _ends(minute) > now)
        return self.committed + held

    def move(self, before: Contacted | None, after: Contacted | None) -> None:
        """Note that a contact became another: reserved, committed, released."""
        self._add(before, -1)
        self._add(after, 1)

    def _add(self, one: Contacted | None, change: int) -> None:
        if one is None or one.released is not None:
            return
        if one.committed is not None:
            self.committed = max(0, self.committed + change)
            return
        minute = minute_of(one.expires)
        number = self.pending.get(minute, 0) + change
        if number > 0:
            self.pending[minute] = number
        else:
            self.pending.pop(minute, None)

    def prune(self, now: int) -> None:
        """Forget reservations that lapsed long ago."""
        for minute in [one for one in self.pending if _ends(one) <= now - _KEPT]:
            del self.pending[minute]


def minute_of(expires: int | None) -> int:
    """Return the minute at whose beginning a reservation has lapsed; 0 = never."""
    return 0 if expires is None else -(-expires // _MINUTE)


def span_of(capacity: Capacity, one: Contacted, zone: ZoneInfo) -> Span:
    """Return the period in which a contact takes one: that in which it is sent."""
    return calendar_span(capacity.per, one.at if one.sends is None else one.sends, zone)


def period_key(capacity: Capacity, span: Span) -> str:
    """Name a period of a capacity."""
    return f"{capacity.per}:{span.first}"


class Rationed(msgspec.Struct, frozen=True):
    """What is taken of the capacities of several actions, by action and period."""

    actions: dict[str, Periods] = {}

    def taken(self, action: str, key: str, end: int) -> Taken:
        """Return what is taken in a period, to be changed."""
        return self.actions.setdefault(action, {}).setdefault(key, Taken(end=end, pending={}))

    def prune(self, now: int, capacities: Mapping[str, Capacity]) -> None:
        """Forget what no contact can change any more, and actions without a capacity."""
        for action in [name for name in self.actions if name not in capacities]:
            del self.actions[action]
        for periods in self.actions.values():
            for key in [key for key, one in periods.items() if one.end <= now - _LATE]:
                del periods[key]
            for taken in periods.values():
                taken.prune(now)


def _ends(minute: int) -> int:
    return minute * _MINUTE if minute else FOREVER
