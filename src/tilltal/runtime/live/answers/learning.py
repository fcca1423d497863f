"""Adaptive models while they serve: kept in memory, taught by responses, stored with them.

A response counts in the transaction that stores it, and in the next decision. What a model saw is kept with
the decision, so a late or repeated answer revises exactly what the first one counted. An action that waits
(`Waiting`) is one of which its model was told nothing yet; so what it was told is always known exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.core.operational import Answered
from tilltal.decisions.live.decider import LiveDecider
from tilltal.models.adaptive.bins import plain_bins
from tilltal.models.adaptive.layout import layout_of, microseconds
from tilltal.models.adaptive.model import AdaptiveModel, Case, model_from
from tilltal.models.adaptive.outcomes import outcome, time_out
from tilltal.models.adaptive.table import AdaptiveTable
from tilltal.workspace.definitions.actions import Learned

Pair: TypeAlias = tuple[str, str]  # action, channel
_REFRESH_US = 60_000_000  # how long evidence may keep the weight of an earlier minute
_AWAY_US = 86_400_000_000  # after what time it is looked whether a model that was taken away is back
_EVER = 2**63 - 1


class Lesson(msgspec.Struct, frozen=True):
    """What a model makes of responses: states to be stored, and until when to wait for more (None: not)."""

    states: dict[str, bytes] = {}
    ends: int | None = None


def told(responses: Sequence[Answered], *, is_waiting: bool) -> bool | None:
    """Return what a model was last told of an action whose responses are known up to then."""
    return None if is_waiting else outcome(responses, _EVER, 0)


class Learning:
    """The adaptive models of one set of definitions, one for each action and channel that asks for one."""

    def __init__(self, decider: LiveDecider, stored: Mapping[str, bytes], at: int) -> None:
        """Take up the stored states; `at` is the instant, in microseconds."""
        self._decider = decider
        self._models = {pair: _model(decider, pair, stored) for pair in decider.adaptive}
        self._stored = dict(stored)
        self._waits = {pair: microseconds(model.layout.adaptive.wait) for pair, model in self._models.items()}
        self._places = {pair: place for place, pair in enumerate(decider.adaptive)}
        models = list(self._models.values())
        self._table = AdaptiveTable(models, decider.slots, at) if models else None

    def rates(self, values: Sequence[object], at: int) -> npt.NDArray[np.float64] | None:
        """Return the probability of each pair for a profile's values by slot; None where nothing learns."""
        if self._table is None:
            return None
        if at - self._table.at > _REFRESH_US:
            self._table.refresh(at)
        return self._table.rates(values)

    def case(self, place: int, values: Sequence[object], at: int) -> Case | None:
        """Return what a pair's model sees of a profile now, to be kept with the decision."""
        return None if self._table is None or place < 0 else self._table.case(place, values, at)

    def catch_up(self, stored: Mapping[str, bytes]) -> None:
        """Take up what others taught the stored models meanwhile: another process, or earlier definitions."""
        others = [pair for pair in self._models if stored.get(_name(pair)) != self._stored.get(_name(pair))]
        self._models.update((pair, _model(self._decider, pair, stored)) for pair in others)
        self._stored = dict(stored)
        if others and self._table is not None:
            self._table = AdaptiveTable(list(self._models.values()), self._decider.slots, self._table.at)

    def learn(self, case: Case, before: bool | None, responses: Sequence[Answered], now: int) -> Lesson:
        """Let a model take in what is known now of a shown action.

        Args:
            case: what the model saw.
            before: what it was told of this case.
            responses: all of them to this action of the decision, at least one.
            now: the instant, in microseconds.
        """
        pair = (responses[-1].action, responses[-1].channel)
        model = self._models.get(pair)
        if model is None:  # its definition may come back
            return Lesson(ends=now + _AWAY_US) if before is None else Lesson()
        known = outcome(responses, now, self._waits[pair])
        ends = time_out(responses, self._waits[pair]) if known is None else None
        if known is before:
            return Lesson(ends=ends)
        model.revise(case, before, known)
        if self._table is not None:
            self._table.update(self._places[pair])
        state = self._stored[_name(pair)] = model.to_bytes(now)
        return Lesson({_name(pair): state}, ends)


def _name(pair: Pair) -> str:
    return f"{pair[0]}/{pair[1]}"


def _model(decider: LiveDecider, pair: Pair, stored: Mapping[str, bytes]) -> AdaptiveModel:
    plan = next(action for action in decider.plan.actions if action.name == pair[0])
    definition = plan.definition.propensity
    assert isinstance(definition, Learned), "the decider names only pairs that learn"
    bins = {name: plain_bins(decider.plan.schema[name]) for name in definition.adaptive.features}
    layout = layout_of(definition.adaptive, bins)
    known = stored.get(_name(pair))
    if known is None:
        return AdaptiveModel(layout)
    try:
        return model_from(known, layout)
    except msgspec.DecodeError:  # damaged: what it had learned is lost, what it learns from now on is not
        return AdaptiveModel(layout)
