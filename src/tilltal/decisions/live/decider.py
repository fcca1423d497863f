"""Deciding for one customer within microseconds: everything about the actions is compiled once.

The outcome is that of `decisions.single`, held equal by a test: rules are fused, checks and factors lie in
tables by option, and priorities are floats that exact decimals check where it matters. Why an action lost is
computed when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from types import MappingProxyType

import msgspec
import numpy as np

from tilltal.decisions.arbitration import Context
from tilltal.decisions.live.costs import Costs
from tilltal.decisions.live.exploring import Chance, Explored, explore
from tilltal.decisions.live.factors import (
    Floats,
    Moments,
    Numbers,
    Option,
    Places,
    Propensities,
    Weights,
    Worths,
    exact,
)
from tilltal.decisions.live.flaws import Flaws
from tilltal.decisions.live.funnel import Funnel, Members
from tilltal.decisions.live.ranking import Best, Limit, Products, Slots, floor_of
from tilltal.decisions.live.reasons import Moment, Pair, Reasons
from tilltal.decisions.live.together import Together
from tilltal.decisions.plan import DecisionPlan
from tilltal.decisions.single import Decision
from tilltal.models.adaptive.exploration import keys_of
from tilltal.models.calibration import Platt
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.policies import Factors

Values = Sequence[object]
_Face = tuple[str, str, int, tuple[()] | tuple[float]]  # action, channel, place among pairs, cost if any

_NO_LINES: Mapping[str, Platt] = MappingProxyType({})
_NOTHING_BARRED: Mapping[Pair, str] = MappingProxyType({})
_MOST = 1e150  # V up to it, times C × L up to it, stays within the floats


class Shown(msgspec.Struct, frozen=True, omit_defaults=True):
    """An action that is shown, by which channel, with its priority and factors as floats.

    `pair` is its place in `LiveDecider.adaptive`, or -1. `cost` is what the contact costs, taken off
    P × C × V × L; it is not written where it is left at nothing.
    """

    rank: int
    action: str
    channel: str
    priority: float
    P: float
    C: float
    V: float
    L: float
    pair: int
    cost: float = 0.0


class LiveDecision(msgspec.Struct, frozen=True):
    """What is shown, best first, and how many actions came through the funnel.

    `moment` has the rates it was decided with; where these were drawn, `explored` has what was known before.
    """

    shown: tuple[Shown, ...]
    eligible: int
    moment: Moment
    reasons: Reasons
    explored: Explored | None = None

    def explain(self) -> Decision:
        """Return the whole decision: exact factors, and every other action with its reason."""
        return self.reasons.explain(self.moment)


class LiveDecider:
    """A decision plan, compiled.

    `slots` says where each profile name lies among the values, in their order; `adaptive` names the pairs of
    action and channel for which a rate may be given to `decide`, in that order.
    """

    __slots__ = (
        "_costs",
        "_faces",
        "_floor",
        "_funnel",
        "_has_duties",
        "_is_moderate",
        "_keys",
        "_limits",
        "_mandatory",
        "_members",
        "_moments",
        "_named",
        "_names",
        "_numbers",
        "_pair_of",
        "_policy",
        "_propensities",
        "_reasons",
        "_width",
        "_worths",
        "adaptive",
        "flaws",
        "plan",
        "slots",
        "together",
    )

    def __init__(self, plan: DecisionPlan) -> None:
        self.plan = plan
        self._names = tuple(sorted(plan.names))
        self.slots = {name: place for place, name in enumerate(self._names)}
        self._named = tuple(self.slots.items())
        self._funnel = Funnel(plan, self.slots)
        options = tuple(_options(plan))
        size = max((one.number for one in options), default=-1) + 1
        self._numbers = {(one.action.name, one.channel): one.number for one in options}
        self._members = Members(size)
        self._propensities = Propensities(plan, self.slots, options)
        self._worths = Worths(plan, self.slots, options)
        plain = self._worths.plain
        self._is_moderate = plain is not None and _is_moderate(
            plain.take(self._members.of(self._worths.lawful))
        )
        self._costs = Costs(plan, options)
        self._moments = Moments(plan, self.slots, options)
        self._mandatory = np.zeros(size, dtype=np.bool_)
        self._mandatory[[one.number for one in options if one.action.definition.mandatory]] = True
        self._has_duties = bool(self._mandatory.any())
        self._policy = plan.arbitration
        self._width = len(plan.actions)
        self._limits = _limits(plan)
        nothing = self._policy.nothing
        self._floor = floor_of(
            only_positive=self._policy.offer_only_positive,
            below=None if nothing is None else nothing.below,
            dearest=self._costs.dearest,
        )
        self.adaptive = self._propensities.adaptive
        pairs = {pair: number for number, pair in enumerate(self.adaptive)}
        self._keys = keys_of(self.adaptive)
        self._pair_of = np.full(size, -1, dtype=np.intp)
        self._faces: dict[int, _Face] = {}
        for one in options:
            pair = self._pair_of[one.number] = pairs.get((one.action.name, one.channel), -1)
            cost = self._costs.of(one.number)
            self._faces[one.number] = (one.action.name, one.channel, pair, (cost,) if cost else ())
        self._reasons = Reasons(plan, self.slots, pairs)
        self.together = Together(plan, self.slots)
        self.flaws = Flaws(plan, self.slots)

    def values_of(self, row: Mapping[str, object]) -> list[object]:
        """Return a profile's values by slot; a name that the row lacks is NULL."""
        return list(map(row.get, self._names))

    def known_of(self, values: Values) -> dict[str, object]:
        """Return values by name, without those that are NULL."""
        return {name: values[slot] for name, slot in self._named if values[slot] is not None}

    def decide(
        self,
        values: Values,
        clock: Clock,
        context: Context,
        *,
        count: int | None = None,
        channel: str | None = None,
        rates: Sequence[float] | Floats | None = None,
        lines: Mapping[str, Platt] = _NO_LINES,
        barred: Mapping[Pair, str] = _NOTHING_BARRED,
        chance: Chance | None = None,
    ) -> LiveDecision:
        """Decide for one customer.

        Args:
            values: the profile's values by slot, None for NULL.
            clock: the instant of the decision.
            context: what is known of the moment; the profile's own names serve as context too.
            count: how many to show at most; the policy's slots if absent.
            channel: if given, the only channel that may be used.
            rates: the probability of each pair of `adaptive`, within [0, 1]; base rates if absent.
            lines: by model, what corrects its probability; of others it stands as it is.
            barred: pairs of action and channel that may not be used, with the contact policy's reason.
            chance: if given, the probabilities of adaptive pairs that compete are drawn anew; needs `rates`.
        """
        is_best = self._policy.channels == "best" and rates is not None
        mask = self._funnel.pass_through(
            values, clock, channel, self._mask(barred) if barred else 0, every=is_best
        )
        shares, lawful = self._propensities.known(values, rates, lines)
        mask &= lawful & self._worths.lawful
        options, explored = self._members.of(mask), None
        if chance is not None and rates is not None:
            rates, explored = self._explore(np.asarray(rates), chance, options)
            shares = self._propensities.redrawn(shares, rates)
        if is_best:
            options = self._by_best_channel(options, shares)
        given = _Given(
            shares, self._worths.known(values, clock, mask), self._moments.weights(values, context)
        )
        slots = self._policy.slots if count is None else count
        moment = Moment(values, clock, context, slots, channel, rates, lines, barred)
        products = self._products(options, given)
        shown = self._described(self._ranked(products, slots), given)
        return LiveDecision(shown, len(products.options), moment, self._reasons, explored)

    def _explore(self, rates: Floats, chance: Chance, options: Places) -> tuple[Floats, Explored]:
        pairs = self._pair_of.take(options)
        return explore(rates, chance, pairs[pairs >= 0], self._keys)

    def _by_best_channel(self, options: Places, shares: Numbers) -> Places:
        """Keep of each action the option of the highest probability; of equals the first in preference."""
        ordered = options[np.argsort(-shares.take(options), kind="stable")]
        _, first = np.unique(ordered % self._width, return_index=True)
        return np.sort(ordered[first])

    def _mask(self, barred: Mapping[Pair, str]) -> int:
        numbers = self._numbers
        return sum(1 << numbers[pair] for pair in barred if pair in numbers)

    def _products(self, options: Places, given: _Given) -> Products:
        worths = given.worths.take(options)
        is_extreme = given.weights.is_extreme or not (self._is_moderate or _is_moderate(worths))
        if is_extreme:  # an infinite value, which removes its option, or numbers beyond the floats
            options = options[np.isfinite(worths)]
            floats = np.zeros(len(options))
        else:
            floats = given.products(options, worths, self._policy.factors)
            if (costs := self._costs.by_option) is not None:
                floats -= costs.take(options)
        return Products(
            options, floats, self._width, partial(self._exact, given), is_extreme, self._costs.dearest
        )

    def _ranked(self, products: Products, slots: int) -> Best:
        """Fill the slots: mandatory actions first; return options with their exact priorities."""
        room = Slots(slots, self._limits, self._width)
        taken: Best = []
        others = products
        if self._has_duties:
            is_duty = self._mandatory.take(products.options)
            taken = room.fill(taken, products.only(is_duty))
            others = products.only(~is_duty)
        taken = room.fill(taken, others, self._floor)
        return products.rounded(taken)

    def _exact(self, given: _Given, option: int) -> Decimal:
        factors = exact(
            self.plan,
            option % self._width,
            given.shares.of(option),
            given.worths.of(option),
            given.weights,
            self._costs.of(option),
        )
        return factors.priority

    def _described(self, shown: Best, given: _Given) -> tuple[Shown, ...]:
        on, width, weights = self._policy.factors, self._width, given.weights
        found = []
        for rank, (priority, option) in enumerate(shown, start=1):
            name, channel, pair, cost = self._faces[option]
            action = option % width
            found.append(
                Shown(
                    rank,
                    name,
                    channel,
                    priority,
                    given.shares.of(option) if on.P else 1.0,
                    weights.context[action],
                    given.worths.of(option) if on.V else 1.0,
                    weights.lever_of(action),
                    pair,
                    *cost,
                )
            )
        return tuple(found)


class _Given(msgspec.Struct, frozen=True, gc=False):
    """The factors of a decision: P, V, and C × L."""

    shares: Numbers
    worths: Numbers
    weights: Weights

    def products(self, options: Places, worths: Floats, on: Factors) -> Floats:
        """Return P × C × V × L of each option, a factor that is off as 1."""
        product: Floats = self.weights.both[options]
        if on.P:
            product *= self.shares.take(options)
        if on.V:
            product *= worths
        return product


def _is_moderate(worths: Floats) -> bool:
    """True if there is no infinity, and nothing beyond `_MOST`."""
    if not worths.size:
        return True
    return worths.item(worths.argmax()) < _MOST and worths.item(worths.argmin()) > -_MOST


def _limits(plan: DecisionPlan) -> tuple[Limit, ...]:
    """Return how many of a group and of an issue may be shown."""
    policy, first, found = plan.arbitration, 0, []
    for part, most in (("group", policy.max_per_group), ("issue", policy.max_per_issue)):
        names = [getattr(action.definition, part) for action in plan.actions]
        places = {name: first + place for place, name in enumerate(dict.fromkeys(names))}
        first += len(places)
        if most is not None:
            found.append(Limit(most, tuple(places[name] for name in names)))
    return tuple(found)


def _options(plan: DecisionPlan) -> Iterator[Option]:
    width = len(plan.actions)
    for number, action in enumerate(plan.actions):
        for position, channel in enumerate(action.channels):
            yield Option(position * width + number, action, channel.name, channel.cost)
