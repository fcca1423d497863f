"""Base rate: what to answer without a model: Beta(½ + positives, ½ + negatives), Jeffreys' prior.

The mean is (½ + positives) / (1 + rows); the 95 % interval covers close to 95 % at any rate (Brown, Cai &
DasGupta 2001, "Interval estimation for a binomial proportion", Statistical Science 16).
"""

from __future__ import annotations

import msgspec
from scipy.stats import beta


class BetaRate(msgspec.Struct, frozen=True, kw_only=True):
    """A rate and how well it is known."""

    positives: int
    rows: int

    @property
    def mean(self) -> float:
        """Posterior mean; NaN where nobody was ever looked at."""
        return (0.5 + self.positives) / (1 + self.rows) if self.rows else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Central 95 % interval; an end is 0 or 1 where no, or every, row is positive."""
        a, b = 0.5 + self.positives, 0.5 + self.rows - self.positives
        low = float(beta.ppf(0.025, a, b)) if self.positives else 0.0
        high = float(beta.ppf(0.975, a, b)) if self.positives < self.rows else 1.0
        return low, high

    def __str__(self) -> str:
        low, high = self.interval
        return f"{percent(self.mean)} ({percent(low)} to {percent(high)})"


def counted_positives(count: int) -> str:
    """Write a count of positives for people.

    >>> counted_positives(1), counted_positives(2_000)
    ('1 positive', '2,000 positives')
    """
    return f"{count:,} positive{'' if count == 1 else 's'}"


def percent(share: float) -> str:
    """Write a share for people, with two digits that count.

    >>> percent(0.01234), percent(0.341), percent(0.0)
    ('1.2 %', '34 %', '0 %')
    """
    value = 100 * share
    digits = 0 if value >= 10 or value == 0 else 1 if value >= 1 else 2
    return f"{value:.{digits}f} %"
