"""Reliability: do probabilities come true as often as they say?

Expected calibration error over bins of equal mass: Σ (n_b / n) · |mean outcome_b − mean probability_b|
(Naeini, Cooper & Hauskrecht 2015, AAAI; equal mass as Nixon et al. 2019). Brier score: mean (p − y)²
(Brier 1950). A perfect model has an ECE above zero too, by chance; `ece_by_chance` says how much.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from tilltal.models.calibration import Labels, Vector


class ReliabilityBin(msgspec.Struct, frozen=True):
    """Rows of like probability, what was said and what came true, with the 95 % Wilson interval."""

    rows: int
    said: float
    came_true: float
    low: float
    high: float


def reliability(probability: Vector, labels: Labels, bins: int = 10) -> tuple[ReliabilityBin, ...]:
    """Return bins of equal mass, lowest probabilities first."""
    parts = _equal_mass(probability, bins)
    return tuple(_bin(probability[part], labels[part]) for part in parts)


def expected_calibration_error(probability: Vector, labels: Labels, bins: int = 10) -> float:
    """Return the ECE with bins of equal mass.

    >>> p = np.repeat([0.2, 0.8], 10)
    >>> y = np.array([True] * 3 + [False] * 7 + [True] * 7 + [False] * 3)
    >>> round(expected_calibration_error(p, y, bins=2), 3)
    0.1
    """
    return sum(b.rows * abs(b.came_true - b.said) for b in reliability(probability, labels, bins)) / len(
        labels
    )


def ece_by_chance(probability: Vector, bins: int = 10) -> float:
    """Return the ECE to expect if every probability were right.

    Σ (n_b / n) · √(2 v_b / π n_b), v_b = mean p(1 − p): from E|Z| = √(2/π) of the normal distribution that a
    bin's mean outcome approaches.
    """
    total = 0.0
    for part in _equal_mass(probability, bins):
        variance = float(np.mean(probability[part] * (1 - probability[part])))
        total += len(part) / len(probability) * float(np.sqrt(2 * variance / (np.pi * len(part))))
    return total


def brier(probability: Vector, labels: Labels) -> float:
    """Return the Brier score: 0 is perfect, p(1 − p) is what the base rate p reaches."""
    return float(np.mean((probability - labels) ** 2))


def wilson(positives: int, rows: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927, JASA 22).

    >>> low, high = wilson(37, 3000)
    >>> f"{low:.4f} {high:.4f}"
    '0.0090 0.0170'
    """
    share, z2 = positives / rows, z * z
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = z / (1 + z2 / rows) * np.sqrt(share * (1 - share) / rows + z2 / (4 * rows * rows))
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))


def _bin(probability: Vector, labels: Labels) -> ReliabilityBin:
    low, high = wilson(int(labels.sum()), len(labels))
    return ReliabilityBin(len(labels), float(probability.mean()), float(labels.mean()), low, high)


def _equal_mass(probability: Vector, bins: int) -> list[NDArray[np.int64]]:
    order = np.argsort(probability, kind="stable")
    return [part for part in np.array_split(order, bins) if len(part)]
