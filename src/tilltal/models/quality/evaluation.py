"""Evaluation: how well a score separates those who will from those who will not.

AUC with its interval by DeLong, DeLong & Clarke-Pearson 1988 (Biometrics 44), computed from mid-ranks as Sun
and Xu 2014 (IEEE Signal Processing Letters 21). Average precision: the area under precision and recall as a
sum over the ranks, ties taken together. Lift: a tenth's rate of positives over everybody's.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from tilltal.models.calibration import Labels, Vector
from tilltal.models.quality.reliability import (
    ReliabilityBin,
    brier,
    ece_by_chance,
    expected_calibration_error,
    reliability,
)


class Auc(msgspec.Struct, frozen=True):
    """Area under the ROC curve with its 95 % interval; NaN where only one answer occurs."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


class Tenth(msgspec.Struct, frozen=True):
    """A tenth of the customers by score, the highest first; `gain` is the share of all positives so far."""

    rows: int
    positives: int
    lift: float
    gain: float


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """A model's quality on one slice; calibration before (`raw`) and after; `expected` is the mean said."""

    rows: int
    positives: int
    expected: float
    auc: Auc
    average_precision: float
    log_loss: float
    brier: float
    ece_raw: float
    ece: float
    ece_by_chance: float
    tenths: tuple[Tenth, ...]
    reliability_raw: tuple[ReliabilityBin, ...]
    reliability: tuple[ReliabilityBin, ...]

    @property
    def base_rate(self) -> float:
        """Share of positives."""
        return self.positives / max(self.rows, 1)


def evaluate(raw: Vector, probability: Vector, labels: Labels) -> Evaluation:
    """Measure calibrated probabilities, and the uncalibrated beside them."""
    return Evaluation(
        rows=len(labels),
        positives=int(labels.sum()),
        expected=float(probability.mean()),
        auc=auc(raw, labels),
        average_precision=average_precision(raw, labels),
        log_loss=log_loss(probability, labels),
        brier=brier(probability, labels),
        ece_raw=expected_calibration_error(raw, labels),
        ece=expected_calibration_error(probability, labels),
        ece_by_chance=ece_by_chance(probability),
        tenths=tenths(raw, labels),
        reliability_raw=reliability(raw, labels),
        reliability=reliability(probability, labels),
    )


def auc(score: Vector, labels: Labels) -> Auc:
    """Return the AUC with DeLong's interval.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])).value
    0.75
    """
    yes, no = score[labels], score[~labels]
    if len(yes) == 0 or len(no) == 0:
        return Auc(float("nan"), float("nan"), float("nan"))
    ranks = rankdata(np.concatenate([yes, no]))
    placed_yes = (ranks[: len(yes)] - rankdata(yes)) / len(no)
    placed_no = 1 - (ranks[len(yes) :] - rankdata(no)) / len(yes)
    value = float(placed_yes.mean())
    variance = _variance(placed_yes) / len(yes) + _variance(placed_no) / len(no)
    half = float(norm.ppf(0.975) * np.sqrt(variance))
    return Auc(value, max(value - half, 0.0), min(value + half, 1.0))


def area(score: Vector | NDArray[np.float32], labels: Labels) -> float:
    """Return the AUC alone, by one ranking (Mann & Whitney 1947); NaN where only one answer occurs."""
    yes = int(labels.sum())
    no = len(labels) - yes
    if yes == 0 or no == 0:
        return float("nan")
    return float((rankdata(score)[labels].sum() - yes * (yes + 1) / 2) / (yes * no))


def average_precision(score: Vector, labels: Labels) -> float:
    """Return Σ (recall_i − recall_{i−1}) · precision_i over the distinct scores from the highest down.

    >>> round(average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True])), 3)
    0.833
    """
    order = np.argsort(-score, kind="stable")
    hits, seen = np.cumsum(labels[order]), np.arange(1, len(score) + 1)
    last = np.append(np.diff(score[order]) != 0, True)  # ties count together
    recall = hits[last] / max(int(hits[-1]), 1)
    return float(np.sum(np.diff(recall, prepend=0.0) * hits[last] / seen[last]))


def log_loss(probability: Vector, labels: Labels) -> float:
    """Return the mean of −ln(probability given to what happened)."""
    return float(-np.mean(np.log(np.where(labels, probability, 1 - probability))))


def tenths(score: Vector, labels: Labels) -> tuple[Tenth, ...]:
    """Return the customers in ten parts by score, highest first, with lift and cumulative gain."""
    order = np.argsort(-score, kind="stable")
    parts = [labels[part] for part in np.array_split(order, 10) if len(part)]
    total, rate, found, result = max(int(labels.sum()), 1), max(float(labels.mean()), 1e-12), 0, []
    for part in parts:
        found += int(part.sum())
        result.append(Tenth(len(part), int(part.sum()), float(part.mean()) / rate, found / total))
    return tuple(result)


def _variance(values: Vector) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0
