"""Propensity, its measures and its reasons against known truth and against references."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm
from sklearn import metrics

from tilltal.models.propensity import Recipe, Trees
from tilltal.models.quality.evaluation import area, auc, average_precision, evaluate, log_loss, tenths
from tilltal.models.reasons import strongest

RECIPE = Recipe(threads=1)
Matrix = NDArray[np.float32]


def world(rows: int, seed: int) -> tuple[Matrix, NDArray[np.float64], NDArray[np.bool_]]:
    """Features, true probabilities and answers: the first raises, the second lowers, the third is noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    truth = expit(-2 + 1.0 * x[:, 0] - 0.7 * x[:, 1]).astype(np.float64)
    return x, truth, rng.random(rows) < truth


def test_trees_come_close_to_the_best_possible_order() -> None:
    x, _, y = world(20_000, 1)
    held, _, held_y = world(5000, 2)
    test, truth, test_y = world(20_000, 3)
    trees = Trees.fit(x, y, RECIPE, later=(held, held_y))
    best, found = auc(truth, test_y), auc(trees.scores(test), test_y)
    assert found.value <= best.value + 1e-9
    # both are measured on the same rows: what remains is what 20,000 rows cannot teach
    assert found.value > best.value - 0.01
    assert found.low < best.value


def test_noise_stops_the_growth_at_the_least() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(6000, 5)).astype(np.float32)
    y = rng.random(6000) < 0.1
    trees = Trees.fit(x[:4000], y[:4000], RECIPE, later=(x[4000:], y[4000:]))
    assert trees.rounds == RECIPE.least


def test_the_number_of_threads_does_not_change_the_trees() -> None:
    x, _, y = world(4000, 5)
    one, two = (Trees.fit(x, y, Recipe(rounds=30, threads=threads)).text for threads in (1, 2))
    assert one == two


def test_reasons_sum_to_the_score_and_know_direction_and_noise() -> None:
    x, _, y = world(10_000, 6)
    trees = Trees.fit(x, y, Recipe(rounds=60, threads=1))
    parts = trees.contributions(x[:500])
    np.testing.assert_allclose(parts.sum(axis=1), trees.scores(x[:500]), atol=1e-9)
    assert np.corrcoef(x[:500, 0], parts[:, 0])[0, 1] > 0.9
    assert np.corrcoef(x[:500, 1], parts[:, 1])[0, 1] < -0.9
    assert np.abs(parts[:, 2]).mean() < 0.25 * np.abs(parts[:, 1]).mean()
    found = strongest(parts, 2)
    assert found.places.shape == (500, 2)
    assert (np.abs(found.effects[:, 0]) >= np.abs(found.effects[:, 1])).all()
    assert trees.importance()[:2].sum() > 0.9


def test_asking_for_more_reasons_than_features_gives_all() -> None:
    assert strongest(np.array([[0.1, -0.2, 5.0]]), 9).places.tolist() == [[1, 0]]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_measures_equal_the_reference_also_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(1, 5, 2000), 2).clip(0.01, 0.99)
    y = rng.random(2000) < p
    found = evaluate(p, p, y)
    assert found.auc.value == pytest.approx(metrics.roc_auc_score(y, p))
    assert area(p, y) == pytest.approx(found.auc.value)
    assert average_precision(p, y) == pytest.approx(metrics.average_precision_score(y, p))
    assert log_loss(p, y) == pytest.approx(metrics.log_loss(y, p))
    assert found.brier == pytest.approx(metrics.brier_score_loss(y, p))


def test_the_interval_of_the_auc_covers_the_truth() -> None:
    """Two normals one apart have AUC Φ(1/√2); of 400 intervals 95 % ± four binomial deviations cover it."""
    rng = np.random.default_rng(7)
    y = np.arange(400) < 80
    truth = norm.cdf(1 / np.sqrt(2))
    covered = 0
    for _ in range(400):
        found = auc(rng.normal(size=400) + y, y)
        covered += found.low <= truth <= found.high
    assert covered / 400 > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 400)


def test_one_answer_only_has_no_auc() -> None:
    assert np.isnan(auc(np.array([0.1, 0.2]), np.array([True, True])).value)
    assert np.isnan(area(np.array([0.1, 0.2]), np.array([False, False])))


def test_tenths_count_everybody_and_find_all_positives() -> None:
    _, truth, y = world(1003, 8)
    parts = tenths(truth, y)
    assert sum(part.rows for part in parts) == 1003
    assert sum(part.positives for part in parts) == y.sum()
    assert parts[-1].gain == pytest.approx(1)
    assert parts[0].lift > 2 > 0.5 > parts[-1].lift
