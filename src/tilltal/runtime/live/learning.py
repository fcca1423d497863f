"""Adaptive models while they serve: kept in memory, taught by responses, stored with them.

A response counts in the transaction that stores it, and in the next decision. What a model saw is kept with
the decision, so a late or repeated answer revises exactly what the first one counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from tilltal.core.operational import Answered
from tilltal.decisions.live import LiveDecider
from tilltal.models.adaptive.bins import plain_bins
from tilltal.models.adaptive.layout import layout_of, microseconds
from tilltal.models.adaptive.model import AdaptiveModel, Case, model_from
from tilltal.models.adaptive.outcomes import outcome
from tilltal.models.adaptive.table import AdaptiveTable
from tilltal.workspace.definitions.actions import Learned

Pair: TypeAlias = tuple[str, str]  # action, channel
_REFRESH_US = 60_000_000  # how long evidence may keep the weight of an earlier minute


class Learning:
    """The adaptive models of one set of definitions, one for each action and channel that asks for one."""

    def __init__(self, decider: LiveDecider, stored: Mapping[str, bytes], at: int) -> None:
        """Take up the stored states; `at` is the instant, in microseconds."""
        self._models = {pair: _model(decider, pair, stored) for pair in decider.adaptive}
        self._waits = {pair: microseconds(model.layout.adaptive.wait) for pair, model in self._models.items()}
        self._places = {pair: place for place, pair in enumerate(decider.adaptive)}
        models = list(self._models.values())
        self._table = AdaptiveTable(models, decider.slots, at) if models else None

    def rates(self, values: Sequence[object], at: int) -> Sequence[float] | None:
        """Return the probability of each pair for a profile's values by slot; None where nothing learns."""
        if self._table is None:
            return None
        if at - self._table.at > _REFRESH_US:
            self._table.refresh(at)
        return [float(rate) for rate in self._table.rates(values)]

    def case(self, place: int, values: Sequence[object], at: int) -> Case | None:
        """Return what a pair's model sees of a profile now, to be kept with the decision."""
        return None if self._table is None or place < 0 else self._table.case(place, values, at)

    def learn(
        self, case: Case, before: Sequence[Answered], after: Sequence[Answered], now: int
    ) -> dict[str, bytes]:
        """Let a model take a response in, given the shown action's responses before and with it.

        Returns:
            The states to be stored: name → bytes.
        """
        pair = (after[-1].action, after[-1].channel)
        model = self._models.get(pair)
        if model is None:
            return {}
        wait = self._waits[pair]
        model.revise(case, outcome(before, now, wait) if before else None, outcome(after, now, wait))
        if self._table is not None:
            self._table.update(self._places[pair])
        return {_name(pair): model.to_bytes(now)}


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
