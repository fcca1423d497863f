"""Lookalikes: customers who resemble an audience's members without being in it.

The members are described by their mean and a shrunk covariance; a customer's distance from them is
Mahalanobis'. Similarity is the share of members who lie at least as far out:

    similarity(x) = (1 + #{members i: d_i >= d(x)}) / (1 + #members)

so 0.5 means "as typical as the middle member", whatever the features. It is the conformal p-value of V.
Vovk, A. Gammerman and G. Shafer, "Algorithmic Learning in a Random World", 2005; the covariance is O. Ledoit
and M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.covariance import ledoit_wolf

from tilltal.core.errors import DataError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FEWEST_MEMBERS = 30


def similarity(features: Floats, is_member: Bools) -> Floats:
    """Return each customer's similarity to the members, 0 to 1.

    Args:
        features: n × m, NaN = missing (taken as the average of all).
        is_member: n; who is in the audience to resemble.

    Raises:
        DataError: if the members are too few to say what they have in common.
    """
    members = int(is_member.sum())
    if members < FEWEST_MEMBERS:
        raise DataError.of(
            "P362",
            f"An audience of {members} is too small to find others like it; {FEWEST_MEMBERS} are needed.",
            hint="Choose a larger audience to resemble.",
        )
    scaled = _scaled(features)
    seeds = scaled[is_member]
    covariance, _ = ledoit_wolf(seeds)
    precision = np.linalg.inv(covariance + np.eye(len(covariance)) * 1e-9)
    centred = scaled - seeds.mean(axis=0)
    distance = np.einsum("ij,jk,ik->i", centred, precision, centred)
    out = np.sort(distance[is_member])
    farther = members - np.searchsorted(out, distance, side="left")
    return np.asarray((1 + farther) / (1 + members))


def lookalikes(
    features: Floats,
    is_member: Bools,
    *,
    at_least: float | None = None,
    size: int | None = None,
) -> Bools:
    """Say who is a lookalike: similar enough, or among the most similar; members never are.

    Equal similarities at the border of `size` are decided by the order of the rows.
    """
    near = np.where(is_member, -1.0, similarity(features, is_member))
    chosen = near >= (at_least if at_least is not None else 0.0)
    if size is not None and size < chosen.sum():
        order = np.argsort(-near, kind="stable")[:size]
        best = np.zeros(len(near), dtype=bool)
        best[order] = True
        chosen &= best
    return np.asarray(chosen)


def _scaled(features: Floats) -> Floats:
    """Fill with the mean, centre, divide by the standard deviation; a constant feature becomes 0."""
    known = ~np.isnan(features)
    counts = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, features, 0.0).sum(axis=0) / counts
    filled = np.where(known, features, mean) - mean
    deviation = filled.std(axis=0)
    return np.asarray(filled / np.where(deviation > 1e-12, deviation, 1.0))
