"""Recalibration label by label: as the rolling batch, whatever the order, and exact on revision."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.special import expit

from tilltal.models.adaptive.recalibration import (
    Recalibrator,
    log_odds,
    recalibrated,
    recalibrator_from,
)
from tilltal.models.calibration import Platt
from tilltal.models.rolling import rolling_platt


def key(number: int) -> bytes:
    return number.to_bytes(8, "big")


def some_labels(count: int, shift: float = -1.0, seed: int = 1) -> list[tuple[bytes, float, bool, int]]:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=count)
    labels = rng.random(count) < expit(scores + shift)
    return [(key(n), float(scores[n]), bool(labels[n]), 1000 + n) for n in range(count)]


def taught(labels: list[tuple[bytes, float, bool, int]], window: int = 1500) -> Recalibrator:
    made = Recalibrator(window=window)
    for one in labels:
        made.learn(*one)
    return made


@pytest.mark.parametrize("interrupted", [False, True])
def test_recalibrating_one_by_one_equals_the_rolling_batch(interrupted: bool) -> None:
    rng = np.random.default_rng(3)
    rows = 1200
    scores = rng.normal(size=rows)
    at = np.arange(rows)
    labels = rng.random(rows) < expit(scores - 1 - at / rows)
    known = at + rng.integers(1, 200, rows)
    wanted = rolling_platt(scores, labels, at, known, window=300, every=50)
    recalibrator = Recalibrator(window=300)
    waiting = sorted(range(rows), key=lambda row: (known[row], row))
    got, line = np.empty(rows), Platt()
    for row in range(rows):
        while waiting and known[waiting[0]] < row:
            first = waiting.pop(0)
            recalibrator.learn(key(first), float(scores[first]), bool(labels[first]), int(known[first]))
        if row % 50 == 0:
            line = recalibrator.line
        got[row] = recalibrated(float(expit(scores[row])), line)
        if interrupted and row % 170 == 0:
            recalibrator = recalibrator_from(recalibrator.to_bytes(), window=300)
    np.testing.assert_allclose(got, wanted, atol=1e-9)


def test_a_shifted_world_is_followed() -> None:
    labels = some_labels(1500, shift=-1.0)
    line = taught(labels).line
    assert line.slope == pytest.approx(1, abs=0.25)
    assert line.intercept == pytest.approx(-1, abs=0.25)


def test_the_order_of_labels_means_nothing() -> None:
    labels = some_labels(400)
    other = random.Random(2).sample(labels, len(labels))
    assert taught(labels, 150).to_bytes() == taught(other, 150).to_bytes()


def test_a_revised_label_was_never_another() -> None:
    labels = some_labels(200)
    revised = taught([(name, score, not label, at) for name, score, label, at in labels])
    for one in labels:
        assert revised.learn(*one)
        assert not revised.learn(*one)
    assert revised.to_bytes() == taught(labels).to_bytes()
    assert revised.line == taught(labels).line


def test_what_is_taken_back_was_never_known() -> None:
    labels = some_labels(60)
    made = taught(labels)
    assert made.forget(labels[7][0])
    assert not made.forget(labels[7][0])
    assert made.to_bytes() == taught(labels[:7] + labels[8:]).to_bytes()
    assert made.line == taught(labels[:7] + labels[8:]).line


def test_what_fell_out_of_the_window_is_no_news() -> None:
    made = taught(some_labels(100), window=60)
    state = made.to_bytes()
    assert not made.learn(key(3), 0.0, True, 1003)
    assert made.to_bytes() == state


def test_while_an_answer_is_rare_the_model_stands() -> None:
    made = taught([(key(n), 0.3, n < 9, n) for n in range(80)])
    assert made.line == Platt()
    made.learn(key(99), 0.3, True, 99)
    assert made.line != Platt()


def test_a_model_that_says_the_same_of_all_becomes_the_share_of_yes() -> None:
    made = taught([(key(n), -2.0, n % 4 == 0, n) for n in range(400)])
    assert recalibrated(float(expit(-2.0)), made.line) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("probability", [0.0, 1e-12, 0.5, 1.0])
def test_probabilities_stay_inside(probability: float) -> None:
    for line in (Platt(), Platt(50.0, 900.0), Platt(50.0, -900.0), Platt(-3.0, 0.0)):
        assert 0 < recalibrated(probability, line) < 1
    assert log_odds(probability) == pytest.approx(-log_odds(1 - probability), rel=1e-3)


def test_what_is_no_probability_stays_as_it_is() -> None:
    assert recalibrated(1.5, Platt(1.0, -1.0)) == 1.5
