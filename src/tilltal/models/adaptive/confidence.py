"""A confidence sequence: bounds on a mean that hold at every instant at once, so one may look at any time.

Empirical Bernstein with a stitched boundary (Howard, Ramdas, McAuliffe & Sekhon 2021, Annals of Statistics
49, theorems 1 and 4): for differences within [−1, 1] of mean μ, with sum S and V = Σ (difference)² of n,
|S − nμ| ≤ boundary(V) for all n at once, with probability at least 1 − α.
"""

from __future__ import annotations

import math

import msgspec
from scipy.special import zeta

_ETA, _S = 2.0, 1.4  # how the boundary's pieces grow
_BEGIN = 1.0  # the V from which the boundary follows it
_RANGE = 2.0  # from −1 to 1


class Interval(msgspec.Struct, frozen=True):
    """A mean and its bounds; without any case it is 0 and they are infinite."""

    mean: float
    low: float
    high: float


def interval(cases: int, total: float, squares: float, alpha: float) -> Interval:
    """Return the mean difference with bounds that fail, ever, with probability at most `alpha`.

    >>> interval(0, 0.0, 0.0, 0.05)
    Interval(mean=0.0, low=-inf, high=inf)
    """
    if cases <= 0:
        return Interval(0.0, -math.inf, math.inf)
    half = boundary(squares, alpha / 2) / cases
    mean = total / cases
    return Interval(mean, mean - half, mean + half)


def boundary(variance: float, alpha: float) -> float:
    """Return what |S − nμ| crosses on one side, ever, with probability at most `alpha`.

    >>> boundary(100.0, 0.025) < boundary(200.0, 0.025)
    True
    """
    v = max(variance, _BEGIN)
    piece = math.log(v / _BEGIN) / math.log(_ETA)
    level = _S * math.log(piece + 1) + math.log(float(zeta(_S)) / alpha)
    k1 = (_ETA**0.25 + _ETA**-0.25) / math.sqrt(2)
    k2 = (math.sqrt(_ETA) + 1) / 2
    return math.sqrt(k1**2 * v * level + (k2 * _RANGE * level) ** 2) + k2 * _RANGE * level
