"""Bayesian logistic regression, online, whose answers can be taken back.

The posterior is Gaussian with full covariance (Laplace; Spiegelhalter & Lauritzen 1990, Networks 20; as the
online regression of Chapelle & Li 2011, NIPS, whose covariance is diagonal). Each answer's log-likelihood is
expanded to second order at what the model believed when it *decided*: with m its score then, p = σ(m) and
τ = p(1 − p), an answer y adds τ·x xᵀ to the precision and (τ·m + y − p)·x to the precision times the mean.

So an answer adds what its case alone says, and the state is a sum: a late answer that revises a no to a yes
adds x to the second sum, exactly, whatever came between; no pending labels, no replay. Sums are of whole
numbers, so nothing depends on the order. The price: an answer is weighed as it was seen then, not as it would
be seen now; what that costs fades with the number of answers, and with `half_life`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.models.adaptive.counts import period_of
from tilltal.models.adaptive.design import SCALE, design_of
from tilltal.models.adaptive.layout import Layout
from tilltal.models.adaptive.model import GRAIN, Case, Scoring, chance, score_of

_PER_HALF_LIFE, _HALVINGS = 2, 4  # coarser than counts: a period holds a matrix
_PERIODS_OF_COUNTS = 4  # of `period_of`, in a half-life
_UNIT = 2**20  # whole numbers per unit of p, τ and m
_SPREAD = 1.0  # standard deviation of each weight beforehand
_FARTHEST = 8.0  # log-odds: beyond, an expansion says nothing

Matrix: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]


class Sums(msgspec.Struct):
    """What the answers of one period add up to: yes, no, τ·x xᵀ, and (τ·m + y − p)·x."""

    yes: int
    no: int
    precision: Matrix
    pull: Matrix


class Stored(msgspec.Struct, frozen=True, array_like=True, tag="bayesian_logistic"):
    """The state as bytes: its layout, and by period yes, no, the lower triangle of a matrix, and a vector."""

    layout: str
    totals: list[tuple[int, int, int]]
    periods: list[tuple[int, int, int, list[int], list[int]]]


class BayesianLogistic:
    """A model of one action in one channel; `totals` are (yes, no) by period under earlier definitions."""

    __slots__ = ("_design", "_period", "_scoring", "_sums", "_totals", "layout")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._design = design_of(layout)
        self._sums: dict[int, Sums] = {}
        self._totals: dict[int, tuple[int, int]] = {}
        self._scoring: Scoring | None = None
        self._period = 0

    def learn(self, case: Case, label: bool, *, times: int = 1) -> None:
        """Add an answer at once; `times` −1 takes it back."""
        self._scoring = None
        period = self._period_of(case.at)
        if case.layout != self.layout.id:
            yes, no = self._totals.get(period, (0, 0))
            self._totals[period] = (yes + times * label, no + times * (not label))
            return
        sums = self._sums.setdefault(period, self._nothing())
        sums.yes += times * label
        sums.no += times * (not label)
        score = case.marks[0]
        p = 1 / (1 + math.exp(-score * GRAIN))
        curve, pull = round(_UNIT * p * (1 - p)), _UNIT * label - round(_UNIT * p)
        x = self._design.rows[list(case.cells)].sum(axis=0)
        sums.precision += (times * curve) * np.outer(x, x)
        sums.pull += times * (pull + (curve * score + _UNIT // 2) // _UNIT) * x

    def merge(self, other: BayesianLogistic) -> None:
        """Add what another model of the same layout has learned."""
        assert other.layout.id == self.layout.id
        for period, sums in other._sums.items():
            self._add(period, sums)
        for period, (yes, no) in other._totals.items():
            mine = self._totals.get(period, (0, 0))
            self._totals[period] = (mine[0] + yes, mine[1] + no)
        self._scoring = None

    def scoring(self, at: int) -> Scoring:
        """Return how it answers at an instant (microseconds)."""
        period = self._period_of(at)
        if self._scoring is None or self._period != period:
            self._scoring, self._period = self._fitted(period), period
        return self._scoring

    def answers(self, at: int) -> tuple[float, float]:
        """Return how many yes and no are known, as they weigh at an instant."""
        return self._answers(self._period_of(at))

    def case(self, values: Sequence[object], at: int) -> Case:
        """Return the case of a profile."""
        return self.answer(self.layout.cells(values), at)[1]

    def answer(self, cells: tuple[int, ...], at: int) -> tuple[float, Case]:
        """Return the probability of cells, and their case with the score."""
        scoring = self.scoring(at)
        score = score_of(scoring, cells)
        near = min(max(score, -_FARTHEST), _FARTHEST)
        return chance(scoring, self.layout, score), Case(
            self.layout.id, at, (0, *cells), (round(near / GRAIN),)
        )

    def to_bytes(self, at: int) -> bytes:
        """Return the state; what weighs nothing any more at an instant is left out."""
        now = self._period_of(at)
        lower = np.tril_indices(self._design.size)
        periods = [
            (period, sums.yes, sums.no, sums.precision[lower].tolist(), sums.pull.tolist())
            for period, sums in sorted(self._sums.items())
            if _weight(now, period) and (sums.yes or sums.no or sums.pull.any() or sums.precision.any())
        ]
        totals = [
            (period, yes, no)
            for period, (yes, no) in sorted(self._totals.items())
            if _weight(now, period) and (yes or no)
        ]
        return msgspec.msgpack.encode(Stored(self.layout.id, totals, periods))

    def load(self, stored: Stored) -> None:
        """Go on from a state. One of another definition begins anew, with its totals."""
        self._totals = {period: (yes, no) for period, yes, no in stored.totals}
        for period, yes, no, lower, pull in stored.periods:
            if stored.layout == self.layout.id:
                self._add(period, Sums(yes, no, _symmetric(lower, self._design.size), np.array(pull)))
            else:
                mine = self._totals.get(period, (0, 0))
                self._totals[period] = (mine[0] + yes, mine[1] + no)
        self._scoring = None

    def _period_of(self, at: int) -> int:
        return period_of(at, self.layout.half_life) * _PER_HALF_LIFE // _PERIODS_OF_COUNTS

    def _nothing(self) -> Sums:
        size = self._design.size
        return Sums(0, 0, np.zeros((size, size), dtype=np.int64), np.zeros(size, dtype=np.int64))

    def _add(self, period: int, sums: Sums) -> None:
        mine = self._sums.setdefault(period, self._nothing())
        mine.yes += sums.yes
        mine.no += sums.no
        mine.precision += sums.precision
        mine.pull += sums.pull

    def _answers(self, period: int) -> tuple[float, float]:
        known = [(each, sums.yes, sums.no) for each, sums in self._sums.items()]
        known += [(each, yes, no) for each, (yes, no) in self._totals.items()]
        return _weighed(period, known)

    def _fitted(self, period: int) -> Scoring:
        """Return the mean of the posterior as weights by cell."""
        size, adaptive = self._design.size, self.layout.adaptive
        elder_yes, elder_no = _weighed(period, [(each, *counts) for each, counts in self._totals.items()])
        weight = adaptive.evidence + elder_yes + elder_no
        base = (adaptive.evidence * adaptive.base_rate + elder_yes) / weight
        prior = np.full(size, _SPREAD**-2)
        prior[0] = weight * base * (1 - base)  # what so many answers tell of the constant
        precision, pull = np.diag(prior), np.zeros(size)
        pull[0] = prior[0] * math.log(base / (1 - base))
        for each, sums in sorted(self._sums.items()):
            share = _weight(period, each)
            precision += share * sums.precision / (_UNIT * SCALE**2)
            pull += share * sums.pull / (_UNIT * SCALE)
        mean = np.linalg.solve(precision, pull)
        weights = np.rint(self._design.rows @ mean / (SCALE * GRAIN)) * GRAIN
        cells: list[float] = weights.tolist()
        evidence = self._evidence(precision, prior, base * (1 - base), sum(self._answers(period)))
        return Scoring(cells[0], (0.0, *cells[1:]), (evidence,))

    def _evidence(self, precision: Floats, prior: Floats, curve: float, answers: float) -> float:
        """Return how many answers would leave as much doubt about a rate: 1 / (τ · mean variance of scores).

        The mean is over the profiles that were seen and one of which nothing is known (its τ is `curve`):
        tr(precision⁻¹ · Σ τ x xᵀ) / Σ τ.
        """
        variances = np.diag(np.linalg.inv(precision))
        spread = self._design.size + float(variances @ (curve * self._design.squares - prior))
        return (answers + 1) / spread


def _weight(now: int, period: int) -> float:
    """Return what an answer of a period weighs: half for each half-life of age, then nothing."""
    age = max(now - period, 0) / _PER_HALF_LIFE
    return 0.5**age if age <= _HALVINGS else 0.0


def _weighed(now: int, known: Iterable[tuple[int, int, int]]) -> tuple[float, float]:
    """Return yes and no of periods as they weigh now; a count below 0 (lost, then revised) is none."""
    weighed = [(_weight(now, period), yes, no) for period, yes, no in known]
    return (
        max(math.fsum(share * yes for share, yes, _ in weighed), 0.0),
        max(math.fsum(share * no for share, _, no in weighed), 0.0),
    )


def _symmetric(lower: Sequence[int], size: int) -> Matrix:
    matrix = np.zeros((size, size), dtype=np.int64)
    matrix[np.tril_indices(size)] = lower
    return matrix + np.tril(matrix, -1).T
