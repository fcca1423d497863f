"""Drift against known truth: PSI is zero for the same, small by chance, and right for a known move."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy.stats import norm

from tilltal.models.quality.drift import Drift, FrozenBins, freeze_categories, freeze_numbers, psi


def test_the_same_values_have_not_drifted_at_all() -> None:
    values = np.random.default_rng(1).normal(size=5000)
    assert psi(freeze_numbers("x", values), values) == Drift(name="x", psi=0.0)


def test_chance_alone_gives_what_theory_says() -> None:
    """Under no drift PSI is about (1/n + 1/m) times a χ² of bins − 1 degrees of freedom."""
    rng = np.random.default_rng(2)
    n, m = 4000, 1000
    found = [psi(freeze_numbers("x", rng.normal(size=n)), rng.normal(size=m)).psi for _ in range(300)]
    expected, spread = 9 * (1 / n + 1 / m), np.sqrt(18) * (1 / n + 1 / m)
    assert abs(np.mean(found) - expected) < 4 * spread / np.sqrt(300) + 0.05 * expected
    assert np.mean(np.array(found) < 0.1) == 1


@pytest.mark.parametrize(("shift", "verdict"), [(0.1, "stable"), (0.4, "watch"), (0.8, "alarm")])
def test_a_known_shift_gives_the_psi_of_its_distribution(shift: float, verdict: str) -> None:
    rng = np.random.default_rng(3)
    bins = freeze_numbers("x", rng.normal(size=200_000))
    edges = np.array([-np.inf, *bins.edges, np.inf])
    p, q = np.diff(norm.cdf(edges)), np.diff(norm.cdf(edges - shift))
    drift = psi(bins, rng.normal(shift, 1, 200_000))
    assert drift.psi == pytest.approx(float(np.sum((p - q) * np.log(p / q))), abs=0.01)
    assert drift.verdict == verdict


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.0999, "stable"), (0.1, "watch"), (0.2499, "watch"), (0.25, "alarm")]
)
def test_thresholds_belong_to_the_higher_class(value: float, verdict: str) -> None:
    assert Drift(name="x", psi=value).verdict == verdict


def test_a_common_value_has_its_own_bin() -> None:
    values = np.array([0.0] * 90 + list(range(1, 11)))
    bins = freeze_numbers("x", values)
    assert bins.places(np.array([0.0]))[0] != bins.places(np.array([1.0]))[0]
    moved = np.where(np.arange(100) < 45, 1.0, values)
    assert psi(bins, moved).verdict == "alarm"


def test_what_is_missing_counts_as_a_value() -> None:
    values = np.random.default_rng(4).normal(size=1000)
    gone = np.where(np.arange(1000) % 2, np.nan, values)
    assert psi(freeze_numbers("x", values), gone).verdict == "alarm"
    assert freeze_numbers("x", gone).counts[-1] == 500
    assert psi(freeze_numbers("x", np.full(5, np.nan)), values).verdict == "alarm"


def test_categories_have_a_bin_each() -> None:
    codes = np.array([0.0] * 50 + [1.0] * 30 + [2.0] * 20)
    bins = freeze_categories("x", codes, 3)
    assert bins.counts == (50, 30, 20, 0)
    assert psi(bins, codes[::-1]).psi == 0
    assert psi(bins, np.where(codes == 1, np.nan, codes)).verdict == "alarm"


def test_frozen_bins_survive_being_stored() -> None:
    bins = freeze_numbers("x", np.random.default_rng(5).normal(size=100))
    assert msgspec.json.decode(msgspec.json.encode(bins), type=FrozenBins) == bins


def test_extreme_values_after_training_fall_into_the_outer_bins() -> None:
    bins = freeze_numbers("x", np.arange(100, dtype=np.float64))
    assert bins.places(np.array([-1e30, 1e30, -np.inf, np.inf])).tolist() == [0, 9, 0, 9]
