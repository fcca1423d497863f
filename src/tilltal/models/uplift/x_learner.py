"""X-learner: each arm's missing half is imputed by the other arm's model, and the effects are learned.

D₁ = Y − μ₀(X) among the treated, D₀ = μ₁(X) − Y among the others; τ₁ and τ₀ regress them on X;
τ(x) = e·τ₀(x) + (1 − e)·τ₁(x), where e is the share of the treated. Künzel, Sekhon, Bickel & Yu 2019,
PNAS 116(10), section "X-learner". It gains most where one arm is small, as hold-outs are.
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
from tilltal.models.uplift.experiment import Experiment


class XLearner(msgspec.Struct, frozen=True, dict=True, tag="x"):
    """Two regressions of effects as text, and the share of the treated.

    >>> rng = np.random.default_rng(1)
    >>> x, treated = rng.normal(size=(8000, 1)).astype(np.float32), rng.random(8000) < 0.8
    >>> yes = rng.random(8000) < 0.2 + 0.2 * (treated & (x[:, 0] > 0))
    >>> experiment = Experiment(features=x, treated=treated, outcome=yes, chance=np.full(8000, 0.8))
    >>> learner = XLearner.fit(experiment, Recipe(rounds=20, leaves=4, threads=1))
    >>> low, high = learner.effects(np.array([[-1], [1]], dtype=np.float32))
    >>> bool(abs(low) < 0.05 and high > 0.12)
    True
    """

    share: float
    of_treated: str
    of_control: str

    @classmethod
    def fit(cls, experiment: Experiment, recipe: Recipe) -> Self:
        """Learn from an experiment."""
        arms, yes = experiment.treated, experiment.outcome.astype(np.float64)
        with_it, without = experiment.response(arms, recipe), experiment.response(~arms, recipe)
        gained = yes[arms] - expit(without.scores(experiment.features[arms], recipe.threads))
        missed = expit(with_it.scores(experiment.features[~arms], recipe.threads)) - yes[~arms]
        return cls(
            experiment.share,
            experiment.regression(arms, gained, recipe).text,
            experiment.regression(~arms, missed, recipe).text,
        )

    def effects(self, features: Matrix, threads: int = 1) -> Vector:
        """Return what treatment adds to the probability of a yes, within [−1, 1], one per row."""
        of_treated, of_control = self._models
        gained, missed = of_treated.scores(features, threads), of_control.scores(features, threads)
        return np.clip(self.share * missed + (1 - self.share) * gained, -1.0, 1.0)

    @cached_property
    def _models(self) -> tuple[Trees, Trees]:
        return Trees(self.of_treated), Trees(self.of_control)
