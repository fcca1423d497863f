"""Recalibration of a regression's answers by its own ledger: Platt's line on the latest 1,000 to 1,500.

A regression that learned over a long time answers for that time; where the share of yes moves, its latest
answers tell by how much. The line over its log-odds is fitted to what it said and what came of it, band by
band (Platt 1999, "Probabilistic outputs for support vector machines"; on a rolling window, as
`models.rolling`). The ledger keeps sums of whole numbers, so a late answer revises the line exactly. What is
noted of a case, and learned from it, is without the line: it follows the model and is not followed by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit

from tilltal.models.adaptive.ledger import Band
from tilltal.models.adaptive.model import Scoring
from tilltal.models.calibration import Platt

AS_IT_IS = Platt(1.0, 0.0)
_FEWEST = 10  # of each answer in the window; below it the model's own probability stands
_SPREADS = np.array([1.0, 5.0])  # of slope and intercept beforehand: little, so that the fit is never at odds
_STEPS, _NEAR, _LEAST = 25, 1e-9, 1e-6


def levelled(bands: Sequence[Band]) -> Platt:
    """Return the line for a model's next answers.

    >>> said = [Band(yes=10 * n, no=1000 - 10 * n, said=5 * n) for n in (2, 10, 30)]
    >>> line = levelled(said)  # what it says is half of what comes true, and answers count in thousands
    >>> [round(float(expit(line.slope * logit(p) + line.intercept)), 2) for p in (0.01, 0.05, 0.15)]
    [0.02, 0.1, 0.3]
    """
    seen = [band for band in bands if band.yes + band.no > 0]
    yes, no = (np.array([getattr(band, name) for band in seen], dtype=np.float64) for name in ("yes", "no"))
    if min(yes.sum(), no.sum()) < _FEWEST:
        return AS_IT_IS
    rows = yes + no
    shares = np.clip(np.array([band.said for band in seen]) / rows, _LEAST, 1 - _LEAST)
    design = np.column_stack([logit(shares), np.ones(len(rows))])
    before, tightness = np.array([1.0, 0.0]), _SPREADS**-2
    line = before
    for _ in range(_STEPS):
        p = expit(design @ line)
        slope = design.T @ (yes - rows * p) - tightness * (line - before)
        curve = (design.T * (rows * p * (1 - p))) @ design + np.diag(tightness)
        step = np.clip(np.linalg.solve(curve, slope), -1.0, 1.0)
        line = line + step
        if np.abs(step).max() < _NEAR:
            break
    return Platt(float(line[0]), float(line[1]))


def bent(scoring: Scoring, line: Platt) -> Scoring:
    """Return how a model answers with a line over its log-odds; one with steps calibrates by itself."""
    if scoring.steps or line == AS_IT_IS:
        return scoring
    return Scoring(
        line.slope * scoring.start + line.intercept,
        tuple([line.slope * weight for weight in scoring.weights]),
        scoring.evidence,
    )
