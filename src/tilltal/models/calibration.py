"""Calibration: from a model's log-odds to a probability that comes true as often as it says.

Platt: σ(a·s + b) with smoothed targets (Platt 1999, "Probabilistic outputs for support vector machines";
Newton's method as Lin, Lin & Weng 2007). Isotonic: the non-decreasing step function of least squares by pool
adjacent violators (Zadrozny & Elkan 2002, KDD), joined by straight lines. Both stay strictly within (0, 1).
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import expit

Vector = NDArray[np.float64]
Labels = NDArray[np.bool_]

ISOTONIC_POSITIVES = 100  # fewer, and the steps are noise: Niculescu-Mizil & Caruana 2005, ICML, figure 7
_TINY = 1e-9


class Platt(msgspec.Struct, frozen=True, tag="platt"):
    """σ(slope · score + intercept); slope 1 and intercept 0 leave the model's own probability."""

    slope: float = 1.0
    intercept: float = 0.0

    def probability(self, scores: Vector) -> Vector:
        """Return probabilities for log-odds."""
        return _inside(expit(self.slope * scores + self.intercept))


class Isotonic(msgspec.Struct, frozen=True, tag="isotonic"):
    """A non-decreasing line through (scores, probabilities), flat beyond its ends."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def probability(self, scores: Vector) -> Vector:
        """Return probabilities for log-odds."""
        return _inside(np.interp(scores, self.scores, self.probabilities))


Calibrator = Platt | Isotonic


def fit_calibrator(
    scores: Vector, labels: Labels, method: Literal["isotonic", "platt", "none"]
) -> Calibrator:
    """Fit on rows the model has not learned from; isotonic falls back to Platt where positives are few."""
    positives = int(labels.sum())
    if method == "none" or positives == 0 or positives == len(labels):
        return Platt()
    if method == "isotonic" and positives >= ISOTONIC_POSITIVES:
        return fit_isotonic(scores, labels)
    return fit_platt(scores, labels)


def fit_platt(scores: Vector, labels: Labels) -> Platt:
    """Fit slope and intercept by Newton's method.

    >>> rng = np.random.default_rng(7)
    >>> score = rng.normal(size=50_000)
    >>> label = rng.random(50_000) < expit(0.5 * score - 1)
    >>> fitted = fit_platt(score, label)
    >>> round(fitted.slope, 1), round(fitted.intercept, 1)
    (0.5, -1.0)
    """
    targets = _platt_targets(labels)
    design = np.column_stack([scores, np.ones_like(scores)])
    mean = float(targets.mean())
    theta = np.array([0.0, np.log(mean / (1 - mean))])
    loss = _loss(design @ theta, targets)
    for _ in range(50):
        theta, new = _newton_step(theta, loss, design, targets)
        if loss - new < 1e-10 * max(loss, 1.0):
            break
        loss = new
    return Platt(float(theta[0]), float(theta[1]))


def fit_isotonic(scores: Vector, labels: Labels) -> Isotonic:
    """Fit steps by pool adjacent violators.

    The lowest and the highest block answer (0.5 + positives) / (1 + rows), so that no finite sample says
    "never" or "always".

    >>> fit_isotonic(np.array([1.0, 2, 3, 4]), np.array([False, True, False, True])).probabilities
    (0.25, 0.5, 0.5, 0.75)
    """
    levels, inverse, rows = np.unique(scores, return_inverse=True, return_counts=True)
    rates = np.bincount(inverse, weights=labels) / rows
    fit = isotonic_regression(rates, weights=rows)
    blocks = np.asarray(fit.blocks)
    first, last = blocks[:-1], blocks[1:] - 1
    values = _open_ends(np.asarray(fit.x, dtype=np.float64)[first], np.add.reduceat(rows, first))
    ends = np.column_stack([first, last]).ravel()
    keep = np.concatenate([[True], np.diff(ends) > 0])  # a block of one level has one end
    return Isotonic(tuple(levels[ends[keep]].tolist()), tuple(np.repeat(values, 2)[keep].tolist()))


def _open_ends(rates: Vector, rows: NDArray[np.int64]) -> Vector:
    """Lift 0 and lower 1 at the ends by half a customer, never past the neighbouring step."""
    smooth = (0.5 + rates * rows) / (1 + rows)
    out = rates.copy()
    if rates[0] == 0:
        out[0] = min(smooth[0], *rates[1:2], 1.0)
    if rates[-1] == 1:
        out[-1] = max(smooth[-1], *rates[-2:-1], 0.0)
    return out


def _platt_targets(labels: Labels) -> Vector:
    """Platt's targets: (positives + 1) / (positives + 2) for a yes, 1 / (negatives + 2) for a no."""
    yes = float(labels.sum())
    no = len(labels) - yes
    return np.where(labels, (yes + 1) / (yes + 2), 1 / (no + 2))


def _newton_step(theta: Vector, loss: float, design: Vector, targets: Vector) -> tuple[Vector, float]:
    """One step, halved until the loss falls; the same point where it cannot fall any more."""
    p = expit(design @ theta)
    gradient = design.T @ (p - targets)
    curvature = (design * (p * (1 - p))[:, None]).T @ design + _TINY * np.eye(2)
    step = np.linalg.solve(curvature, gradient)
    for _ in range(20):
        tried = theta - step
        new = _loss(design @ tried, targets)
        if new < loss:
            return tried, new
        step = step / 2
    return theta, loss


def _loss(scores: Vector, targets: Vector) -> float:
    """Log loss for fractional targets."""
    return float(np.sum(np.logaddexp(0.0, scores) - targets * scores))


def _inside(probability: Vector) -> Vector:
    return np.clip(probability, _TINY, 1 - _TINY)
