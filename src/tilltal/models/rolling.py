"""Rolling recalibration: Platt on the latest labels, as they become known.

Where the world drifts, a calibration fitted once is soon wrong; one fitted again on a window of the latest
known labels follows (Platt 1999 on the logit; the window and the delay as in prequential evaluation, Gama,
Sebastião & Rodrigues 2013, Machine Learning 90). A label counts only from the moment it is known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tilltal.models.calibration import Labels, Platt, Vector, fit_platt

_FEWEST = 10  # of each answer in the window; below it the model's own probability stands


def rolling_platt(
    scores: Vector,
    labels: Labels,
    scored_at: NDArray[np.int64],
    known_at: NDArray[np.int64],
    *,
    window: int = 1500,
    every: int = 50,
) -> Vector:
    """Return each row's probability by the calibration in force when it was scored.

    Args:
        scores: log-odds, in the order of `scored_at`.
        labels: what came of it; read only where `known_at` is before the row's `scored_at`.
        scored_at: when each row was scored, ascending, in any unit.
        known_at: when its label became known.
        window: how many of the latest known labels are fitted.
        every: fit again after so many rows.

    >>> rng = np.random.default_rng(3)
    >>> score, at = rng.normal(size=6000), np.arange(6000)
    >>> label = rng.random(6000) < 1 / (1 + np.exp(2 - score))  # the model says +2 too much
    >>> late = rolling_platt(score, label, at, at + 400)[-2000:]
    >>> abs(float(late.mean() - label[-2000:].mean())) < 0.03
    True
    """
    by_known = np.argsort(known_at, kind="stable")
    known_sorted = known_at[by_known]
    out = np.empty(len(scores))
    for start in range(0, len(scores), every):
        chunk = slice(start, start + every)
        upto = int(np.searchsorted(known_sorted, scored_at[start], side="left"))
        recent = by_known[max(upto - window, 0) : upto]
        out[chunk] = fit_recent(scores[recent], labels[recent]).probability(scores[chunk])
    return out


def fit_recent(scores: Vector, labels: Labels) -> Platt:
    """Fit on the labels of a window; the model's own probability stands where an answer is rare in it."""
    yes = int(labels.sum())
    if min(yes, len(labels) - yes) < _FEWEST:
        return Platt()
    return fit_platt(scores, labels)
