"""From counts to evidence: naive Bayes on groups of bins, as decisioning suites document it.

A predictor with n groups; pos, neg of a group; Σ over its groups:
contribution = ln(pos + 1/n) − ln(neg + 1/n) − ln(1 + Σpos) + ln(1 + Σneg). With P, N of all answers:
score = [ln(1 + P) − ln(1 + N) + Σ contributions of active predictors] / (1 + number of active predictors).

Bands hold Σ contributions alone: the rest of the score is the same for everybody, so the order is the same,
and an average profile stays in its band while the rate of all moves. (Hand & Yu 2001, "Idiot's Bayes — not so
stupid after all?", on why it works although predictors are no strangers to each other.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.models.adaptive.bins import Borders
from tilltal.models.adaptive.counts import Floats
from tilltal.models.adaptive.grouping import grouped, least_mass
from tilltal.models.adaptive.layout import Layout
from tilltal.models.adaptive.model import GRAIN, Scoring
from tilltal.models.adaptive.monotone import Prior, pools
from tilltal.models.adaptive.selection import Choice, area_of_groups, by_chance, choose, correlation_of


class Predictor(msgspec.Struct, frozen=True):
    """A predictor: the group of each of its bins (−1: silent), answers and contribution by group."""

    places: tuple[int, ...]
    yes: tuple[float, ...]
    no: tuple[float, ...]
    contributions: tuple[float, ...]


class Evidence(msgspec.Struct, frozen=True):
    """What counts say: predictors with their choices, and how the model answers.

    `contributions` are those of all cells, of predictors that are not active, too.
    """

    yes: float
    no: float
    predictors: tuple[Predictor, ...]
    choices: tuple[Choice, ...]
    contributions: tuple[float, ...]
    scoring: Scoring

    def score(self, total: float) -> float:
        """Return the documented score of a profile, from the sum of its active contributions."""
        active = sum(choice.is_active for choice in self.choices)
        return (math.log(1 + self.yes) - math.log(1 + self.no) + total) / (1 + active)


def contributions(yes: Sequence[float], no: Sequence[float]) -> tuple[float, ...]:
    """Return the contribution of each group of a predictor.

    >>> [round(each, 4) for each in contributions([3, 1], [5, 11])]
    [0.7718, -0.8131]
    """
    n = len(yes)
    base = math.log(1 + sum(no)) - math.log(1 + sum(yes))
    return tuple(math.log(y + 1 / n) - math.log(m + 1 / n) + base for y, m in zip(yes, no, strict=True))


def weigh(counts: Floats, moments: npt.NDArray[np.int64], layout: Layout) -> Evidence:
    """Return the evidence in counts by cell; a count below 0 (a label of lost counts, revised) is none.

    Args:
        counts: yes and no by cell of the layout, (2, cells).
        moments: sums of products of (1, contribution of each predictor), as cases were decided.
        layout: where counts lie.
    """
    counts = np.maximum(counts, 0.0)
    yes, no = counts[:, 0].tolist()
    least = least_mass(yes, no)
    predictors = tuple(
        _predictor(counts[:, start : start + bins.size], least, is_ordered=isinstance(bins, Borders))
        for start, bins in zip(layout.starts, layout.bins, strict=True)
    )
    areas = [area_of_groups(each.yes, each.no) for each in predictors]
    excess = [by_chance(each.yes, each.no) for each in predictors]
    choices = tuple(choose(areas, excess, correlation_of(moments)))
    known, active = [0.0], [0.0]
    for predictor, choice in zip(predictors, choices, strict=True):
        by_group = (*predictor.contributions, 0.0)  # the last is that of silent bins, whose group is −1
        cells = [by_group[place] for place in predictor.places]
        known += cells
        active += cells if choice.is_active else [0.0] * len(cells)
    scoring = _calibrated(tuple(active), counts, layout, least)
    return Evidence(yes, no, predictors, choices, tuple(known), scoring)


def _predictor(counts: Floats, least: float, *, is_ordered: bool) -> Predictor:
    places, size = grouped(counts.sum(axis=0).tolist(), least, is_ordered=is_ordered)
    groups = np.array(places) + 1
    yes, no = (np.bincount(groups, row, size + 1)[1:].tolist() for row in counts)
    found = tuple([round(each / GRAIN) * GRAIN for each in contributions(yes, no)])
    return Predictor(tuple(places), tuple(yes), tuple(no), found)


def _calibrated(weights: tuple[float, ...], counts: Floats, layout: Layout, least: float) -> Scoring:
    """Give each band its pool's probability; answers of earlier definitions lie in no band and are prior."""
    adaptive, bands = layout.adaptive, counts[:, layout.first_band :]
    elder_yes, elder_no = np.maximum(counts[:, 0] - bands.sum(axis=1), 0.0).tolist()
    weight = adaptive.evidence + elder_yes + elder_no
    prior = Prior((adaptive.evidence * adaptive.base_rate + elder_yes) / weight, weight)
    steps: list[float] = []
    evidence: list[float] = []
    for pool in pools(bands[0].tolist(), bands[1].tolist(), prior, least):
        width = pool.last + 1 - len(steps)
        steps += [pool.probability(prior.base)] * width
        evidence += [pool.answers] * width
    return Scoring(0.0, weights, tuple(evidence), tuple(steps))
