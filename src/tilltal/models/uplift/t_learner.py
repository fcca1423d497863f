"""T-learner: the difference of two response models, one of the treated and one of the others.

τ(x) = μ₁(x) − μ₀(x). Künzel, Sekhon, Bickel & Yu 2019, "Metalearners for estimating heterogeneous treatment
effects using machine learning", PNAS 116(10), section "T-learner".
"""

from __future__ import annotations

from functools import cached_property
from typing import Self

import msgspec
from scipy.special import expit

from tilltal.models.calibration import Vector
from tilltal.models.dataset.features import Matrix
from tilltal.models.propensity import Recipe, Trees
from tilltal.models.uplift.experiment import Experiment


class TLearner(msgspec.Struct, frozen=True, dict=True, tag="t"):
    """Two boosters as text; their scores are log-odds of a yes.

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> x, treated = rng.normal(size=(8000, 1)).astype(np.float32), rng.random(8000) < 0.5
    >>> yes = rng.random(8000) < 0.2 + 0.2 * (treated & (x[:, 0] > 0))
    >>> experiment = Experiment(features=x, treated=treated, outcome=yes, chance=np.full(8000, 0.5))
    >>> learner = TLearner.fit(experiment, Recipe(rounds=20, leaves=4, threads=1))
    >>> low, high = learner.effects(np.array([[-1], [1]], dtype=np.float32))
    >>> bool(abs(low) < 0.05 and high > 0.12)
    True
    """

    treated: str
    control: str

    @classmethod
    def fit(cls, experiment: Experiment, recipe: Recipe) -> Self:
        """Learn from an experiment."""
        arms = experiment.treated
        return cls(experiment.response(arms, recipe).text, experiment.response(~arms, recipe).text)

    def effects(self, features: Matrix, threads: int = 1) -> Vector:
        """Return what treatment adds to the probability of a yes, within (−1, 1), one per row."""
        treated, control = self._models
        effects: Vector = expit(treated.scores(features, threads)) - expit(control.scores(features, threads))
        return effects

    @cached_property
    def _models(self) -> tuple[Trees, Trees]:
        return Trees(self.treated), Trees(self.control)
