"""Assignment: did chance alone decide who was treated?

A classifier two-sample test (Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests", ICLR): trees
learn to tell the treated from the others by what was known before; on rows they have not seen their AUC is
0.5 but for chance. Where it is not, the same trees estimate each row's chance of treatment.
"""

from __future__ import annotations

import msgspec
import numpy as np
from scipy.special import expit
from scipy.stats import norm

from tilltal.core.errors import DataError
from tilltal.models.calibration import Labels, Vector
from tilltal.models.dataset.features import Matrix
from tilltal.models.propensity import Recipe, Trees
from tilltal.models.quality.evaluation import Auc, area, auc
from tilltal.models.uplift.experiment import bounded_chance, folds

_FOLDS = 5
_Z = float(norm.ppf(0.999))  # one honest experiment in a thousand is refused


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """How well features tell the treated from the others, and each row's estimated chance of treatment."""

    auc: Auc
    threshold: float
    chance: Vector

    @property
    def looks_random(self) -> bool:
        """True where the AUC cannot be told from one half."""
        return self.auc.value <= self.threshold


def assignment(
    features: Matrix, treated: Labels, recipe: Recipe, categorical: tuple[int, ...] = ()
) -> Assignment:
    """Test who was treated against what was known before, each row by trees that have not seen it.

    `threshold` is the 99.9 % quantile of the AUC of rows in random order (Mann & Whitney 1947); the AUC is
    the mean over the folds, for scores of different trees do not compare.
    """
    scores, areas = np.empty(len(treated)), []
    for own in folds(treated, np.zeros(len(treated), dtype=np.bool_), _FOLDS, recipe.seed):
        trees = Trees.fit(features[~own], treated[~own], recipe, categorical=categorical)
        scores[own] = trees.scores(features[own], recipe.threads)
        areas.append(area(scores[own], treated[own]))
    spread = _spread(treated)
    mean = float(np.mean(areas))
    half = (auc(scores, treated).high - auc(scores, treated).low) / 2
    return Assignment(
        auc=Auc(mean, max(mean - half, 0.0), min(mean + half, 1.0)),
        threshold=0.5 + _Z * spread,
        chance=bounded_chance(expit(scores)),
    )


def require_random(model: str, found: Assignment) -> None:
    """Stop where chance alone did not assign.

    Raises:
        DataError: M410.
    """
    if found.looks_random:
        return
    raise DataError.of(
        "M410",
        f"Model {model}: who was treated was not left to chance: what was known before tells the treated from"
        f" the others with an AUC of {found.auc}, where chance stays below {found.threshold:.3f}.",
        hint=(
            "Take both groups from one experiment, or say `randomised: false`: then the model allows for what"
            " its features show of the choice, and for nothing else."
        ),
    )


def _spread(treated: Labels) -> float:
    """Standard deviation of the AUC of rows in random order, summed over disjoint folds."""
    yes = int(treated.sum())
    no = len(treated) - yes
    return float(np.sqrt((yes + no + _FOLDS) / (12 * yes * no)))
