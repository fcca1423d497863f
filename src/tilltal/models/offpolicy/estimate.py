"""Estimate: a mean over rows with its interval, where rows of one customer belong together.

The error is from the variance of the sums of each customer's influences (Liang & Zeger 1986, Biometrika 73,
as for any clustered mean); with a customer per row that is the usual variance of a mean. Weights are skewed,
and with few effective rows a normal interval misses a truth above it far more often than one below. So the
interval is that of a cubic transformation that takes the skewness of the mean away (Hall 1992, "On the
removal of skewness by transformation", JRSS B 54); without skewness it is Student's.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from scipy.stats import t

from tilltal.models.calibration import Vector
from tilltal.models.offpolicy.log import Numbers

_STRAIGHT = 1e-6  # skewness below which the transformation is none
Method = Literal["IPS", "SNIPS", "DR", "SNDR"]


class Influences(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate of the new policy's value, and each row's part in its error.

    `influence` has the mean 0 and a row's first-order effect on the value, times the number of rows.
    """

    method: Method
    value: float
    influence: Vector


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its standard error and 95 % interval."""

    value: float
    error: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def estimate(value: float, influence: Vector, customers: Numbers | None = None) -> Estimate:
    """Return a figure with its interval.

    >>> str(estimate(2.0, np.array([-1.0, 1.0] * 200)))
    '2 (1.902 to 2.098)'
    """
    sums = influence if customers is None else np.bincount(_numbered(customers), weights=influence)
    groups = len(sums)
    if groups < 2:
        return Estimate(value=value, error=float("nan"), low=float("nan"), high=float("nan"))
    error = float(np.sqrt(groups / (groups - 1) * np.sum((sums - sums.mean()) ** 2))) / len(influence)
    low, high = _reaches(sums - sums.mean(), float(t.ppf(0.975, groups - 1)))
    return Estimate(value=value, error=error, low=value - error * low, high=value + error * high)


def _reaches(centred: Vector, reach: float) -> tuple[float, float]:
    """Return how many errors the interval reaches down and up, of a symmetric reach."""
    spread = float(np.mean(centred**2))
    if spread == 0:
        return reach, reach
    lean = float(np.mean(centred**3)) / spread**1.5 / np.sqrt(len(centred))
    if abs(lean) < _STRAIGHT:
        return reach, reach
    down, up = (3 / lean * (np.cbrt(1 + lean * (x - lean / 6)) - 1) for x in (reach, -reach))
    return float(down), -float(up)


def _numbered(customers: Numbers) -> Numbers:
    """Customers as 0, 1, 2, ..."""
    _, numbers = np.unique(customers, return_inverse=True)
    return numbers
