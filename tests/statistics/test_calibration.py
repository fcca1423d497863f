"""Calibration against known truth: bounds come from the binomial distribution, not from trying."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binom
from sklearn.isotonic import IsotonicRegression

from tilltal.models.baseline import BetaRate
from tilltal.models.calibration import (
    ISOTONIC_POSITIVES,
    Calibrator,
    Isotonic,
    Platt,
    fit_calibrator,
    fit_isotonic,
    fit_platt,
)
from tilltal.models.quality.reliability import (
    brier,
    ece_by_chance,
    expected_calibration_error,
    reliability,
    wilson,
)
from tilltal.models.rolling import rolling_platt

Vector = NDArray[np.float64]
Labels = NDArray[np.bool_]


def distorted(rows: int, seed: int) -> tuple[Vector, Vector, Labels]:
    """True probabilities, and scores that are twice too bold and one too high."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-2, 1, rows)
    truth = expit(logit)
    return truth, 2 * logit + 1, rng.random(rows) < truth


def ece_bound(fitted: Vector, tested: Vector) -> float:
    """Chance in the test, as much again from the fit (bins as large), and four standard deviations.

    |Z| of a standard normal has variance 1 − 2/π; ten bins of equal mass average it.
    """
    chance = ece_by_chance(tested)
    spread = chance * np.sqrt(np.pi / 2 - 1) / np.sqrt(10)
    return float(chance + ece_by_chance(fitted) + 4 * spread)


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic])
def test_a_distorted_score_is_put_right(fit: Callable[[Vector, Labels], Calibrator]) -> None:
    truth, scores, labels = distorted(20_000, 1)
    later_truth, later_scores, later_labels = distorted(20_000, 2)
    probability = fit(scores, labels).probability(later_scores)
    assert expected_calibration_error(expit(later_scores), later_labels) > 5 * ece_by_chance(later_truth)
    assert expected_calibration_error(probability, later_labels) < ece_bound(truth, later_truth)


def test_platt_finds_the_true_line_within_its_standard_errors() -> None:
    truth, scores, labels = distorted(50_000, 3)
    fitted = fit_platt(scores, labels)
    design = np.column_stack([scores, np.ones_like(scores)])
    information = (design * (truth * (1 - truth))[:, None]).T @ design
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    assert abs(fitted.slope - 0.5) < 4 * errors[0]
    assert abs(fitted.intercept + 0.5) < 4 * errors[1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-20, 20), st.booleans()), min_size=2, max_size=200),
)
def test_isotonic_never_falls_stays_inside_and_equals_the_reference(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in rows], dtype=np.float64)
    labels = np.array([label for _, label in rows])
    grid = np.linspace(-25, 25, 301)
    own = fit_isotonic(scores, labels).probability(grid)
    assert (np.diff(own) >= 0).all()
    assert ((own > 0) & (own < 1)).all()
    reference = IsotonicRegression(out_of_bounds="clip").fit(scores, labels).predict(scores)
    inner = (reference > 0) & (reference < 1)
    np.testing.assert_allclose(
        fit_isotonic(scores, labels).probability(scores)[inner], reference[inner], atol=1e-9
    )


def test_few_positives_are_calibrated_by_a_line_and_one_answer_by_nothing() -> None:
    _, scores, labels = distorted(20_000, 4)
    few = labels & (np.cumsum(labels) < ISOTONIC_POSITIVES)
    assert isinstance(fit_calibrator(scores, labels, "isotonic"), Isotonic)
    assert isinstance(fit_calibrator(scores, few, "isotonic"), Platt)
    assert fit_calibrator(scores, np.zeros_like(labels), "isotonic") == Platt()
    assert fit_calibrator(scores, labels, "none") == Platt(1.0, 0.0)


def test_separable_answers_do_not_run_away() -> None:
    scores = np.linspace(-1, 1, 100)
    fitted = fit_platt(scores, scores > 0)
    assert np.isfinite([fitted.slope, fitted.intercept]).all()
    assert fitted.probability(np.array([-1e9, 1e9])).tolist() == pytest.approx([0, 1], abs=1e-6)


def test_the_ece_of_right_probabilities_is_what_chance_says() -> None:
    rng = np.random.default_rng(5)
    truth = expit(rng.normal(-2, 1, 4000))
    found = [expected_calibration_error(truth, rng.random(4000) < truth) for _ in range(200)]
    assert abs(np.mean(found) - ece_by_chance(truth)) < 4 * np.std(found) / np.sqrt(200)


def test_brier_of_the_base_rate_is_its_variance() -> None:
    labels = np.array([True] * 30 + [False] * 70)
    assert brier(np.full(100, 0.3), labels) == pytest.approx(0.21)


def test_reliability_bins_hold_everybody_once() -> None:
    truth, _, labels = distorted(1003, 6)
    bins = reliability(truth, labels)
    assert sum(one.rows for one in bins) == 1003
    assert all(one.low <= one.came_true <= one.high for one in bins)


@pytest.mark.parametrize("rows", [200, 3000])
def test_intervals_of_rates_cover_what_they_promise(rows: int) -> None:
    """Exact coverage: the probability of all counts whose interval holds the true rate."""
    counts = np.arange(rows + 1)
    limits = {
        "jeffreys": [BetaRate(positives=int(k), rows=rows).interval for k in counts],
        "wilson": [wilson(int(k), rows) for k in counts],
    }
    for intervals in limits.values():
        low, high = np.array(intervals).T
        rates = np.linspace(0.005, 0.3, 60)
        covered = [binom.pmf(counts, rows, p)[(low <= p) & (p <= high)].sum() for p in rates]
        assert 0.94 < np.mean(covered) < 0.965
        assert min(covered) > 0.85


class TestRolling:
    """A world whose base rate triples half-way."""

    rows = 12_000

    def world(self) -> tuple[Vector, Vector, Labels, NDArray[np.int64]]:
        rng = np.random.default_rng(7)
        score = rng.normal(-2, 1, self.rows)
        at = np.arange(self.rows)
        truth = expit(score + np.where(at > self.rows // 2, 1.5, 0.0))
        return score, truth, rng.random(self.rows) < truth, at

    def test_it_follows_where_a_fixed_calibration_fails(self) -> None:
        score, truth, labels, at = self.world()
        rolled = rolling_platt(score, labels, at, at + 400)
        late = at > self.rows // 2 + 2000
        fixed = fit_platt(score[:4000], labels[:4000]).probability(score)
        # a window of 1,500 labels: as noisy as a test of 1,500 rows
        bound = ece_by_chance(truth[late]) + ece_by_chance(truth[late][:1500])
        assert expected_calibration_error(fixed[late], labels[late]) > 0.1
        assert expected_calibration_error(rolled[late], labels[late]) < bound

    def test_a_label_is_not_used_before_it_is_known(self) -> None:
        score, _, labels, at = self.world()
        moment = 5000
        before = rolling_platt(score, labels, at, at + 400)[: moment + 1]
        unknown = at + 400 >= moment
        lied = np.where(unknown, ~labels, labels)
        np.testing.assert_array_equal(rolling_platt(score, lied, at, at + 400)[: moment + 1], before)

    def test_late_labels_may_arrive_in_any_order(self) -> None:
        score, _, labels, at = self.world()
        delays = np.random.default_rng(8).integers(0, 400, self.rows)
        rolled = rolling_platt(score, labels, at, at + delays)
        late = at > self.rows // 2 + 2000
        assert abs(rolled[late].mean() - labels[late].mean()) < 0.03
