"""Intervals of fairness cover the truth as often as they say: 95 % within what chance allows."""

from __future__ import annotations

import numpy as np
import pytest

from tilltal.decisions.simulation.fairness import katz_interval, lean, score_interval

pytestmark = pytest.mark.slow


def test_katz_intervals_cover_the_true_ratio() -> None:
    rng, runs = np.random.default_rng(11), 4000
    here, others = rng.binomial(300, 0.3, runs), rng.binomial(700, 0.2, runs)
    covered = 0
    for a, b in zip(here.tolist(), others.tolist(), strict=True):
        low, high = katz_interval((a, 300), (b, 700))
        covered += low <= 1.5 <= high
    assert 0.94 <= covered / runs <= 0.965  # 0.95 ± 3 standard errors of 0.0034, and the method's own bias


@pytest.mark.parametrize(("size", "share"), [(12, 0.1), (60, 0.03), (200, 0.01)])
def test_score_intervals_cover_the_true_ratio(size: int, share: float) -> None:
    rng, runs = np.random.default_rng(13), 2000
    here, others = rng.binomial(size, share, runs), rng.binomial(1000, 0.02, runs)
    covered = counted = 0
    for a, b in zip(here.tolist(), others.tolist(), strict=True):
        if a or b:
            low, high = score_interval((a, size), (b, 1000))
            counted += 1
            covered += low <= share / 0.02 <= high
    assert 0.92 <= covered / counted <= 0.99  # 0.95 ± what counts as few as these allow


def test_bootstrap_intervals_cover_the_true_gini() -> None:
    # chosen with 0.2 + 0.3 v for v uniform: (0.3 / 6) / (0.2 + 0.15) is the Gini of the curve
    truth, runs, covered = 0.05 / 0.35, 300, 0
    rng = np.random.default_rng(12)
    for _ in range(runs):
        values = rng.random(1500)
        chosen = rng.random(1500) < 0.2 + 0.3 * values
        found = lean("v", values, chosen, rng)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / runs <= 0.985  # 0.95 ± 3 standard errors of 0.0126
