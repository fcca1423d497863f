"""The state of one fragment: for each family a few columns, one row per local day or kept occurrence.

Columns are short and read in slices, so a window is one binary search and one fold. A family that is not
touched stays bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

import msgspec

from tilltal.customers.live.traits.families import Family
from tilltal.customers.live.traits.local_days import LocalDays, elapsed_us
from tilltal.customers.live.traits.partials import MERGE, lifts_of

BEFORE = 0  # the day of everything that no calendar window reaches any more
BEGINNING = -(2**62)  # an instant before all others


class Buckets(msgspec.Struct, array_like=True):
    """What is known in one family.

    `days` are ordinals, rising, and each column of `parts` holds one need's partial aggregate of every day.
    `ats` are the instants of kept occurrences, rising, and each column of `kept` says something of them.
    """

    days: list[int]
    parts: list[list[Any]]
    ats: list[int]
    kept: list[list[Any]]


Slot = bytes | Buckets | tuple[bytes | Buckets, ...]


class TraitState(msgspec.Struct):
    """All families of one fragment, or of several to be read as one: bytes until they are asked for.

    `opened` are the places of those that were: no others need to be written anew.
    """

    slots: list[Slot]
    opened: list[int] = []


_slots: msgspec.msgpack.Decoder[list[Slot]] = msgspec.msgpack.Decoder(list[bytes])
_decode = msgspec.msgpack.Decoder(Buckets).decode
_encode = msgspec.msgpack.Encoder().encode


def decoded(data: bytes) -> TraitState:
    """Read a state; families stay bytes."""
    return TraitState(_slots.decode(data))


def encoded(state: TraitState) -> bytes:
    """Write the state of a fragment; one of several merged is for reading only."""
    slots = state.slots.copy()
    for index in state.opened:
        slot = slots[index]
        if type(slot) is Buckets:
            slots[index] = _encode(slot)
    return _encode(slots)


class Layout:
    """How one family's columns lie, and what is done to them."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.lifts = lifts_of(family)
        self._merges = tuple((place, MERGE[need]) for place, need in enumerate(family.needs))
        self._stamps = 2 if family.has_stamps else 0
        self.values = None if family.of is None else self._stamps
        self.fields = self._stamps + (family.of is not None)

    def empty(self) -> Buckets:
        """Return what is known at first: nothing."""
        columns = self.fields + len(self.family.fields)
        return Buckets([], [[] for _ in self.lifts], [], [[] for _ in range(columns)])

    def opened(self, state: TraitState, index: int) -> Buckets:
        """Return this family's part of a state, which holds it from then on."""
        slot = state.slots[index]
        if type(slot) is not Buckets:
            state.slots[index] = slot = self._opened(slot)
            state.opened.append(index)
        return slot

    def _opened(self, slot: Slot) -> Buckets:
        if isinstance(slot, bytes):
            return _decode(slot) if slot else self.empty()
        if isinstance(slot, tuple):
            return self.merged([self._opened(part) for part in slot])
        return slot

    def add_day(self, buckets: Buckets, day: int, lifted: Sequence[Any]) -> None:
        """Add partial aggregates to a day."""
        days = buckets.days
        row = bisect_left(days, day)
        if row < len(days) and days[row] == day:
            parts = buckets.parts
            for place, merge in self._merges:
                column = parts[place]
                column[row] = merge(column[row], lifted[place])
            return
        days.insert(row, day)
        for column, part in zip(buckets.parts, lifted, strict=True):
            column.insert(row, part)

    def add_occurrence(self, buckets: Buckets, at: int, kept: Sequence[Any]) -> None:
        """Add an occurrence at its place in the order of events; `kept` has a value per column."""
        ats, columns = buckets.ats, buckets.kept
        row = bisect_right(ats, at)
        if self._stamps:
            stamp = (kept[0], kept[1])
            while row and ats[row - 1] == at and (columns[0][row - 1], columns[1][row - 1]) > stamp:
                row -= 1
        ats.insert(row, at)
        for column, value in zip(columns, kept, strict=True):
            column.insert(row, value)

    def lifted(self, buckets: Buckets, rows: Sequence[int], need: int) -> list[Any]:
        """Return what one need of the family says of each of some kept occurrences."""
        lift, (ats, kept) = self.lifts[need], (buckets.ats, buckets.kept)
        if self._stamps:
            received, ids, values = kept[:3]
            return [lift(values[row], ats[row], received[row], ids[row]) for row in rows]
        if self.values is None:
            return [lift(None, ats[row], 0, "") for row in rows]
        values = kept[self.values]
        return [lift(values[row], ats[row], 0, "") for row in rows]

    def merged(self, several: Sequence[Buckets]) -> Buckets:
        """Return all of several as one; they stay as they are."""
        longest, *others = sorted(several, key=lambda each: -len(each.days) - len(each.ats))
        result = Buckets(
            longest.days.copy(),
            [column.copy() for column in longest.parts],
            longest.ats.copy(),
            [column.copy() for column in longest.kept],
        )
        for buckets in others:
            for row, day in enumerate(buckets.days):
                self.add_day(result, day, [column[row] for column in buckets.parts])
            for row, at in enumerate(buckets.ats):
                self.add_occurrence(result, at, [column[row] for column in buckets.kept])
        return result

    def forget(self, buckets: Buckets, first_day: int, first_at: int) -> None:
        """Forget occurrences before an instant, and days before a day save for what all time needs."""
        rows = bisect_left(buckets.ats, first_at)
        for values in (buckets.ats, *buckets.kept):
            del values[:rows]
        rows = bisect_left(buckets.days, first_day)
        old = [[column[row] for column in buckets.parts] for row in range(rows)]
        for values in (buckets.days, *buckets.parts):
            del values[:rows]
        if self.family.is_endless:
            for lifted in old:
                self.add_day(buckets, BEFORE, lifted)


def reach_of(family: Family, now: int, days: LocalDays) -> tuple[int, int]:
    """Return the first day and the first instant that a family must remember, as of an instant."""
    today = days.day(now)
    windows = [days.first_day(window, today) for window in family.calendar]
    ats = [now - elapsed_us(window) + 1 for window in family.elapsed]
    if family.is_whole:
        ats += [days.start(day) for day in windows]
    first_day = BEFORE if family.keeps_days else min(windows, default=today)
    return first_day, BEGINNING if family.is_whole and family.is_endless else min(ats, default=now)
