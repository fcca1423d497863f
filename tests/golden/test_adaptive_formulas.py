"""Naive Bayes against the field's formulas, worked out by hand."""

from __future__ import annotations

from math import log

import pytest

from tilltal.models.adaptive.bins import AnyBins, Borders, Listed
from tilltal.models.adaptive.evidence import contributions
from tilltal.models.adaptive.layout import BANDS, layout_of
from tilltal.models.adaptive.model import Scoring, chance, probability, score_of
from tilltal.models.adaptive.monotone import Prior, pools
from tilltal.models.adaptive.naive_bayes import NaiveBayes
from tilltal.models.adaptive.selection import area_of_groups
from tilltal.workspace.definitions.actions import Adaptive

BINS: dict[str, AnyBins] = {"town": Listed(("a", "b")), "age": Borders((30.0, 50.0))}

# town, age → yes, no; 400 answers, of which 80 are yes
TAUGHT = {
    ("a", 20): (40, 60),
    ("a", 40): (20, 80),
    ("b", 20): (14, 86),
    ("b", 60): (6, 94),
}


def taught(base_rate: float = 0.5, evidence: float = 1.0) -> NaiveBayes:
    definition = Adaptive(base_rate=base_rate, evidence=evidence, features=("town", "age"))
    model = NaiveBayes(layout_of(definition, BINS))
    for values, (yes, no) in TAUGHT.items():
        for label, times in ((True, yes), (False, no)):
            model.learn(model.case(values, 0), label, times=times)
    return model


def test_a_contribution_is_what_the_formula_says() -> None:
    # two bins: ln(pos + 1/2) − ln(neg + 1/2) − ln(1 + 80) + ln(1 + 320)
    assert contributions([60, 20], [140, 180]) == pytest.approx(
        (log(60.5 / 140.5) - log(81 / 321), log(20.5 / 180.5) - log(81 / 321))
    )


def test_a_model_contributes_and_scores_as_the_formula_says() -> None:
    evidence = taught().evidence(0)
    town, age = evidence.predictors
    assert (town.yes, town.no) == ((60, 20), (140, 180))
    assert (age.yes, age.no) == ((54, 20, 6), (146, 80, 94))
    by_town = (log(60.5 / 140.5) - log(81 / 321), log(20.5 / 180.5) - log(81 / 321))
    third = 1 / 3
    by_age = tuple(
        log((yes + third) / (no + third)) - log(81 / 321) for yes, no in ((54, 146), (20, 80), (6, 94))
    )
    assert town.contributions == pytest.approx(by_town, abs=1e-6)
    assert age.contributions == pytest.approx(by_age, abs=1e-6)
    assert [choice.is_active for choice in evidence.choices] == [True, True]
    layout = taught().layout
    total = score_of(evidence.scoring, layout.cells(("a", 40)))
    assert total == pytest.approx(by_town[0] + by_age[1], abs=1e-5)
    assert evidence.score(total) == pytest.approx((log(81) - log(321) + total) / 3)


def test_a_univariate_auc_is_that_of_its_bins() -> None:
    # town a: 60 yes, 140 no; b: 20 yes, 180 no
    by_hand = (60 * 180 + 0.5 * 60 * 140 + 0.5 * 20 * 180) / (80 * 320)
    assert taught().evidence(0).choices[0].auc == pytest.approx(by_hand)
    assert area_of_groups([20, 60], [180, 140]) == pytest.approx(by_hand)


def test_violators_are_pooled_and_a_bin_answers_half_a_yes_more() -> None:
    # rates 3/10, 1/10, 4/10, 2/10, 9/10: the first two pool, the next two pool
    yes, no = [3, 1, 4, 2, 9], [7, 9, 6, 8, 1]
    found = pools(yes, no, Prior(0.5, 1.0), 1.0)
    assert [pool.last for pool in found] == [1, 3, 4]
    assert [pool.probability(0.5) for pool in found] == pytest.approx([4.5 / 21, 6.5 / 21, 9.5 / 11])


def test_a_propensity_is_that_of_the_pool_of_its_score() -> None:
    layout = taught().layout
    model = NaiveBayes(layout)
    model.learn(model.case(("a", 20), 0), True, times=30)
    model.learn(model.case(("a", 20), 0), False, times=170)
    # all answers lie in the middle band, since nothing was known when they were decided
    assert probability(model, ("a", 20), 0) == pytest.approx((0.5 + 30) / (1 + 200))


def test_an_untrained_model_answers_half() -> None:
    model = NaiveBayes(layout_of(Adaptive(base_rate=0.5, evidence=1, features=("town", "age")), BINS))
    assert probability(model, ("a", 20), 0) == 0.5
    assert probability(model, (None, None), 0) == 0.5


def test_a_band_beyond_the_last_counts_as_the_last() -> None:
    layout = taught().layout
    scoring = Scoring(0.0, (0.0,), (1.0,), tuple(band / BANDS for band in range(BANDS)))
    assert chance(scoring, layout, 99.0) == (BANDS - 1) / BANDS
    assert chance(scoring, layout, -99.0) == 0.0
    assert chance(scoring, layout, 0.0) == 0.5
