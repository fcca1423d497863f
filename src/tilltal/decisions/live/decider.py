"""Deciding for one customer within microseconds: everything about the actions is compiled once.

The outcome is that of `decisions.single`, held equal by a test: rules are fused, checks and factors lie in
tables by option, and priorities are floats that exact decimals check where it matters. Why an action lost is
computed when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial

import msgspec
import numpy as np

from tilltal.decisions.arbitration import Context
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
from tilltal.decisions.live.funnel import Funnel, Members
from tilltal.decisions.live.ranking import Best, Products, Slots
from tilltal.decisions.live.reasons import Moment, Reasons
from tilltal.decisions.plan import DecisionPlan
from tilltal.decisions.single import Decision
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.policies import Factors

Values = Sequence[object]

_MOST = 1e150  # V up to it, times C × L up to it, stays within the floats


class Shown(msgspec.Struct, frozen=True):
    """An action that is shown, by which channel, with its priority and factors as floats.

    `pair` is its place in `LiveDecider.adaptive`, or -1.
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


class LiveDecision(msgspec.Struct, frozen=True):
    """What is shown, best first, and how many actions came through the funnel."""

    shown: tuple[Shown, ...]
    eligible: int
    moment: Moment
    reasons: Reasons

    def explain(self) -> Decision:
        """Return the whole decision: exact factors, and every other action with its reason."""
        return self.reasons.explain(self.moment)


class LiveDecider:
    """A decision plan, compiled.

    `slots` says where each profile name lies among the values; `adaptive` names the pairs of action and
    channel for which a rate may be given to `decide`, in that order.
    """

    __slots__ = (
        "_funnel",
        "_groups",
        "_has_duties",
        "_levers",
        "_mandatory",
        "_members",
        "_moments",
        "_options",
        "_pairs",
        "_policy",
        "_propensities",
        "_reasons",
        "_width",
        "_worths",
        "adaptive",
        "plan",
        "slots",
    )

    def __init__(self, plan: DecisionPlan, slots: Mapping[str, int] | None = None) -> None:
        self.plan = plan
        self.slots = dict(slots or {name: place for place, name in enumerate(sorted(plan.names))})
        self._funnel = Funnel(plan, self.slots)
        self._options = _options(plan)
        options = tuple(self._options.values())
        self._members = Members(max(self._options, default=-1) + 1)
        self._propensities = Propensities(plan, self.slots, options)
        self._worths = Worths(plan, self.slots, options)
        self._moments = Moments(plan, self.slots, options)
        self._levers = tuple(map(float, self._moments.levers))
        self._mandatory = np.zeros(max(self._options, default=-1) + 1, dtype=np.bool_)
        self._mandatory[[one.number for one in options if one.action.definition.mandatory]] = True
        self._has_duties = bool(self._mandatory.any())
        self._policy = plan.arbitration
        self._width = len(plan.actions)
        groups = {action.definition.group: number for number, action in enumerate(plan.actions)}
        self._groups = tuple(groups[action.definition.group] for action in plan.actions)
        self.adaptive = self._propensities.adaptive
        self._pairs = {pair: number for number, pair in enumerate(self.adaptive)}
        self._reasons = Reasons(plan, self.slots, self._pairs)

    def values_of(self, row: Mapping[str, object]) -> list[object]:
        """Return a profile's values by slot; a name that the row lacks is NULL."""
        values: list[object] = [None] * (max(self.slots.values(), default=-1) + 1)
        for name, slot in self.slots.items():
            values[slot] = row.get(name)
        return values

    def decide(
        self,
        values: Values,
        clock: Clock,
        context: Context,
        *,
        count: int | None = None,
        channel: str | None = None,
        rates: Sequence[float] | Floats | None = None,
    ) -> LiveDecision:
        """Decide for one customer.

        Args:
            values: the profile's values by slot, None for NULL.
            clock: the instant of the decision.
            context: what is known of the moment; the profile's own names serve as context too.
            count: how many to show at most; the policy's slots if absent.
            channel: if given, the only channel that may be used.
            rates: the probability of each pair of `adaptive`, within [0, 1]; base rates if absent.
        """
        mask = self._funnel.pass_through(values, clock, channel)
        shares, lawful = self._propensities.known(values, rates)
        mask &= lawful & self._worths.lawful
        given = _Given(
            shares, self._worths.known(values, clock, mask), self._moments.weights(values, context)
        )
        slots = self._policy.slots if count is None else count
        moment = Moment(values, clock, context, slots, channel, rates)
        products = self._products(self._members.of(mask), given)
        shown = self._described(self._ranked(products, slots), given)
        return LiveDecision(shown, len(products.options), moment, self._reasons)

    def _products(self, options: Places, given: _Given) -> Products:
        worths = given.worths.take(options)
        is_extreme = given.weights.is_extreme or not _is_moderate(worths)
        if is_extreme:  # an infinite value, which removes its option, or numbers beyond the floats
            options = options[np.isfinite(worths)]
            floats = np.zeros(len(options))
        else:
            floats = given.products(options, worths, self._policy.factors)
        return Products(options, floats, self._width, partial(self._exact, given), is_extreme)

    def _ranked(self, products: Products, slots: int) -> Best:
        """Fill the slots: mandatory actions first; return options with their exact priorities."""
        policy, room = self._policy, Slots(slots, self._policy.max_per_group, self._groups)
        taken: Best = []
        others = products
        if self._has_duties:
            is_duty = self._mandatory.take(products.options)
            taken = room.fill(taken, products.only(is_duty), only_positive=False)
            others = products.only(~is_duty)
        taken = room.fill(taken, others, only_positive=policy.offer_only_positive)
        return [(option, products.priority_of(option, near)) for option, near in taken]

    def _exact(self, given: _Given, option: int) -> Decimal:
        return exact(
            self.plan, option % self._width, given.shares.of(option), given.worths.of(option), given.weights
        ).priority

    def _described(self, shown: Best, given: _Given) -> tuple[Shown, ...]:
        on, width = self._policy.factors, self._width
        found = []
        for rank, (option, priority) in enumerate(shown, start=1):
            chosen, action = self._options[option], option % width
            found.append(
                Shown(
                    rank,
                    chosen.action.name,
                    chosen.channel,
                    priority,
                    given.shares.of(option) if on.P else 1.0,
                    given.weights.context[action],
                    given.worths.of(option) if on.V else 1.0,
                    self._levers[action],
                    self._pairs.get((chosen.action.name, chosen.channel), -1),
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
        product = self.weights.both.take(options)
        if on.P:
            product *= self.shares.take(options)
        if on.V:
            product *= worths
        return product


def _is_moderate(worths: Floats) -> bool:
    """True if there is no infinity, and nothing beyond `_MOST`."""
    return not worths.size or bool(worths.max() < _MOST and worths.min() > -_MOST)


def _options(plan: DecisionPlan) -> dict[int, Option]:
    width = len(plan.actions)
    return {
        position * width + number: Option(position * width + number, action, channel.name)
        for number, action in enumerate(plan.actions)
        for position, channel in enumerate(action.channels)
    }
