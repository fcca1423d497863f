"""Ranking many customers at once, in arrays of n customers and m actions.

Priorities are floats here. `is_close` and `is_doubtful` find the few customers for whom rounding could
matter, to be decided with exact decimals.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.decisions.arbitration import Candidate, lever
from tilltal.decisions.history.influences import UNIT
from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.workspace.definitions.policies import Arbitration

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_WHOLE = 1e16  # floats from here on have no decimals
_PLACE = 1e9  # priorities have nine decimals
_LARGEST = 4e6  # up to here neighbouring floats are nearer than decimals of nine places
_HALF_PLACE = 5e-10  # a priority up to it rounds to 0
_FLOAT = 1e-14  # more than four factors, a cost and a rounding lose of a float's 16 digits


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """What n customers' m candidates are worth, as floats: P × C × V × L − cost.

    `net` is as computed, `priority` with nine decimals; `costs` is None where nothing costs anything. A net
    may be small though product and cost are not: how far off it is goes by their `size`, the sum of both.
    """

    factors: tuple[Floats, Floats, Floats, Floats]
    net: Floats
    priority: Floats
    size: Floats
    costs: Floats | None

    @staticmethod
    def of(factors: tuple[Floats, Floats, Floats, Floats], costs: Floats | None) -> Worth:
        """Multiply the factors and take the costs off."""
        with np.errstate(over="ignore", invalid="ignore"):  # beyond the floats: decided exactly afterwards
            product = factors[0] * factors[1] * factors[2] * factors[3]
            net = product if costs is None else product - costs
            priority = np.where(np.abs(net) < _WHOLE, np.round(net, 9), net)
            size = np.abs(product)
        if costs is not None:
            size += costs
        return Worth(factors=factors, net=net, priority=priority, size=size, costs=costs)

    def is_alike(self, row: Ints, first: Ints, second: Ints) -> Bools:
        """Say of pairs of candidates of the same row if they are equal in whatever arithmetic.

        Their factors are equal or their products nothing, and they cost the same.
        """
        same = np.logical_and.reduce([each[row, first] == each[row, second] for each in self.factors])
        same |= self._is_nothing(row, first) & self._is_nothing(row, second)
        if self.costs is not None:
            same &= self.costs[row, first] == self.costs[row, second]
        return np.asarray(same)

    def _is_nothing(self, row: Ints, place: Ints) -> Bools:
        return np.asarray(np.logical_or.reduce([each[row, place] == 0 for each in self.factors]))


def costs_of(plan: DecisionPlan, channels: Ints) -> Floats | None:
    """Return what a contact with each candidate costs (n, m); None where nothing costs anything.

    Args:
        plan: the plan.
        channels: (n, m) place of each candidate's channel among those of its action, negative for none.
    """
    if not plan.arbitration.factors.V or not any(action.has_cost for action in plan.actions):
        return None
    found = np.zeros(channels.shape)
    for number, action in enumerate(plan.actions):
        if action.has_cost:
            by_place = np.array([*(channel.cost for channel in action.channels), 0.0])
            found[:, number] = by_place[channels[:, number]]
    return found


def order(priority: Floats, reasons: Ints, mandatory: Bools) -> Ints:
    """Return candidate indices, best first: mandatory, then priority, then name; removed ones last.

    Columns lie in order of name and the sort is stable, so equal priorities keep that order.
    """
    tier = np.where(reasons > 0, 2, np.where(mandatory, 0, 1))
    return np.asarray(np.lexsort((-priority, tier), axis=-1))


def fill(plan: DecisionPlan, order: Ints, reasons: Ints) -> Ints:
    """Fill the slots from the order, no more of a group or issue than the policy allows; -1 for nothing."""
    rows, width = order.shape
    policy, everyone = plan.arbitration, np.arange(order.shape[0])
    limits = [
        _Limit([action.definition.group for action in plan.actions], policy.max_per_group, rows),
        _Limit([action.definition.issue for action in plan.actions], policy.max_per_issue, rows),
    ]
    shown = np.full((rows, policy.slots), -1, dtype=np.int64)
    filled = np.zeros(rows, dtype=np.int64)
    for position in range(width):
        candidate = order[:, position]
        fits_in = (reasons[everyone, candidate] == 0) & (filled < policy.slots)
        if not fits_in.any():  # removed ones come last, so nothing is left for anybody
            break
        for limit in limits:
            fits_in &= limit.has_room(candidate)
        chosen = np.flatnonzero(fits_in)
        shown[chosen, filled[chosen]] = candidate[chosen]
        for limit in limits:
            limit.take(chosen, candidate[chosen])
        filled[chosen] += 1
    return shown


class _Limit:
    """Counts how many of a kind each row has taken; `most` None lets all of them through."""

    def __init__(self, kinds: Sequence[str], most: int | None, rows: int) -> None:
        places = {kind: place for place, kind in enumerate(dict.fromkeys(kinds))}
        self._kind = np.array([places[kind] for kind in kinds], dtype=np.int64)
        self._most = most
        self._taken = np.zeros((rows, max(len(places), 1)) if most is not None else (0, 0), dtype=np.int64)
        self._rows = np.arange(rows)

    def has_room(self, candidate: Ints) -> Bools | bool:
        """Say for each row whether its candidate has room."""
        if self._most is None:
            return True
        return np.asarray(self._taken[self._rows, self._kind[candidate]] < self._most)

    def take(self, rows: Ints, candidate: Ints) -> None:
        """Count a candidate each for some rows."""
        if self._most is not None:
            self._taken[rows, self._kind[candidate]] += 1


def depth_of(order: Ints, shown: Ints, reasons: Ints) -> Ints:
    """Return how many places of the order (n,) decide what is shown: those behind the last one do not."""
    left = np.count_nonzero(reasons == 0, axis=1)
    last = np.argmax(order == shown[:, -1:], axis=1) + 1
    return np.asarray(np.where(shown[:, -1] >= 0, last, left))


def is_close(
    order: Ints,
    depth: Ints,
    worth: Worth,
    reasons: Ints,
    mandatory: Bools,
) -> Bools:
    """Say for which rows two neighbours in the order are so near that float rounding could swap them.

    True ties (`Worth.is_alike`) are not. Only the places of `depth_of` matter, and those behind them that
    rounding could bring forward.
    """
    rows = np.arange(len(order))[:, None]
    sorted_ = worth.priority[rows, order]
    size = np.abs(sorted_) if worth.costs is None else worth.size[rows, order]
    with np.errstate(invalid="ignore"):
        lost = _FLOAT * np.maximum(size[:, :-1], size[:, 1:])
        near = np.abs(sorted_[:, :-1] - sorted_[:, 1:]) <= 2e-9 + lost
    far = ~near & (np.arange(near.shape[1]) >= depth[:, None] - 1)
    row, place = np.nonzero(near & (np.cumsum(far, axis=1) == far))
    first, second = order[row, place], order[row, place + 1]
    same = worth.is_alike(row, first, second)
    both = (reasons[row, first] == 0) & (reasons[row, second] == 0)
    both &= mandatory[first] == mandatory[second]
    found = np.zeros(len(order), dtype=bool)
    found[row[both & ~same]] = True
    return found


def is_doubtful(worth: Worth, removed: Ints, policy: Arbitration) -> Bools:
    """Say for which rows a priority is beyond the floats, or so near a border that rounding says which side.

    A border is where an action begins to be worth anything: above 0, or as much as saying nothing.
    """
    doubt = ~np.isfinite(worth.net)
    if policy.offer_only_positive:
        doubt |= np.abs(worth.net - _HALF_PLACE) <= _FLOAT * worth.size
    if policy.nothing is not None:
        doubt |= _is_unsure(worth, policy.nothing.below)
    return np.asarray((doubt & (removed == 0)).any(axis=1))


def is_worthless(priority: Floats, policy: Arbitration) -> tuple[Bools, Bools]:
    """Say which priorities are not positive though they must be, which others are below saying nothing."""
    not_positive = (priority <= 0) & policy.offer_only_positive
    if policy.nothing is None:
        return not_positive, np.zeros_like(not_positive)
    return not_positive, ~not_positive & (priority < policy.nothing.below)


def levers_of(plan: DecisionPlan, influences: Ints | None) -> Floats:
    """Return L of each action (m,), or of each customer and action (n, m) where past outcomes influence it.

    Args:
        plan: the plan.
        influences: (n, m) in units of `history.influences.UNIT`; None where there are none.
    """
    bare = [as_candidate(action) for action in plan.actions]
    levers = np.array([float(lever(each, plan.arbitration)) for each in bare])
    if influences is None:
        return levers
    found = np.tile(levers, (len(influences), 1))
    for number, candidate in enumerate(bare):
        rows = np.flatnonzero(influences[:, number])
        amounts, place = np.unique(influences[rows, number], return_inverse=True)
        changed = [
            float(lever(msgspec.structs.replace(candidate, influence=amount / UNIT), plan.arbitration))
            for amount in amounts.tolist()
        ]
        found[rows, number] = np.array(changed, dtype=np.float64)[place]
    return found


def as_candidate(action: ActionPlan) -> Candidate:
    """Return an action as a candidate of unknown propensity and value."""
    definition = action.definition
    return Candidate(
        action=action.name,
        group=definition.group,
        issue=definition.issue,
        mandatory=definition.mandatory,
    )


def _is_unsure(worth: Worth, border: float) -> Bools:
    """Say which are near a border and do not round to the exact priority for sure."""
    with np.errstate(over="ignore", invalid="ignore"):
        lost, size = _FLOAT * worth.size, np.abs(worth.net)
        is_near = np.abs(worth.net - border) <= 2e-9 + _FLOAT * abs(border) + lost
        is_between = np.abs(size * _PLACE % 1.0 - 0.5) <= lost * _PLACE
    return np.asarray(is_near & (is_between | (size >= _LARGEST)))
