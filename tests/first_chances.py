"""The exact probability of being first by Thompson sampling: what draws and simulations are held against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv

Floats = NDArray[np.float64]

_NODES = 96  # of Gauss and Legendre


def chances_of_first(rates: Floats, evidence: Floats, worths: Floats) -> Floats:
    """Return the probability that each of n candidates has the highest draw × worth.

    P(i) = ∫₀¹ Π_{j≠i} F_j(w_i Q_i(u) / w_j) du by Gauss–Legendre on 96 nodes, Q_i and F_j quantile and
    distribution of Beta(p · evidence, (1 − p) · evidence). Candidates of no worth never win. The result sums
    to 1: it is scaled.
    """
    found = np.zeros(len(rates))
    competing = np.flatnonzero(worths > 0)
    if not competing.size:
        return found
    yes, no = (rates * evidence)[competing], ((1 - rates) * evidence)[competing]
    worth = worths[competing]
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    u, weights = (nodes + 1) / 2, weights / 2
    quantiles = betaincinv(yes[:, None], no[:, None], u)  # (candidates, nodes)
    for place in range(len(competing)):
        reached = np.minimum(worth[place] * quantiles[place] / worth[:, None], 1.0)
        below = betainc(yes[:, None], no[:, None], reached)
        below[place] = 1.0
        found[competing[place]] = float(weights @ below.prod(axis=0))
    scaled: Floats = found / found.sum()
    return scaled
