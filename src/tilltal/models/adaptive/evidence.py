"""From counts to a probability: naive Bayes with shrinkage, its overconfidence corrected by Platt's line.

Each bin of each predictor gives evidence c = logit(rate in the bin) − logit(rate of all), as naive Bayes
sums it (Hand & Yu 2001, "Idiot's Bayes — not so stupid after all?"). Predictors that say the same are counted
twice; so the sum is judged by what came of such sums before: log-odds = logit(rate) + b + a · Σ c (Platt
1999), with a Gaussian prior about a = 1, b = 0. Shrinkage: the rate of all begins at the declared base rate,
each bin at the rate of all (the mean of a Beta distribution). All is a function of the counts alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from tilltal.models.adaptive.layout import BANDS, Layout, band_centre

_BIN_POSITIVES = 2.0  # a bin's prior weighs as much as so many yes: log-odds of a bin spread by about 0.7
_SLOPE_SPREAD, _SHIFT_SPREAD = 0.5, 0.5  # standard deviations of the priors of a and b
_STEPEST = 2.0
_CENTRES = tuple(band_centre(band) for band in range(BANDS))


class Evidence(msgspec.Struct, frozen=True):
    """Log-odds = intercept + slope × Σ of the cells' evidence; `rate` is the share of yes of all."""

    rate: float
    intercept: float
    slope: float
    cells: tuple[float, ...]


def weigh(yes: Sequence[float], no: Sequence[float], layout: Layout) -> Evidence:
    """Return the evidence in counts by cell; a count below 0 (a label of lost counts, revised) is none."""
    yes, no = [max(count, 0.0) for count in yes], [max(count, 0.0) for count in no]
    prior = layout.adaptive.evidence
    rate = (yes[0] + prior * layout.adaptive.base_rate) / (yes[0] + no[0] + prior)
    start = logit(rate)
    pseudo = _BIN_POSITIVES / (rate * (1 - rate))
    cells = [0.0] * layout.first_band
    for cell in range(1, layout.first_band):
        if seen := yes[cell] + no[cell]:
            cells[cell] = logit((yes[cell] + pseudo * rate) / (seen + pseudo)) - start
    first = layout.first_band
    slope, shift = _line(yes[first:], no[first:], start)
    return Evidence(rate, start + shift, slope, tuple(cells))


def logit(probability: float) -> float:
    """Return log-odds."""
    return math.log(probability / (1 - probability))


def _line(yes: Sequence[float], no: Sequence[float], start: float) -> tuple[float, float]:
    """Fit slope and shift by Newton's method, from (1, 0); the penalised loss is convex."""
    bands = [(x, y, y + n) for x, y, n in zip(_CENTRES, yes, no, strict=True) if y + n > 0]
    if not bands:
        return 1.0, 0.0
    slope, shift = 1.0, 0.0
    for _ in range(25):
        step_slope, step_shift = _step(bands, start, slope, shift)
        slope, shift = slope - step_slope, shift - step_shift
        if abs(step_slope) + abs(step_shift) < 1e-10:
            break
    return min(max(slope, 0.0), _STEPEST), shift


def _step(
    bands: Sequence[tuple[float, float, float]], start: float, slope: float, shift: float
) -> tuple[float, float]:
    """Return the Newton step, at most 1 long in each direction."""
    by_slope = (slope - 1) / _SLOPE_SPREAD**2
    by_shift = shift / _SHIFT_SPREAD**2
    h_slope, h_both, h_shift = 1 / _SLOPE_SPREAD**2, 0.0, 1 / _SHIFT_SPREAD**2
    for x, y, seen in bands:
        p = 1 / (1 + math.exp(-(start + shift + slope * x)))
        error, curve = seen * p - y, seen * p * (1 - p)
        by_slope += error * x
        by_shift += error
        h_slope += curve * x * x
        h_both += curve * x
        h_shift += curve
    determinant = h_slope * h_shift - h_both * h_both
    return (
        _short((h_shift * by_slope - h_both * by_shift) / determinant),
        _short((h_slope * by_shift - h_both * by_slope) / determinant),
    )


def _short(step: float) -> float:
    return min(max(step, -1.0), 1.0)
