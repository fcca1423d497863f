"""Shapley values of many rows against LightGBM's own, row by row."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
from numpy.typing import NDArray

from tilltal.models.propensity import MANY_ROWS, Recipe, Trees
from tilltal.models.shapley import contributions


def rows(seed: int, count: int) -> NDArray[np.float32]:
    """Numbers, a yes/no, a category and gaps, some features with many zeros."""
    generator = np.random.default_rng(seed)
    made = generator.normal(size=(count, 8)).astype(np.float32)
    made[:, 1] = generator.integers(0, 12, count)
    made[:, 2] = generator.integers(0, 2, count)
    made[generator.random(count) < 0.3, 3] = np.nan
    made[generator.random(count) < 0.5, 4] = 0
    made[generator.random(count) < 0.05, 1] = np.nan
    return made


def labels(made: NDArray[np.float32], seed: int) -> NDArray[np.bool_]:
    tilt = made[:, 0] + 1.5 * np.isin(made[:, 1], [1, 5, 7]) + np.nan_to_num(made[:, 3]) * made[:, 4] - 2
    return np.asarray(np.random.default_rng(seed).random(len(made)) < 1 / (1 + np.exp(-tilt)))


def with_surprises(made: NDArray[np.float32]) -> NDArray[np.float32]:
    """What training never saw: gaps in complete features, unknown and negative categories, extremes."""
    changed = made.copy()
    changed[::50, 0] = np.nan
    changed[::70, 1] = 99
    changed[::75, 1] = -1
    changed[::90, 4] = np.nan
    changed[::110, 5] = np.float32(1e30)
    return changed


@pytest.mark.parametrize("leaves", [4, 12, 31])  # 31 leaves have more splits than a pattern holds
def test_equal_to_lightgbm_own_values(leaves: int) -> None:
    made = rows(1, 6000)
    trees = Trees.fit(made, labels(made, 2), Recipe(rounds=30, leaves=leaves, threads=1), categorical=[1])
    asked = with_surprises(rows(3, 2500))
    booster = lgb.Booster(model_str=trees.text)
    own = booster.predict(asked, pred_contrib=True, num_threads=1)
    assert contributions(booster, asked) == pytest.approx(own, abs=1e-12)
    assert len(asked) >= MANY_ROWS
    assert trees.contributions(asked) == pytest.approx(own, abs=1e-12)


def test_values_add_up_to_the_score() -> None:
    made = rows(4, 4000)
    trees = Trees.fit(made, labels(made, 5), Recipe(rounds=20, threads=1), categorical=[1])
    asked = with_surprises(made)
    assert trees.contributions(asked).sum(axis=1) == pytest.approx(trees.scores(asked), abs=1e-12)
