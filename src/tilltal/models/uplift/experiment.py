"""Experiment: who was treated, who was not, what was known before and what came of it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from tilltal.models.calibration import Labels, Vector
from tilltal.models.dataset.features import Matrix
from tilltal.models.propensity import Recipe, Trees

Places = NDArray[np.bool_]

_LEAST_CHANCE = 0.02  # chances of treatment outside 2 % to 98 % would give single customers the say


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of equal length.

    `features` is float32 (rows, features), with `categorical` columns; `treated` and `outcome` are what was
    done and what came of it; `chance` is each row's probability of having been treated, within (0, 1).
    """

    features: Matrix
    treated: Labels
    outcome: Labels
    chance: Vector
    categorical: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.treated)

    @property
    def share(self) -> float:
        """Share of the treated."""
        return float(self.treated.mean())

    @property
    def weights(self) -> Vector:
        """One over the probability of what was done: equal within an arm where chance alone assigned."""
        weights: Vector = np.where(self.treated, 1 / self.chance, 1 / (1 - self.chance))
        return weights

    def of(self, rows: Places) -> Experiment:
        """Return some of the rows."""
        return Experiment(
            features=self.features[rows],
            treated=self.treated[rows],
            outcome=self.outcome[rows],
            chance=self.chance[rows],
            categorical=self.categorical,
        )

    def response(self, rows: Places, recipe: Recipe) -> Trees:
        """Learn the probability of a yes from some of the rows."""
        return Trees.fit(self.features[rows], self.outcome[rows], recipe, categorical=self.categorical)

    def regression(self, rows: Places, target: Vector, recipe: Recipe) -> Trees:
        """Learn the mean of a target, one number per chosen row."""
        of_means = msgspec.structs.replace(recipe, objective="regression")
        return Trees.fit(self.features[rows], target, of_means, categorical=self.categorical)


def weak_effects(seed: int, threads: int) -> Recipe:
    """Return how trees are grown for effects that are small beside the noise: few, shallow, large leaves."""
    return Recipe(
        rounds=60, leaves=4, learning_rate=0.05, rows_per_leaf=200, l2=10.0, seed=seed, threads=threads
    )


def randomised_chance(treated: Labels) -> Vector:
    """Return the probability of treatment where chance alone assigned: the share of the treated."""
    return np.full(len(treated), float(treated.mean()))


def bounded_chance(chance: Vector) -> Vector:
    """Return probabilities of treatment kept away from 0 and 1."""
    return np.clip(chance, _LEAST_CHANCE, 1 - _LEAST_CHANCE)


def folds(treated: Labels, outcome: Labels, count: int, seed: int) -> Iterator[Places]:
    """Yield the rows of each fold; every fold has its share of both arms and both answers."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(treated), dtype=np.int64)
    for arm in (True, False):
        for answer in (True, False):
            cell = np.flatnonzero((treated == arm) & (outcome == answer))
            fold[rng.permutation(cell)] = (np.arange(len(cell)) + int(rng.integers(count))) % count
    for number in range(count):
        yield fold == number
