"""Why a fast decision came out as it did: the whole decision as `decisions.single` makes it.

Computed when it is asked for; an expression is compiled the first time it is needed, and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.decisions.arbitration import Context
from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.decisions.single import Decision, Row, decide
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression
from tilltal.rules.python import to_python

Pair = tuple[str, str]  # action, channel


class Moment(msgspec.Struct, frozen=True):
    """What a decision was made of: values by slot, the clock, the context, and what was asked."""

    values: Sequence[object]
    clock: Clock
    context: Context
    count: int
    channel: str | None
    rates: Sequence[float] | npt.NDArray[np.float64] | None


class Reasons:
    """Explains the decisions of one plan; `slots` and `pairs` are those of its `LiveDecider`."""

    __slots__ = ("_compiled", "_pairs", "_plan", "_slots")

    def __init__(self, plan: DecisionPlan, slots: Mapping[str, int], pairs: Mapping[Pair, int]) -> None:
        self._plan = plan
        self._slots = slots
        self._pairs = pairs
        self._compiled: dict[int, Callable[[Row, Clock], object]] = {}

    def explain(self, moment: Moment) -> Decision:
        """Decide again, in full."""
        row = {name: moment.values[slot] for name, slot in self._slots.items()}
        plan = narrowed(self._plan, moment.count, moment.channel)
        first = decide(plan, row, moment.clock, moment.context, self._function)
        if moment.rates is None or not self._pairs:
            return first
        channels = {name: proposal.channel for name, proposal in first.proposals.items()}
        rated = _rated(plan, channels, self._pairs, moment.rates)
        return decide(rated, row, moment.clock, moment.context, self._function)

    def _function(self, expression: Expression) -> Callable[[Row, Clock], object]:
        key = id(expression)  # the plan keeps its expressions for as long as this
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = to_python(expression)
        return found


def narrowed(plan: DecisionPlan, count: int, channel: str | None) -> DecisionPlan:
    """Return the plan that shows `count` actions, by one channel only if that is given."""
    actions = plan.actions if channel is None else tuple(_only(action, channel) for action in plan.actions)
    policy = msgspec.structs.replace(plan.arbitration, slots=count)
    return msgspec.structs.replace(plan, actions=actions, arbitration=policy)


def _only(action: ActionPlan, channel: str) -> ActionPlan:
    channels = tuple(each for each in action.channels if each.name == channel)
    return msgspec.structs.replace(action, channels=channels)


def _rated(
    plan: DecisionPlan,
    channels: Mapping[str, str | None],
    pairs: Mapping[Pair, int],
    rates: Sequence[float] | npt.NDArray[np.float64],
) -> DecisionPlan:
    """Return the plan whose propensities are the rates of the channels that are used."""
    actions = []
    for action in plan.actions:
        pair = pairs.get((action.name, channels[action.name] or ""))
        rated = action if pair is None else msgspec.structs.replace(action, propensity=float(rates[pair]))
        actions.append(rated)
    return msgspec.structs.replace(plan, actions=tuple(actions))
