"""What every adaptive method offers: one model per action and channel, taught by each response.

A method's state is a sum of what each answer says, in whole numbers. So an answer is taken back exactly when
a later one revises it, states merge, and the order of responses means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import msgspec

from tilltal.models.adaptive.layout import Layout

GRAIN = 2.0**-20  # weights are whole multiples of it: their sums are exact, in whatever order


class Case(msgspec.Struct, frozen=True, array_like=True):
    """What a model saw when it gave its probability: kept with the decision until the answer is known.

    `at` is the decision's instant in microseconds; `cells` are those of `layout` in which the answer counts;
    `marks` are whole numbers of the method's own, such as what it believed then.
    """

    layout: str
    at: int
    cells: tuple[int, ...]
    marks: tuple[int, ...] = ()


class Scoring(msgspec.Struct, frozen=True):
    """How a model answers at an instant: score = `start` + Σ `weights` of the profile's cells, in log-odds.

    With `steps` the probability is that of the score's band, else 1 / (1 + e^−score). `evidence` says how
    many answers stand behind it: one number, or with steps one a band.
    """

    start: float
    weights: tuple[float, ...]
    evidence: tuple[float, ...]
    steps: tuple[float, ...] = ()


class AdaptiveModel(Protocol):
    """A model of one action in one channel, by whichever method."""

    @property
    def layout(self) -> Layout:
        """Where counts lie."""

    def learn(self, case: Case, label: bool, *, times: int = 1) -> None:
        """Take in an answer at once; `times` −1 takes it back.

        A case of an earlier definition counts in the total alone.
        """

    def scoring(self, at: int) -> Scoring:
        """Return how it answers at an instant (microseconds)."""

    def answers(self, at: int) -> tuple[float, float]:
        """Return how many yes and no are known, as they weigh at an instant."""

    def case(self, values: Sequence[object], at: int) -> Case:
        """Return the case of a profile: `values` are those of the features, in order, None for NULL."""

    def answer(self, cells: tuple[int, ...], at: int) -> tuple[float, Case]:
        """Return the probability of a yes for a profile by its cells in the layout, and its case."""

    def to_bytes(self, at: int) -> bytes:
        """Return the state; what weighs nothing any more at an instant is left out."""


def revise(model: AdaptiveModel, case: Case, before: bool | None, after: bool | None) -> None:
    """Take the earlier label of a case back and teach the later one; None: no label."""
    if before is after:
        return
    if before is not None:
        model.learn(case, before, times=-1)
    if after is not None:
        model.learn(case, after)


def probability(model: AdaptiveModel, values: Sequence[object], at: int) -> float:
    """Return the probability of a yes for a profile's values, in the order of the features."""
    scoring = model.scoring(at)
    return chance(scoring, model.layout, score_of(scoring, model.layout.cells(values)))


def score_of(scoring: Scoring, cells: Sequence[int]) -> float:
    """Return the score of a profile's cells, in log-odds."""
    score, weights = scoring.start, scoring.weights
    for cell in cells:
        score += weights[cell]
    return score


def chance(scoring: Scoring, layout: Layout, score: float) -> float:
    """Return the probability of a score."""
    if scoring.steps:
        return scoring.steps[layout.band(score)]
    return 1 / (1 + math.exp(-score)) if score > -700 else 0.0
