"""Fairness worked out by hand: ratios with their intervals, Gini of selection curves, flags."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from tilltal.decisions.simulation.fairness import (
    MISSING,
    gini,
    gini_margin,
    lean,
    rate_ratios,
    score_interval,
)
from tilltal.decisions.simulation.mix import Grouping


def people(*groups: tuple[int, int]) -> tuple[Grouping, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Groups a, b, ... of (chosen, all) customers."""
    codes = np.repeat(np.arange(len(groups)), [size for _, size in groups])
    chosen = np.concatenate([np.arange(size) < picked for picked, size in groups])
    names = (*"abcdef"[: len(groups) - 1], MISSING)
    return Grouping("trait", names, codes), chosen


def test_a_group_is_compared_with_all_others() -> None:
    first, second, missing = rate_ratios(*people((40, 100), (15, 50), (5, 50)), margin=0.2)
    assert (first.chosen, first.customers, first.rate, first.rate_of_others) == (40, 100, 0.4, 0.2)
    assert first.ratio == 2.0
    spread = 1.959964 * math.sqrt(1 / 40 - 1 / 100 + 1 / 20 - 1 / 100)
    assert first.low == pytest.approx(2 * math.exp(-spread), rel=1e-6)
    assert first.high == pytest.approx(2 * math.exp(spread), rel=1e-6)
    assert first.is_flagged  # 1.264 is over 1.25
    assert second.ratio == pytest.approx(1.0)
    assert not second.is_flagged
    assert missing.group == MISSING
    assert missing.ratio == pytest.approx(0.1 / (55 / 150))
    assert missing.is_flagged


def test_a_larger_margin_flags_less() -> None:
    assert not any(each.is_flagged for each in rate_ratios(*people((40, 100), (20, 100)), margin=0.5))


def test_nobody_chosen_has_a_score_interval_with_an_open_end() -> None:
    none, all_others = rate_ratios(*people((0, 50), (10, 50)), margin=0.2)
    assert (none.ratio, none.low) == (0.0, 0.0)
    assert none.high is not None
    assert none.high < 0.8
    assert none.is_flagged
    assert (all_others.ratio, all_others.high) == (None, None)
    assert all_others.low == pytest.approx(1 / none.high)


@pytest.mark.parametrize("here", [(0, 1), (0, 2), (1, 1), (1, 2), (2, 4), (4, 40)])
@pytest.mark.parametrize("others", [(1, 1000), (2, 298), (100, 1000), (999, 1000)])
def test_an_estimate_lies_in_its_interval_and_few_are_never_flagged(
    here: tuple[int, int], others: tuple[int, int]
) -> None:
    first, second, _ = rate_ratios(*people(here, others, (0, 0)))
    for one in (first, second):
        assert one.low is not None
        assert one.low <= (math.inf if one.ratio is None else one.ratio)
        assert one.high is None or one.ratio is None or one.ratio <= one.high
        expected = min(here[1], others[1]) * (here[0] + others[0]) / (here[1] + others[1])
        assert not one.is_flagged or expected >= 5


def test_a_score_interval_ends_where_chi_square_refutes() -> None:
    # nobody of 2 against 2 of 298: the likeliest rates of that ratio are found by a search
    low, high = score_interval((0, 2), (2, 298))
    assert low == 0.0
    rates = np.linspace(1e-7, 1 / high - 1e-9, 400_000)
    likely = 2 * np.log1p(-high * rates) + 2 * np.log(rates) + 296 * np.log1p(-rates)
    rate = rates[likely.argmax()]
    chi = 2 * high * rate / (1 - high * rate) + (2 - 298 * rate) ** 2 / (298 * rate * (1 - rate))
    assert chi == pytest.approx(1.959964**2, rel=1e-3)


def test_how_often_parity_is_flagged_by_chance() -> None:
    for size in (1, 2, 3, 5, 10, 30, 100):
        for share in (0.01, 0.05, 0.1, 0.3, 0.7):
            picked = round(1000 * share)
            chance = 0.0
            for count in range(size + 1):
                first, *_ = rate_ratios(*people((count, size), (picked, 1000), (0, 0)))
                chance += first.is_flagged * float(binom.pmf(count, size, share))
            assert chance <= 0.05, (size, share)  # what a 95 % interval allows


def test_what_cannot_be_compared_has_no_ratio() -> None:
    (alone,) = rate_ratios(Grouping("trait", ("a",), np.zeros(4, dtype=np.int64)), np.ones(4, dtype=bool))
    assert (alone.ratio, alone.low, alone.high, alone.is_flagged) == (None, None, None, False)
    for each in rate_ratios(*people((0, 10), (0, 10))):
        assert (each.ratio, each.low, each.is_flagged) == (None, None, False)


def test_all_chosen_is_parity_without_doubt() -> None:
    for each in rate_ratios(*people((10, 10), (30, 30))):
        assert (each.ratio, each.low, each.high) == (1.0, 1.0, 1.0)


def test_gini_by_hand() -> None:
    values, low, high = np.array([1.0, 2, 3, 4]), np.array([1, 1, 0, 0], bool), np.array([0, 0, 1, 1], bool)
    assert gini(values, high) == 0.5
    assert gini(values, low) == -0.5
    assert gini(values, np.ones(4, dtype=bool)) == 0.0
    # equal values share a step: the curve is the diagonal
    assert gini(np.full(4, 7.0), high) == 0.0
    # rates 0.8 and 1 in two halves: one minus twice the area under (0.5, 4/9)
    halves = np.repeat([0.0, 1.0], 10)
    chosen = np.concatenate([np.arange(10) < 8, np.ones(10, dtype=bool)])
    assert gini(halves, chosen) == pytest.approx(0.5 - 8 / 18)
    assert gini(halves, chosen) == pytest.approx(gini_margin(0.2))


def test_a_lean_is_flagged_only_beyond_its_margin() -> None:
    rng = np.random.default_rng(1)
    values = rng.random(5000)
    leaning = rng.random(5000) < values
    found = lean("age", values, leaning, np.random.default_rng(2), margin=0.2)
    assert found.gini == pytest.approx(1 / 3, abs=0.03)  # selection 0 + 1 v: (1/6) / (1/2)
    assert found.is_flagged
    even = lean("age", values, rng.random(5000) < 0.5, np.random.default_rng(2), margin=0.2)
    assert not even.is_flagged
    assert even.low is not None
    assert even.high is not None
    assert even.low < 0 < even.high


def test_missing_numbers_are_left_out_and_nobody_chosen_has_no_gini() -> None:
    values = np.array([1.0, np.nan, 2.0, np.nan])
    found = lean("age", values, np.array([False, True, True, True]), np.random.default_rng(1))
    assert (found.customers, found.chosen) == (2, 1)
    nobody = lean("age", values, np.array([False, True, False, True]), np.random.default_rng(1))
    assert (nobody.gini, nobody.low, nobody.is_flagged) == (None, None, False)
    nothing = lean("age", np.full(3, np.nan), np.ones(3, dtype=bool), np.random.default_rng(1))
    assert (nothing.customers, nothing.gini) == (0, None)


def test_many_values_are_taken_in_classes_that_change_little() -> None:
    rng = np.random.default_rng(4)
    values = rng.lognormal(size=20_000)
    chosen = rng.random(20_000) < np.clip(values / 5, 0, 1)
    found = lean("income", values, chosen, np.random.default_rng(5))
    assert found.gini == pytest.approx(gini(values, chosen), abs=0.005)
