"""Why a fast decision came out as it did: the whole decision as `decisions.single` makes it.

Computed when it is asked for; an expression is compiled the first time it is needed, and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.decisions.arbitration import Context
from tilltal.decisions.contacting.checks import READINGS, Check
from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.decisions.single import Decision, Row, decide
from tilltal.decisions.words.saying import Speaker
from tilltal.models.adaptive.recalibration import recalibrated
from tilltal.models.calibration import Platt
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression
from tilltal.rules.python import to_python
from tilltal.workspace.definitions.actions import Learned

Pair = tuple[str, str]  # action, channel
_BARRED = f"{READINGS}barred"


class Moment(msgspec.Struct, frozen=True):
    """What a decision was made of: values by slot, the clock, the context, and what was asked."""

    values: Sequence[object]
    clock: Clock
    context: Context
    count: int
    channel: str | None
    rates: Sequence[float] | npt.NDArray[np.float64] | None
    lines: Mapping[str, Platt]
    barred: Mapping[Pair, str]


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
        plan = _without(narrowed(self._plan, moment.count, moment.channel), moment.barred)
        plan = _corrected(plan, row, moment.lines)
        if moment.rates is not None and plan.arbitration.channels == "best":
            plan = _best_first(plan, self._pairs, moment.rates)
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


def grounds(action: ActionPlan, speaker: Speaker | None = None) -> tuple[str, ...]:
    """Return what is true of whoever an action is shown to, in words, and where its probability comes from.

    It is shown only where all its rules hold; what made it relevant says more than what allowed it. Where an
    experiment is asked, `Speaker.effect` says where the probability comes from. `speaker` says so; in English
    if absent.
    """
    voice = speaker or Speaker()
    notes = (voice.words.goes_first,) if action.definition.mandatory else ()
    return (*notes, *voice.held(action), *_source(action, voice))


def _source(action: ActionPlan, speaker: Speaker) -> tuple[str, ...]:
    if action.uplift:
        return ()
    if action.model:
        return (speaker.words.predicted.format(model=action.model),)
    return () if isinstance(action.definition.propensity, Learned) else (speaker.words.assumed,)


def narrowed(plan: DecisionPlan, count: int, channel: str | None) -> DecisionPlan:
    """Return the plan that shows `count` actions, by one channel only if that is given."""
    actions = plan.actions if channel is None else tuple(_only(action, channel) for action in plan.actions)
    policy = msgspec.structs.replace(plan.arbitration, slots=count)
    return msgspec.structs.replace(plan, actions=actions, arbitration=policy)


def _only(action: ActionPlan, channel: str) -> ActionPlan:
    channels = tuple(each for each in action.channels if each.name == channel)
    return msgspec.structs.replace(action, channels=channels)


def _without(plan: DecisionPlan, barred: Mapping[Pair, str]) -> DecisionPlan:
    """Return the plan that may not use some pairs, which no reading lets through."""
    if not barred:
        return plan
    actions = tuple(
        msgspec.structs.replace(
            action,
            channels=tuple(
                msgspec.structs.replace(each, checks=(Check(reason=reason, name=_BARRED, limit=0),))
                if (reason := barred.get((action.name, each.name))) is not None
                else each
                for each in action.channels
            ),
        )
        for action in plan.actions
    )
    return msgspec.structs.replace(plan, actions=actions)


def _best_first(
    plan: DecisionPlan, pairs: Mapping[Pair, int], rates: Sequence[float] | npt.NDArray[np.float64]
) -> DecisionPlan:
    """Return the plan whose channels are in order of their rates; of equal ones as they were."""
    actions = tuple(
        msgspec.structs.replace(
            action,
            channels=tuple(
                channel
                for _, channel in sorted(
                    ((_rate(action, channel.name, pairs, rates), channel) for channel in action.channels),
                    key=lambda rated: -rated[0],
                )
            ),
        )
        for action in plan.actions
    )
    return msgspec.structs.replace(plan, actions=actions)


def _rate(
    action: ActionPlan,
    channel: str,
    pairs: Mapping[Pair, int],
    rates: Sequence[float] | npt.NDArray[np.float64],
) -> float:
    place = pairs.get((action.name, channel))
    return 0.0 if place is None else float(rates[place])


def _corrected(plan: DecisionPlan, row: Row, lines: Mapping[str, Platt]) -> DecisionPlan:
    """Return the plan whose propensities are what lines make of their models' scores."""
    if not lines:
        return plan
    actions = []
    for action in plan.actions:
        score = row.get(f"score.{action.model}")
        line = lines.get(action.model or "")
        is_effect = action.uplift and action.effect(row.get(f"score.{action.uplift}")) is not None
        if line is None or is_effect or not isinstance(score, int | float):
            actions.append(action)
        else:
            share = recalibrated(action.probability(float(score)), line)
            actions.append(msgspec.structs.replace(action, model=None, propensity=share))
    return msgspec.structs.replace(plan, actions=tuple(actions))


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
