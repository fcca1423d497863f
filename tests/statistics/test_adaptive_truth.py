"""Adaptive propensities against known truth: fixed seeds, bounds from the binomial distribution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from tilltal.models.adaptive.bins import AnyBins, Borders, Listed
from tilltal.models.adaptive.layout import layout_of
from tilltal.models.adaptive.methods import new_model
from tilltal.models.adaptive.model import AdaptiveModel, probability
from tilltal.models.quality.reliability import ece_by_chance, expected_calibration_error
from tilltal.workspace.definitions.actions import Adaptive

TOWNS = ("a", "b", "c", "d")
DAY = 86_400_000_000


def model_of(*features: str, half_life: str | None = None) -> AdaptiveModel:
    definition = Adaptive(base_rate=0.05, features=features, half_life=half_life)
    bins: dict[str, AnyBins] = {
        "town": Listed(TOWNS),
        "again": Listed(TOWNS),
        "age": Borders((30.0, 50.0, 70.0)),
    }
    return new_model(layout_of(definition, bins))


Draw = Callable[[np.random.Generator], tuple[tuple[object, ...], float]]
Vector = NDArray[np.float64]


def teach(model: AdaptiveModel, draw: Draw, rows: int) -> tuple[Vector, Vector, NDArray[np.bool_]]:
    """Decide; answers come fifty at a time. Return what was said, what was true, and what came."""
    rng = np.random.default_rng(11)
    said, true, came = np.empty(rows), np.empty(rows), np.empty(rows, dtype=bool)
    for start in range(0, rows, 50):
        cases = []
        for row in range(start, start + 50):
            values, truth = draw(rng)
            said[row], true[row], came[row] = probability(model, values, 0), truth, rng.random() < truth
            cases.append((model.case(values, 0), bool(came[row])))
        for case, answer in cases:
            model.learn(case, answer)
    return said, true, came


def test_a_new_action_has_its_base_rate() -> None:
    model = model_of("town", "age")
    assert probability(model, ("a", 40), 0) == pytest.approx(0.05, abs=1e-12)
    assert probability(model, (None, None), 0) == pytest.approx(0.05, abs=1e-12)


def test_the_rate_of_all_is_the_mean_of_a_beta() -> None:
    model = model_of()
    for answer in (True, False, False, True):
        model.learn(model.case((), 0), answer)
    assert probability(model, (), 0) == pytest.approx((100 * 0.05 + 2) / 104)


def test_a_single_predictor_finds_the_true_rates() -> None:
    rates = dict(zip(TOWNS, (0.02, 0.05, 0.1, 0.2), strict=True))
    model = model_of("town")
    rows = 40_000

    def draw(rng: np.random.Generator) -> tuple[tuple[object, ...], float]:
        town = TOWNS[rng.integers(4)]
        return (town,), rates[town]

    teach(model, draw, rows)
    overall = float(np.mean(list(rates.values())))
    pseudo = 2 / (overall * (1 - overall))
    for town, rate in rates.items():
        seen = rows / 4
        chance = 4 * np.sqrt(rate * (1 - rate) / seen)
        shrinkage = pseudo / (seen + pseudo) * abs(rate - overall)
        assert abs(probability(model, (town,), 0) - rate) < chance + shrinkage


def additive(rng: np.random.Generator) -> tuple[tuple[object, ...], float]:
    town, age = TOWNS[rng.integers(4)], float(rng.uniform(18, 90))
    part = {"a": -1.0, "b": -0.3, "c": 0.3, "d": 1.0}[town] + (0.8 if age >= 50 else -0.8)
    return (town, age), float(expit(-2.5 + part))


def twice(rng: np.random.Generator) -> tuple[tuple[object, ...], float]:
    """Two predictors that say the same."""
    (town, _), _ = additive(rng)
    part = {"a": -1.0, "b": -0.3, "c": 0.3, "d": 1.0}[str(town)]
    return (town, town), float(expit(-2.5 + part))


def ece_bound(tested: NDArray[np.float64]) -> float:
    """Chance, and four standard deviations of it; ten bins of equal mass average |Z| of variance 1 − 2/π."""
    chance = ece_by_chance(tested)
    return float(chance + 4 * chance * np.sqrt(np.pi / 2 - 1) / np.sqrt(10))


@pytest.mark.parametrize(("features", "draw"), [(("town", "age"), additive), (("town", "again"), twice)])
def test_probabilities_come_true(features: tuple[str, ...], draw: Draw) -> None:
    said, true, came = teach(model_of(*features), draw, 20_000)
    late = slice(10_000, None)
    assert expected_calibration_error(said[late], came[late]) < ece_bound(true[late])


def test_predictors_that_say_the_same_are_not_believed_twice() -> None:
    model = model_of("town", "again")
    teach(model, twice, 20_000)
    believed_twice = expit(-2.5 + 2 * 1.0)
    assert abs(probability(model, ("d", "d"), 0) - expit(-2.5 + 1.0)) < 0.02
    assert probability(model, ("d", "d"), 0) < believed_twice - 0.05


def test_old_answers_fade_where_a_half_life_is_declared() -> None:
    fading, steady = model_of(half_life="10 days"), model_of()
    rng = np.random.default_rng(5)
    for day in range(140):
        rate = 0.05 if day < 70 else 0.2
        cases = [(model, model.case((), day * DAY)) for model in (fading, steady)]
        for answer in rng.random(200) < rate:
            for model, case in cases:
                model.learn(case, bool(answer))
    effective = 200 * 10 / np.log(2)  # the weights of answers, summed
    chance = 4 * np.sqrt(0.2 * 0.8 / effective * 1.1)
    lag = (0.2 - 0.05) * (2**-7 + 100 / effective)  # what still weighs of before, and the prior
    assert abs(probability(fading, (), 139 * DAY) - 0.2) < chance + lag + 0.01
    assert probability(steady, (), 139 * DAY) == pytest.approx(0.125, abs=0.02)
