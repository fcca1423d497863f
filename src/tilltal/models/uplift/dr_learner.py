"""DR-learner: regress each row's doubly robust effect on its features.

φ = μ₁(X) − μ₀(X) + (T − e(X)) / (e(X)(1 − e(X))) · (Y − μ_T(X)), where μ was learned on other folds than the
row's own (cross-fitting). φ is right on average where either μ or e is. Kennedy 2023, "Towards optimal doubly
robust estimation of heterogeneous causal effects", Electronic Journal of Statistics 17(2), algorithm 1.
"""

from __future__ import annotations

from functools import cached_property
from typing import Self

import msgspec
import numpy as np
from scipy.special import expit

from tilltal.models.calibration import Vector
from tilltal.models.dataset.features import Matrix
from tilltal.models.propensity import Recipe, Trees
from tilltal.models.uplift.experiment import Experiment, folds

_FOLDS = 5


class DRLearner(msgspec.Struct, frozen=True, dict=True, tag="dr"):
    """One regression of effects as text.

    >>> rng = np.random.default_rng(1)
    >>> x, treated = rng.normal(size=(8000, 1)).astype(np.float32), rng.random(8000) < 0.5
    >>> yes = rng.random(8000) < 0.2 + 0.2 * (treated & (x[:, 0] > 0))
    >>> experiment = Experiment(features=x, treated=treated, outcome=yes, chance=np.full(8000, 0.5))
    >>> learner = DRLearner.fit(experiment, Recipe(rounds=20, leaves=4, threads=1))
    >>> low, high = learner.effects(np.array([[-1], [1]], dtype=np.float32))
    >>> bool(abs(low) < 0.05 and high > 0.12)
    True
    """

    effect: str

    @classmethod
    def fit(cls, experiment: Experiment, recipe: Recipe) -> Self:
        """Learn from an experiment, whose `chance` is e(X)."""
        everybody = np.ones(len(experiment), dtype=np.bool_)
        return cls(experiment.regression(everybody, row_effects(experiment, recipe), recipe).text)

    def effects(self, features: Matrix, threads: int = 1) -> Vector:
        """Return what treatment adds to the probability of a yes, within [−1, 1], one per row."""
        return np.clip(self._model.scores(features, threads), -1.0, 1.0)

    @cached_property
    def _model(self) -> Trees:
        return Trees(self.effect)


def row_effects(experiment: Experiment, recipe: Recipe) -> Vector:
    """Return φ of each row: on average the average effect, but single rows lie far outside [−1, 1]."""
    arms, yes, chance = experiment.treated, experiment.outcome, experiment.chance
    with_it, without = np.empty(len(arms)), np.empty(len(arms))
    for own in folds(arms, yes, _FOLDS, recipe.seed):
        for response, rows in ((with_it, arms & ~own), (without, ~arms & ~own)):
            model = experiment.response(rows, recipe)
            response[own] = expit(model.scores(experiment.features[own], recipe.threads))
    residual: Vector = yes - np.where(arms, with_it, without)
    effects: Vector = with_it - without + (arms - chance) / (chance * (1 - chance)) * residual
    return effects
