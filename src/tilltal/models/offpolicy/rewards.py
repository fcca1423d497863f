"""Rewards: a model q(x, a) of what comes of an action, each row's by trees that have not seen its customer.

One regression over features and action (the "direct method" of Dudík, Langford & Li 2011), cross-fitted:
Chernozhukov et al. 2018, Econometrics Journal 21. Without features it is each action's mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tilltal.models.calibration import Vector
from tilltal.models.dataset.features import Matrix
from tilltal.models.offpolicy.log import Log, Numbers
from tilltal.models.propensity import Recipe, Trees

_FOLDS = 3
_PRIOR = 10.0  # rows by which an action's mean is drawn to that of all


def reward_recipe(seed: int, threads: int) -> Recipe:
    """Return how its trees are grown: rewards are noisy, so few and with large leaves."""
    return Recipe(
        rounds=60,
        leaves=8,
        rows_per_leaf=40,
        l2=5.0,
        objective="regression",
        seed=seed,
        threads=threads,
    )


def fitted_rewards(log: Log, seed: int = 1, threads: int = 1) -> Vector:
    """Return q(x, a) of every row and action, (rows, k)."""
    fold = _folds(log, seed)
    q = np.empty(log.policy.shape)
    for number in range(_FOLDS):
        own = fold == number
        q[own] = _means(log, ~own) + _differences(log, ~own, own, seed, threads)
    return q


def _folds(log: Log, seed: int) -> Numbers:
    """Which fold each row is in; rows of one customer are in the same."""
    rng = np.random.default_rng(seed)
    if log.customers is None:
        return rng.permutation(len(log)) % _FOLDS
    distinct, place = np.unique(log.customers, return_inverse=True)
    fold: Numbers = (rng.permutation(len(distinct)) % _FOLDS)[place]
    return fold


def _means(log: Log, learn: NDArray[np.bool_]) -> Vector:
    """The mean reward of each action, (k,), drawn to that of all where it was shown seldom."""
    shown, reward, count = log.shown[learn], log.reward[learn], len(log.names)
    sums = np.bincount(shown, weights=reward, minlength=count)
    rows = np.bincount(shown, minlength=count)
    means: Vector = (sums + _PRIOR * reward.mean()) / (rows + _PRIOR)
    return means


def _differences(
    log: Log, learn: NDArray[np.bool_], own: NDArray[np.bool_], seed: int, threads: int
) -> Vector:
    """How rewards differ from their action's mean, as the features tell, (rows of `own`, k)."""
    features, count = log.features, len(log.names)
    found = np.zeros((int(own.sum()), count))
    if features is None or not features.shape[1]:
        return found
    target = log.reward[learn] - _means(log, learn)[log.shown[learn]]
    trees = Trees.fit(
        _with_action(features[learn], log.shown[learn]),
        target,
        reward_recipe(seed, threads),
        categorical=(*log.categorical, features.shape[1]),
    )
    for action in range(count):
        asked = features[own]
        found[:, action] = trees.scores(_with_action(asked, np.full(len(asked), action)), threads)
    return found


def _with_action(features: Matrix, action: Numbers) -> Matrix:
    return np.column_stack([features, action.astype(np.float32)])
