"""The rhythm of a customer over the hours of the day, smoothed by the population's.

What is counted are local hours in which a customer did something, each once: a visit of a hundred clicks
says no more about the hour than one of two. With n_k such hours at hour k of the day, and a Dirichlet(α)
population, the expected rate of hour k is proportional to n_k + α_k. A customer of whom nothing is known has
the population's rhythm, and each hour of their own weighs as much as one of the Σα that the population's
weighs. α itself is learned from all customers (empirical Bayes): the maximum likelihood of the
Dirichlet-multinomial, by Minka's fixed point.

Source: T. Minka, Estimating a Dirichlet distribution (2000, revised 2012), the Pólya distribution:

    α_k ← α_k · Σ_i [ψ(n_ik + α_k) − ψ(α_k)] / Σ_i [ψ(n_i + Σα) − ψ(Σα)]

The sums need only how many customers have each count, so they are small whatever the population. Working
days and weekends apart did not predict better where it was tried (a year of household purchases), so they
are one.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import digamma

HOURS = 24
TOTAL = -1
"""In place of the hour: a customer's total in a histogram."""

_ROUNDS = 2000
_NEAR = 1e-9  # relative change of every α at which it has settled
_LEAST = 1e-4  # an hour at which nobody was ever seen
_MOST = 1e5  # all customers are alike: the population's rhythm is everybody's

Floats = npt.NDArray[np.float64]
Counted = tuple[int, int, int]  # hour or TOTAL, count, how many customers have it


class Rhythm(msgspec.Struct, frozen=True):
    """The population's rhythm: α of each hour of the day, and how many customers it was learned from."""

    alpha: tuple[float, ...]
    customers: int = 0

    @property
    def strength(self) -> float:
        """As many hours of a customer's own weigh as much as the population's."""
        return sum(self.alpha)


FLAT = Rhythm((1.0,) * HOURS)
"""What is assumed where nothing was learned yet: every hour is as good as any other."""


def counts_of(hours: Iterable[int]) -> list[int]:
    """Return how many of some local hours, counted from 1970, lie at each hour of the day."""
    found = [0] * HOURS
    for hour in hours:
        found[hour % HOURS] += 1
    return found


def population_of(histogram: Iterable[Counted]) -> Rhythm:
    """Learn the population's rhythm.

    Args:
        histogram: for each hour of the day and count of 1 or more, how many customers have it; and the same
            of totals.
    """
    rows = np.array(sorted(histogram), dtype=np.int64).reshape(-1, 3)
    totals, hours = rows[rows[:, 0] == TOTAL], rows[rows[:, 0] != TOTAL]
    customers = int(totals[:, 2].sum())
    if not customers:
        return FLAT
    alpha = _first_guess(hours)
    for _ in range(_ROUNDS):
        after = _improved(alpha, totals, hours)
        is_settled = bool(np.all(np.abs(after - alpha) <= _NEAR * alpha))
        alpha = after
        if is_settled or alpha.sum() >= _MOST:
            break
    return Rhythm(tuple(alpha.tolist()), customers)


def _first_guess(hours: npt.NDArray[np.int64]) -> Floats:
    """Return the share of each hour over all customers, with the weight of ten."""
    seen = np.bincount(hours[:, 0], weights=hours[:, 1] * hours[:, 2], minlength=HOURS)
    guess: Floats = np.maximum(10.0 * seen / seen.sum(), _LEAST)
    return guess


def _improved(alpha: Floats, totals: npt.NDArray[np.int64], hours: npt.NDArray[np.int64]) -> Floats:
    own = alpha[hours[:, 0]]
    gains = hours[:, 2] * (digamma(hours[:, 1] + own) - digamma(own))
    over = np.bincount(hours[:, 0], weights=gains, minlength=HOURS)
    whole = alpha.sum()
    under = float((totals[:, 2] * (digamma(totals[:, 1] + whole) - digamma(whole))).sum())
    after: Floats = np.maximum(alpha * over / under, _LEAST)
    return after
