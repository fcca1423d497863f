"""An adaptive propensity: one model per action and channel, taught by each response.

The state is counts of yes and no, so that an answer is taken back exactly when a later one revises it, states
merge, and the order of responses means nothing. `evidence` says how counts become a probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from tilltal.models.adaptive.counts import Counts, Stored, first_remembered, period_of
from tilltal.models.adaptive.evidence import Evidence, weigh
from tilltal.models.adaptive.layout import Layout


class Case(msgspec.Struct, frozen=True, array_like=True):
    """What a model saw when it gave its probability: kept with the decision until the answer is known.

    `at` is the decision's instant in microseconds; `cells` are those of `layout` in which the answer counts.
    """

    layout: str
    at: int
    cells: tuple[int, ...]


class AdaptiveModel:
    """A model of one action in one channel.

    `counts` are those of the layout's cells, `totals` those of cases under earlier definitions.
    """

    __slots__ = ("_counts", "_evidence", "_period", "_totals", "layout")

    def __init__(self, layout: Layout, counts: Counts | None = None, totals: Counts | None = None) -> None:
        self.layout = layout
        self._counts = counts or Counts(layout.size)
        self._totals = totals or Counts(1)
        self._evidence: Evidence | None = None
        self._period = 0

    def learn(self, case: Case, label: bool, *, times: int = 1) -> None:
        """Count an answer at once. A case of an earlier definition counts in the total alone."""
        period = period_of(case.at, self.layout.half_life)
        if case.layout == self.layout.id:
            self._counts.add(case.cells, period, is_yes=label, times=times)
        else:
            self._totals.add((0,), period, is_yes=label, times=times)
        self._evidence = None

    def revise(self, case: Case, before: bool | None, after: bool | None) -> None:
        """Take the earlier label of a case back and count the later one; None: no label."""
        if before is after:
            return
        if before is not None:
            self.learn(case, before, times=-1)
        if after is not None:
            self.learn(case, after)

    def merge(self, other: AdaptiveModel) -> None:
        """Add what another model of the same layout has learned."""
        assert other.layout.id == self.layout.id
        self._counts.merge(other._counts)
        self._totals.merge(other._totals)
        self._evidence = None

    def evidence(self, at: int) -> Evidence:
        """Return the evidence as it weighs at an instant (microseconds)."""
        period = period_of(at, self.layout.half_life)
        if self._evidence is None or self._period != period:
            yes, no = self._counts.weighted(period)
            old_yes, old_no = self._totals.weighted(period)
            yes[0] += old_yes[0]
            no[0] += old_no[0]
            self._evidence, self._period = weigh(yes, no, self.layout), period
        return self._evidence

    def answers(self, at: int) -> tuple[float, float]:
        """Return how many yes and no are known, as they weigh at an instant."""
        period = period_of(at, self.layout.half_life)
        (yes, no), (old_yes, old_no) = self._counts.weighted(period), self._totals.weighted(period)
        return yes[0] + old_yes[0], no[0] + old_no[0]

    def case(self, values: Sequence[object], at: int) -> Case:
        """Return the case of a profile: `values` are those of the features, in order, None for NULL."""
        cells = [
            start + bins.of(value)
            for start, bins, value in zip(self.layout.starts, self.layout.bins, values, strict=True)
        ]
        known = self.evidence(at).cells
        band = self.layout.band(math.fsum(known[cell] for cell in cells))
        return Case(self.layout.id, at, (0, *cells, band))

    def probability(self, values: Sequence[object], at: int) -> float:
        """Return the probability of a yes for a profile at an instant."""
        evidence = self.evidence(at)
        cells = self.case(values, at).cells[1:-1]
        odds = evidence.intercept + evidence.slope * math.fsum(evidence.cells[cell] for cell in cells)
        return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0

    def to_bytes(self, at: int) -> bytes:
        """Return the state; what weighs nothing any more at an instant is left out."""
        since = first_remembered(period_of(at, self.layout.half_life))
        totals = [(period, yes[0], no[0]) for period, yes, no in self._totals.periods(since)]
        return msgspec.msgpack.encode(Stored(self.layout.id, totals, self._counts.periods(since)))


def model_from(data: bytes, layout: Layout) -> AdaptiveModel:
    """Read a state. One of another definition begins anew, with its totals.

    Raises:
        msgspec.DecodeError: if the bytes are no state.
    """
    stored = msgspec.msgpack.decode(data, type=Stored)
    totals = Counts(1, [(period, [yes], [no]) for period, yes, no in stored.totals])
    if stored.layout == layout.id:
        return AdaptiveModel(layout, Counts(layout.size, stored.periods), totals)
    totals.merge(Counts(1, [(period, yes[:1], no[:1]) for period, yes, no in stored.periods]))
    return AdaptiveModel(layout, None, totals)
