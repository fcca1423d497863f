"""Estimate: a mean over rows with its interval, where rows of one customer belong together.

The interval is normal, from the variance of the sums of each customer's influences (Liang & Zeger 1986,
Biometrika 73, as for any clustered mean); with a customer per row that is the usual variance of a mean.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from scipy.stats import t

from tilltal.models.calibration import Vector
from tilltal.models.offpolicy.log import Numbers

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
    half = float(t.ppf(0.975, groups - 1)) * error
    return Estimate(value=value, error=error, low=value - half, high=value + half)


def _numbered(customers: Numbers) -> Numbers:
    """Customers as 0, 1, 2, ..."""
    _, numbers = np.unique(customers, return_inverse=True)
    return numbers
