"""Sums over what scenarios give customers: totals, actions, channels, segments; and what changes between two.

Who loses is told apart from who gains: a scenario may reach as many customers as another, and others.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from tilltal.decisions.batch_ranking import Bools, Ints
from tilltal.decisions.simulation.observed import Observed

NOTHING = ""  # no action


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario as a whole: who has an action, shown actions, and Σ (P × V − cost) of them."""

    customers: int
    reached: int
    contacts: int
    expected: float


class ActionShare(msgspec.Struct, frozen=True, kw_only=True):
    """An action: how many have it first, how many at all, and the Σ (P × V − cost) of the latter."""

    action: str
    first: int
    shown: int
    expected: float


class ChannelShare(msgspec.Struct, frozen=True, kw_only=True):
    """A channel and the contacts by it."""

    channel: str
    contacts: int


class Grouping(msgspec.Struct, frozen=True):
    """Customers by a trait: `codes` (n,) are places in `groups`."""

    trait: str
    groups: tuple[str, ...]
    codes: Ints


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A group of customers in a scenario."""

    trait: str
    group: str
    totals: Totals


class SegmentChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a group has in a scenario beside the first one.

    `gained` have an action where they had none, `lost` the reverse, `changed` another first action;
    `contacts` and `expected` are differences.
    """

    trait: str
    group: str
    customers: int
    gained: int
    lost: int
    changed: int
    contacts: int
    expected: float


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Customers whose first action is `before` in the first scenario and `after` in another; empty = none."""

    before: str
    after: str
    customers: int


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """Customers whose first action is `winner` while `loser` took part and came behind."""

    winner: str
    loser: str
    customers: int


EVERYBODY = "everybody"


def totals(one: Observed) -> Totals:
    """Return a scenario's totals."""
    return Totals(
        customers=one.customers,
        reached=int(np.count_nonzero(one.reached)),
        contacts=int(one.contacts.sum()),
        expected=float(one.expected.sum()),
    )


def action_mix(one: Observed) -> tuple[ActionShare, ...]:
    """Return every action of a scenario, those with most first places before the others."""
    firsts = np.bincount(one.first[one.reached], minlength=len(one.actions))
    found = [
        ActionShare(action=name, first=int(first), shown=int(shown), expected=float(worth))
        for name, first, shown, worth in zip(one.actions, firsts, one.shown, one.worth, strict=True)
    ]
    return tuple(sorted(found, key=lambda each: (-each.first, -each.shown, each.action)))


def channel_mix(one: Observed) -> tuple[ChannelShare, ...]:
    """Return every channel with its contacts, most first."""
    found = [
        ChannelShare(channel=name, contacts=int(count))
        for name, count in zip(one.channels, one.by_channel, strict=True)
    ]
    return tuple(sorted(found, key=lambda each: (-each.contacts, each.channel)))


def segments(one: Observed, groupings: Sequence[Grouping]) -> tuple[Segment, ...]:
    """Return the totals of each group of each grouping, largest groups first."""
    return tuple(found for grouping in groupings for found in _segments(one, grouping))


def changes(base: Observed, one: Observed, groupings: Sequence[Grouping]) -> tuple[SegmentChange, ...]:
    """Return what a scenario changes for everybody and for each group; both of the same n customers."""
    everybody = Grouping(EVERYBODY, (EVERYBODY,), np.zeros(base.customers, dtype=np.int64))
    is_other = _names(base) != _names(one)
    return tuple(
        found
        for grouping in (everybody, *groupings)
        for found in _changes(base, one, grouping, np.asarray(is_other))
    )


def moves(base: Observed, one: Observed) -> tuple[Move, ...]:
    """Return from which first action to which customers go, those who stay included; the largest first."""
    width = len(one.actions) + 1
    counts = np.bincount((base.first + 1) * width + one.first + 1)
    names = [(NOTHING, *each.actions) for each in (base, one)]
    found = [
        Move(before=names[0][cell // width], after=names[1][cell % width], customers=int(counts[cell]))
        for cell in np.flatnonzero(counts).tolist()
    ]
    return tuple(sorted(found, key=lambda each: (-each.customers, each.before, each.after)))


def beats(one: Observed) -> tuple[Beat, ...]:
    """Return which action beats which, the most often first."""
    found = [
        Beat(winner=one.actions[a], loser=one.actions[b], customers=int(one.beaten[a, b]))
        for a, b in zip(*(axis.tolist() for axis in np.nonzero(one.beaten)), strict=True)
    ]
    return tuple(sorted(found, key=lambda each: (-each.customers, each.winner, each.loser)))


def _segments(one: Observed, grouping: Grouping) -> list[Segment]:
    size = len(grouping.groups)
    counts = np.bincount(grouping.codes, minlength=size)
    reached = np.bincount(grouping.codes, weights=one.reached, minlength=size)
    contacts = np.bincount(grouping.codes, weights=one.contacts, minlength=size)
    expected = np.bincount(grouping.codes, weights=one.expected, minlength=size)
    found = [
        Segment(
            trait=grouping.trait,
            group=name,
            totals=Totals(
                customers=int(counts[place]),
                reached=int(reached[place]),
                contacts=int(contacts[place]),
                expected=float(expected[place]),
            ),
        )
        for place, name in enumerate(grouping.groups)
    ]
    return sorted(found, key=lambda each: (-each.totals.customers, each.group))


def _changes(base: Observed, one: Observed, grouping: Grouping, is_other: Bools) -> list[SegmentChange]:
    had, has = base.reached, one.reached
    sums = {
        "customers": np.ones(base.customers),
        "gained": has & ~had,
        "lost": had & ~has,
        "changed": had & has & is_other,
        "contacts": one.contacts - base.contacts,
        "expected": one.expected - base.expected,
    }
    size = len(grouping.groups)
    found = {name: np.bincount(grouping.codes, weights=each, minlength=size) for name, each in sums.items()}
    made = [
        SegmentChange(
            trait=grouping.trait,
            group=group,
            customers=int(found["customers"][place]),
            gained=int(found["gained"][place]),
            lost=int(found["lost"][place]),
            changed=int(found["changed"][place]),
            contacts=round(float(found["contacts"][place])),
            expected=float(found["expected"][place]),
        )
        for place, group in enumerate(grouping.groups)
    ]
    return sorted(made, key=lambda each: (-each.customers, each.group))


def _names(one: Observed) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """Return each customer's first action by name: plans may number the same action differently."""
    return np.array([*one.actions, NOTHING], dtype=object)[one.first]
