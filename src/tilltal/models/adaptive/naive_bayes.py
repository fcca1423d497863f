"""Naive Bayes by counts, monotonely calibrated; `evidence` says how counts become a probability."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.models.adaptive.counts import Counts, first_remembered, period_of
from tilltal.models.adaptive.evidence import Evidence, weigh
from tilltal.models.adaptive.layout import Layout
from tilltal.models.adaptive.model import Case, Scoring, score_of

_MARK = 16  # marks are sixteenths of log-odds


class Stored(msgspec.Struct, frozen=True, array_like=True, tag="naive_bayes"):
    """The state as bytes: the layout it belongs to, totals of yes and no by period, cells, and moments."""

    layout: str
    totals: list[tuple[int, int, int]]
    periods: list[tuple[int, list[int], list[int]]]
    moments: list[int] = []


class NaiveBayes:
    """A model of one action in one channel.

    `counts` are those of the layout's cells, `totals` those of cases under earlier definitions, `moments`
    sums of products of (1, contribution of each predictor) as cases were decided: whole numbers all.
    """

    __slots__ = ("_counts", "_evidence", "_moments", "_period", "_totals", "layout")

    def __init__(
        self,
        layout: Layout,
        counts: Counts | None = None,
        totals: Counts | None = None,
        moments: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.layout = layout
        size = len(layout.starts) + 1
        self._counts = counts or Counts(layout.size)
        self._totals = totals or Counts(1)
        self._moments = np.zeros((size, size), dtype=np.int64) if moments is None else moments
        self._evidence: Evidence | None = None
        self._period = 0

    def learn(self, case: Case, label: bool, *, times: int = 1) -> None:
        """Count an answer at once; `times` −1 takes it back."""
        period = period_of(case.at, self.layout.half_life)
        if case.layout == self.layout.id:
            self._counts.add(case.cells, period, is_yes=label, times=times)
            seen = np.array((1, *case.marks), dtype=np.int64)
            self._moments += times * np.outer(seen, seen)
        else:
            self._totals.add((0,), period, is_yes=label, times=times)
        self._evidence = None

    def merge(self, other: NaiveBayes) -> None:
        """Add what another model of the same layout has learned."""
        assert other.layout.id == self.layout.id
        self._counts.merge(other._counts)
        self._totals.merge(other._totals)
        self._moments += other._moments
        self._evidence = None

    def evidence(self, at: int) -> Evidence:
        """Return the evidence as it weighs at an instant (microseconds)."""
        period = period_of(at, self.layout.half_life)
        if self._evidence is None or self._period != period:
            counts = self._counts.weighted(period)
            counts[:, 0] += self._totals.weighted(period)[:, 0]
            self._evidence, self._period = weigh(counts, self._moments, self.layout), period
        return self._evidence

    def scoring(self, at: int) -> Scoring:
        """Return how it answers at an instant (microseconds)."""
        return self.evidence(at).scoring

    def answers(self, at: int) -> tuple[float, float]:
        """Return how many yes and no are known, as they weigh at an instant."""
        evidence = self.evidence(at)
        return evidence.yes, evidence.no

    def case(self, values: Sequence[object], at: int) -> Case:
        """Return the case of a profile."""
        return self.answer(self.layout.cells(values), at)[1]

    def answer(self, cells: tuple[int, ...], at: int) -> tuple[float, Case]:
        """Return the probability of cells, and their case: the band, and what each predictor contributed."""
        layout, evidence = self.layout, self.evidence(at)
        scoring, contributions = evidence.scoring, evidence.contributions
        band = layout.band(score_of(scoring, cells))
        marks = tuple([round(_MARK * contributions[cell]) for cell in cells])
        return scoring.steps[band], Case(layout.id, at, (0, *cells, layout.first_band + band), marks)

    def to_bytes(self, at: int) -> bytes:
        """Return the state; what weighs nothing any more at an instant is left out."""
        since = first_remembered(period_of(at, self.layout.half_life))
        totals = [(period, yes[0], no[0]) for period, yes, no in self._totals.periods(since)]
        moments: list[int] = self._moments[np.tril_indices(len(self._moments))].tolist()
        return msgspec.msgpack.encode(
            Stored(self.layout.id, totals, self._counts.periods(since), moments if any(moments) else [])
        )


def naive_bayes_from(stored: Stored, layout: Layout) -> NaiveBayes:
    """Go on from a state. One of another definition begins anew, with its totals."""
    totals = Counts(1, [(period, [yes], [no]) for period, yes, no in stored.totals])
    if stored.layout != layout.id:
        totals.merge(Counts(1, [(period, yes[:1], no[:1]) for period, yes, no in stored.periods]))
        return NaiveBayes(layout, None, totals)
    size = len(layout.starts) + 1
    moments = np.zeros((size, size), dtype=np.int64)
    if stored.moments:
        moments[np.tril_indices(size)] = stored.moments
        moments = np.tril(moments) + np.tril(moments, -1).T
    return NaiveBayes(layout, Counts(layout.size, stored.periods), totals, moments)
