"""Which predictors a model listens to: those that tell answers apart, and one of each correlated group.

Univariate AUC over a predictor's groups, ordered by their rates, less what chance gives; the best predictors
first, and none whose evidence correlates with that of one already chosen (as decisioning suites document
it).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

LEAST_AUC = 0.52
MOST_CORRELATION = 0.8
_FEWEST = 200  # cases before a correlation is believed


class Choice(msgspec.Struct, frozen=True):
    """Whether a predictor is listened to; `like` is the place of the better one it correlates with."""

    is_active: bool
    auc: float
    like: int | None = None


def area_of_groups(yes: Sequence[float], no: Sequence[float]) -> float:
    """Return the AUC of groups put in the order of their rates; 0.5 where only one answer occurs.

    >>> area_of_groups([1, 3], [9, 7])
    0.65625
    """
    positives, negatives = sum(yes), sum(no)
    if not positives or not negatives:
        return 0.5
    pairs = sorted(zip(yes, no, strict=True), key=_rate, reverse=True)
    area, above = 0.0, 0.0
    for y, n in pairs:  # the highest rate first
        area += n * (above + y / 2)
        above += y
    return area / (positives * negatives)


def by_chance(yes: Sequence[float], no: Sequence[float]) -> float:
    """Return by how much the AUC of groups that say nothing exceeds 0.5, since rates put them in order.

    Half the sum over pairs of √(2/π) · √(w_g w_h (w_g + w_h) (1/P + 1/N)), w the groups' shares: the mean of
    |p_g q_h − p_h q_g|, nearly normal, where positives p and negatives q lie in them alike.

    >>> round(by_chance([250.0] * 4, [1250.0] * 4), 3)
    0.015
    """
    positives, negatives = sum(yes), sum(no)
    if not positives or not negatives:
        return 0.0
    shares = (np.array(yes) + np.array(no)) / (positives + negatives)
    spread = np.outer(shares, shares) * np.add.outer(shares, shares)
    pairs = float(np.sqrt(spread).sum() - np.sqrt(2 * shares**3).sum()) / 2
    return pairs * math.sqrt(2 / math.pi * (1 / positives + 1 / negatives)) / 2


def choose(
    areas: Sequence[float], excess: Sequence[float], correlation: npt.NDArray[np.float64]
) -> list[Choice]:
    """Return the choice for each predictor.

    Args:
        areas: their univariate AUC.
        excess: how much of it is chance.
        correlation: of their evidence, (predictors, predictors).

    >>> alike = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])
    >>> [each.is_active for each in choose([0.6, 0.7, 0.53], [0.0, 0.0, 0.02], alike)]
    [False, True, False]
    """
    chosen: list[int] = []
    found: dict[int, Choice] = {}
    for place in sorted(range(len(areas)), key=lambda each: (-areas[each], each)):
        like = next((other for other in chosen if abs(correlation[place, other]) > MOST_CORRELATION), None)
        is_active = like is None and areas[place] - excess[place] >= LEAST_AUC
        if is_active:
            chosen.append(place)
        found[place] = Choice(is_active, areas[place], like)
    return [found[place] for place in range(len(areas))]


def correlation_of(moments: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return correlations from sums of products of (1, x₁, ..., x_k); 0 while cases are few.

    Args:
        moments: (k + 1, k + 1), symmetric; the first number is how many cases there are.
    """
    size = len(moments) - 1
    cases = int(moments[0, 0])
    if cases < _FEWEST:
        return np.eye(size)
    sums = moments[0, 1:].astype(np.float64)
    covariance = moments[1:, 1:] - np.outer(sums, sums) / cases
    spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    scale = np.outer(spread, spread)
    correlation: npt.NDArray[np.float64] = np.where(scale > 1e-9, covariance / np.maximum(scale, 1e-9), 0.0)
    return correlation


def _rate(pair: tuple[float, float]) -> float:
    return pair[0] / (pair[0] + pair[1] or 1.0)
