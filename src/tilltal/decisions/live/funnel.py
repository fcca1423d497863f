"""The funnel of a single fast decision: which actions may be proposed, and by which channel.

An *option* is an action by its channel of first, second, … preference: with n actions, option
`position * n + action`. Sets of actions and of options are bit masks, so that a rule that fails removes all
it concerns at once (see `rules.python.fuse`). The outcome is that of `decisions.single`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import compress
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression
from tilltal.rules.python import fuse
from tilltal.rules.tree import Call, Literal
from tilltal.rules.types import Type

_OCTET, _TRUTH = np.dtype(np.uint8), np.dtype(np.bool_)
_SHARED = 4  # checks that concern fewer options than this are looked at only where their value is not 0


class Funnel:
    """The rules and checks of all actions, compiled; values come by slot."""

    __slots__ = (
        "_all",
        "_by_channel",
        "_caps",
        "_consents",
        "_counters",
        "_life",
        "_once_each",
        "_rules",
        "_sparse",
        "width",
    )

    def __init__(self, plan: DecisionPlan, slots: dict[str, int]) -> None:
        self.width = len(plan.actions)
        self._rules = fuse({action.name: _whole(action) for action in plan.actions}, slots)
        self._life = _Lives(plan.actions)
        self._by_channel = _channel_masks(plan)
        self._all = _union(self._by_channel.values())
        most = max((len(action.channels) for action in plan.actions), default=0)
        self._once_each = sum(1 << position * self.width for position in range(most))
        self._consents, caps = _checks(plan, slots)
        self._caps = tuple(cap for cap in caps if not _is_sparse(cap))
        self._sparse = tuple(sorted(cap for cap in caps if _is_sparse(cap)))
        self._counters = _getter([slot for slot, _, _ in self._sparse])

    def pass_through(
        self,
        values: Sequence[object],
        clock: Clock,
        channel: str | None,
        barred: int = 0,
        *,
        every: bool = False,
    ) -> int:
        """Return the mask of options that remain: each action by the first channel that may be used.

        Args:
            values: the profile's values by slot, None for NULL.
            clock: the instant of the decision.
            channel: if given, the only channel that counts.
            barred: the mask of options that may not be used.
            every: each action by every channel that may be used, not by the first alone.
        """
        options = (self._all if channel is None else self._by_channel.get(channel, 0)) & ~barred
        for slot, kept in self._consents:
            if values[slot] is not True:
                options &= kept
        for slot, limit, kept in self._caps:
            if _count(values[slot]) >= limit:
                options &= kept
        counted = self._counters(values)
        if any(counted):
            for slot, limit, kept in compress(self._sparse, counted):
                if _count(values[slot]) >= limit:
                    options &= kept
        actions = self._rules(values, clock) & self._life.mask(clock.now)
        if every:
            return options & actions * self._once_each
        return self._first_channels(options, actions)

    def _first_channels(self, options: int, actions: int) -> int:
        """Keep of each action in a set the option of its first channel that is left."""
        chosen = shift = 0
        while actions and options:
            taken = options & actions
            chosen |= taken << shift
            actions &= ~taken
            options >>= self.width
            shift += self.width
        return chosen


class Members:
    """Lists the members of bit masks of so many bits."""

    __slots__ = ("_bytes",)

    def __init__(self, bits: int) -> None:
        self._bytes = (bits + 7) // 8

    def of(self, mask: int) -> npt.NDArray[np.intp]:
        """Return the numbers of the bits that are set, ascending."""
        octets = np.frombuffer(mask.to_bytes(self._bytes, "little"), _OCTET)
        return np.unpackbits(octets, None, None, "little").view(_TRUTH).nonzero()[0]


class _Lives:
    """Which actions are alive when: between any two starts and ends nothing changes."""

    __slots__ = ("_bounds", "_masks")

    def __init__(self, actions: Sequence[ActionPlan]) -> None:
        bounds = {bound for action in actions for bound in (action.starts, action.ends) if bound is not None}
        self._bounds: list[datetime] = sorted(bounds)
        earliest = datetime.min.replace(tzinfo=self._bounds[0].tzinfo) if bounds else datetime.min
        self._masks = [_alive(actions, instant) for instant in (earliest, *self._bounds)]

    def mask(self, now: datetime) -> int:
        """Return the mask of the actions alive at an instant."""
        return self._masks[bisect_right(self._bounds, now)]


def _alive(actions: Sequence[ActionPlan], instant: datetime) -> int:
    mask = 0
    for number, action in enumerate(actions):
        has_started = action.starts is None or action.starts <= instant
        if has_started and (action.ends is None or instant < action.ends):
            mask |= 1 << number
    return mask


def _whole(action: ActionPlan) -> Expression:
    """Return the condition that all rules of an action hold."""
    rules = [rule.condition for rule in action.rules]
    return Expression(
        text=" AND ".join(f"({rule.text})" for rule in rules) or "TRUE",
        type=Type.BOOLEAN,
        tree=Call(Type.BOOLEAN, "AND", tuple(rule.tree for rule in rules))
        if rules
        else Literal(Type.BOOLEAN, True),
        names=frozenset().union(*(rule.names for rule in rules)),
        functions=frozenset().union(*(rule.functions for rule in rules)),
    )


def _channel_masks(plan: DecisionPlan) -> dict[str, int]:
    masks: defaultdict[str, int] = defaultdict(int)
    for number, action in enumerate(plan.actions):
        for position, channel in enumerate(action.channels):
            masks[channel.name] |= 1 << position * len(plan.actions) + number
    return dict(masks)


_Consent = tuple[int, int]  # slot, mask of the options that remain where it is not TRUE
_Cap = tuple[int, int, int]  # slot, limit, mask of the options that remain where the count reaches it


def _checks(plan: DecisionPlan, slots: dict[str, int]) -> tuple[tuple[_Consent, ...], tuple[_Cap, ...]]:
    """Return each distinct check once, with the options it does not concern."""
    needs: defaultdict[tuple[int, int | None], int] = defaultdict(int)
    for number, action in enumerate(plan.actions):
        for position, channel in enumerate(action.channels):
            for check in channel.checks:
                needs[slots[check.name], check.limit] |= 1 << position * len(plan.actions) + number
    return (
        tuple((slot, ~mask) for (slot, limit), mask in needs.items() if limit is None),
        tuple((slot, limit, ~mask) for (slot, limit), mask in needs.items() if limit is not None),
    )


def _is_sparse(cap: _Cap) -> bool:
    """True for a cap of few options that no count, or 0, cannot reach."""
    _, limit, kept = cap
    return limit > 0 and (~kept).bit_count() < _SHARED


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _getter(slots: Sequence[int]) -> Callable[[Sequence[object]], Sequence[object]]:
    if slots and [*slots] == [*range(slots[0], slots[0] + len(slots))]:
        return itemgetter(slice(slots[0], slots[0] + len(slots)))
    if len(slots) > 1:
        return itemgetter(*slots)
    return lambda values: [values[slot] for slot in slots]


def _union(masks: Iterable[int]) -> int:
    whole = 0
    for mask in masks:
        whole |= mask
    return whole
