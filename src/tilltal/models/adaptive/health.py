"""How a model is: from its ledger to AUC, calibration, lift, drift; what is healthy, watched, alarming.

Answers lie in bands of probability, so figures are those of probabilities rounded to a band: AUC with ties
(Mann & Whitney 1947), ECE over ten parts of about equal mass (`models.quality.reliability`), lift of tenths
whose borders may divide a band. PSI as `models.quality.drift`, over groups of bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from tilltal.models.adaptive.grouping import neighbours
from tilltal.models.adaptive.ledger import Band
from tilltal.models.quality.drift import Drift

MATURE = 200
"""Positives from which a model's figures are believed."""

POOR, HEALTHY, STRONG, SUSPICIOUS = 0.52, 0.55, 0.80, 0.90
"""AUC: below the first a model is poor; between the next two healthy; above the last suspicious."""

_PARTS = 10
Verdict = Literal["young", "poor", "weak", "healthy", "strong", "suspicious"]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How well a model does on its latest answers.

    `said` and `came_true` are mean probability and share of yes; `lift` is each tenth's share of yes over
    everybody's, the highest probabilities first. Without both answers `auc` and `lift` are absent.
    """

    answers: int
    positives: int
    said: float
    came_true: float
    ece: float
    auc: float | None
    lift: tuple[float, ...]


def figures(bands: Sequence[Band]) -> Figures | None:
    """Return the figures of answers by band, lowest probabilities first; None without any answer."""
    seen = [band for band in bands if band.yes + band.no > 0]
    answers, positives = sum(band.yes + band.no for band in seen), sum(band.yes for band in seen)
    if not answers:
        return None
    is_mixed = 0 < positives < answers
    return Figures(
        answers=answers,
        positives=positives,
        said=sum(band.said for band in seen) / answers,
        came_true=positives / answers,
        ece=_ece(seen, answers),
        auc=_area(seen) if is_mixed else None,
        lift=_lift(seen, answers, positives) if is_mixed else (),
    )


def verdict(positives: float, auc: float | None) -> Verdict:
    """Say how a model is by its positives and AUC.

    >>> verdict(50, 0.7), verdict(500, 0.7), verdict(500, 0.51), verdict(500, 0.95)
    ('young', 'healthy', 'poor', 'suspicious')
    """
    if positives < MATURE or auc is None:
        return "young"
    if auc < POOR:
        return "poor"
    if auc < HEALTHY:
        return "weak"
    if auc <= STRONG:
        return "healthy"
    return "strong" if auc <= SUSPICIOUS else "suspicious"


def drift_of(name: str, before: Mapping[int, int], now: Mapping[int, int], cells: Sequence[int]) -> Drift:
    """Return the PSI of a predictor between two counts of its cells; half a case is added to each group.

    Cells join with their neighbours until a group holds a tenth of what was seen before.

    Args:
        name: the predictor's.
        before: how often each cell was seen.
        now: likewise, later.
        cells: those of the predictor, NULL first.
    """
    then = [before.get(cell, 0) for cell in cells]
    places, size = neighbours(then[1:], max(sum(then) / _PARTS, 1.0), 1)
    groups = [0, *(max(place, 1) for place in places)]
    old, new = [0.5] * max(size, 2), [0.5] * max(size, 2)
    for group, cell, count in zip(groups, cells, then, strict=True):
        old[group] += count
        new[group] += now.get(cell, 0)
    shares = [(a / sum(old), b / sum(new)) for a, b in zip(old, new, strict=True) if a + b > 1]
    return Drift(name=name, psi=math.fsum((p - q) * math.log(p / q) for p, q in shares))


def _area(bands: Sequence[Band]) -> float:
    """Return the AUC of bands in their order, lowest first."""
    positives, negatives = sum(band.yes for band in bands), sum(band.no for band in bands)
    area, above = 0.0, 0.0
    for band in reversed(bands):
        area += band.no * (above + band.yes / 2)
        above += band.yes
    return area / (positives * negatives)


def _ece(bands: Sequence[Band], answers: int) -> float:
    places, size = neighbours([band.yes + band.no for band in bands], answers / _PARTS)
    gaps = [0.0] * size
    for place, band in zip(places, bands, strict=True):
        gaps[place] += band.yes - band.said
    return math.fsum(map(abs, gaps)) / answers


def _lift(bands: Sequence[Band], answers: int, positives: int) -> tuple[float, ...]:
    """Return the lift of each tenth, from the highest probabilities; a band's yes spread over it evenly."""
    found = [0.0] * _PARTS
    passed = 0.0
    for band in reversed(bands):
        mass = band.yes + band.no
        for part in range(_PARTS):
            low, high = part * answers / _PARTS, (part + 1) * answers / _PARTS
            found[part] += band.yes * max(min(passed + mass, high) - max(passed, low), 0.0) / mass
        passed += mass
    return tuple(yes / (answers / _PARTS) / (positives / answers) for yes in found)
