"""Uplift on simulated experiments, where what treatment does to each customer is known."""

from __future__ import annotations

from datetime import date
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binom

from tilltal.core.errors import DataError
from tilltal.models.dataset.rows import Rows
from tilltal.models.fitting import Task
from tilltal.models.model import UpliftModel, from_bytes
from tilltal.models.propensity import Recipe
from tilltal.models.uplift.assigned import TREATED
from tilltal.models.uplift.assignment import assignment
from tilltal.models.uplift.dr_learner import DRLearner, row_effects
from tilltal.models.uplift.effect import average_effect, tenths
from tilltal.models.uplift.experiment import Experiment, randomised_chance, weak_effects
from tilltal.models.uplift.findings import Learner
from tilltal.models.uplift.qini import HeldOut, curve, gains
from tilltal.models.uplift.t_learner import TLearner
from tilltal.models.uplift.train import held_out, train_uplift
from tilltal.models.uplift.x_learner import XLearner
from tilltal.workspace.definitions.models import Group, Model, Outcome, Uplift

Numbers = NDArray[np.float64]
RECIPE = weak_effects(seed=1, threads=1)
DESIGN = Uplift(treated=Group(events=("sent",)), control=Group(events=("kept",)))


def world(
    rows: int, seed: int, *, differs: float = 0.12, share: float = 0.5, chosen: float = 0.0
) -> tuple[Experiment, Numbers]:
    """An experiment and what treatment truly adds to each customer's probability.

    The second feature raises the answer, the first the effect: from 0 to `differs`, 0.05 on average if it
    does not. `chosen` lets the second feature decide who is treated.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    effect = differs * (x[:, 0] > 0) if differs else np.full(rows, 0.05)
    base = expit(-2 + 0.8 * x[:, 1])
    chance = expit(np.log(share / (1 - share)) + chosen * x[:, 1])
    treated = rng.random(rows) < chance
    outcome = rng.random(rows) < base + effect * treated
    return (
        Experiment(features=x, treated=treated, outcome=outcome, chance=randomised_chance(treated)),
        effect.astype(np.float64),
    )


def seen(experiment: Experiment) -> HeldOut:
    return HeldOut(
        treated=experiment.treated, outcome=experiment.outcome, weights=np.ones(len(experiment.treated))
    )


def table(experiment: Experiment, days: int = 1) -> pa.Table:
    """Training rows as a refresh gives them; with several days as many rounds."""
    rows = len(experiment)
    day = [date(2026, 1 + 3 * (number * days // rows), 1) for number in range(rows)]
    features = {f"x{place}": experiment.features[:, place] for place in range(4)}
    return pa.table(
        {"profile": np.arange(rows), "snapshot": pa.array(day, pa.date32())}
        | features
        | {"label": experiment.outcome, TREATED: experiment.treated}
    )


def task(design: Uplift = DESIGN) -> Task:
    definition = Model(outcome=Outcome(events=("buy",)), uplift=design, horizon="30 days", features=("x*",))
    return Task(name="mail", definition=definition, threads=1)


def trained(experiment: Experiment, design: Uplift = DESIGN, days: int = 1) -> UpliftModel:
    model = train_uplift(table(experiment, days), task(design), design)
    assert isinstance(model, UpliftModel)
    return model


def by_hand(scores: Numbers, tested: HeldOut) -> float:
    """The Qini coefficient from its definition, threshold by threshold."""
    shares, found = [0.0], [0.0]
    for bound in sorted(set(scores.tolist()), reverse=True):
        top = scores >= bound
        yes_t, n_t = (tested.outcome & tested.treated & top).sum(), (tested.treated & top).sum()
        yes_c, n_c = (tested.outcome & ~tested.treated & top).sum(), (~tested.treated & top).sum()
        shares.append(top.mean())
        found.append((yes_t - (yes_c * n_t / n_c if n_c else 0)) / tested.treated.sum())
    area = sum((shares[i + 1] - shares[i]) * (found[i] + found[i + 1]) / 2 for i in range(len(shares) - 1))
    return float(area - found[-1] / 2)


@pytest.mark.parametrize("digits", [1, 6])
def test_the_curve_equals_its_definition_also_with_ties(digits: int) -> None:
    experiment, _ = world(600, 1)
    scores: Numbers = np.round(np.random.default_rng(2).normal(size=600), digits)
    found = curve(scores, seen(experiment))
    assert found.qini == pytest.approx(by_hand(scores, seen(experiment)))
    assert found.auuc == pytest.approx(found.qini + found.gains[-1] / 2)
    average = average_effect(seen(experiment))
    assert average is not None
    assert found.gains[-1] == pytest.approx(average.value)


def test_one_score_for_all_has_no_qini_and_the_order_of_rows_does_not_matter() -> None:
    experiment, _ = world(2000, 3)
    assert curve(np.zeros(2000), seen(experiment)).qini == 0.0
    order = np.random.default_rng(4).permutation(2000)
    mixed = experiment.of(np.ones(2000, dtype=np.bool_))
    scores = np.floor(10.0 * experiment.features[:, 0].astype(np.float64))
    shuffled = HeldOut(treated=mixed.treated[order], outcome=mixed.outcome[order], weights=np.ones(2000))
    assert curve(scores[order], shuffled).qini == pytest.approx(curve(scores, seen(experiment)).qini)


def test_the_best_order_has_the_qini_that_theory_says() -> None:
    """Half of the customers gain d, the others nothing: the area over the random line is d/8."""
    experiment, effect = world(100_000, 5)
    drawn = gains(effect, np.zeros(100_000), seen(experiment), seed=1, draws=60)
    assert drawn.qini.low < 0.12 / 8 < drawn.qini.high
    assert drawn.other.value == 0.0
    assert drawn.over_other.value == drawn.qini.value


@pytest.mark.parametrize("learner", [TLearner, XLearner, DRLearner])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_learners_find_whom_it_helps(learner: type[Learner], share: float) -> None:
    experiment, _ = world(12_000, 6, differs=0.2, share=share)
    other, effect = world(4000, 7, differs=0.2)
    found = learner.fit(experiment, RECIPE).effects(other.features)
    assert np.corrcoef(found, effect)[0, 1] > 0.7
    # a difference of two means of 10,800 and 1,200 rows errs by 0.012
    assert abs(found.mean() - effect.mean()) < 4 * 0.012
    assert (np.abs(found) <= 1).all()


def test_row_effects_average_to_the_truth_where_features_chose_the_treated() -> None:
    """Naive means are off by the choice; φ with the true chances is not."""
    experiment, effect = world(15_000, 8, chosen=1.0)
    chance = expit(1.0 * experiment.features[:, 1].astype(np.float64))
    known = Experiment(
        features=experiment.features,
        treated=experiment.treated,
        outcome=experiment.outcome,
        chance=chance,
    )
    phi = row_effects(known, Recipe(rounds=40, leaves=6, threads=1))
    naive = average_effect(seen(experiment))
    assert naive is not None
    assert naive.low > effect.mean() + 0.02
    assert abs(phi.mean() - effect.mean()) < 4 * phi.std() / np.sqrt(len(phi))


@pytest.mark.parametrize(
    "learner", [pytest.param("t", marks=pytest.mark.slow), "x", pytest.param("dr", marks=pytest.mark.slow)]
)
def test_an_experiment_with_an_effect_is_accepted_and_survives_storing(
    learner: Literal["t", "x", "dr"],
) -> None:
    experiment, _ = world(8000, 9, differs=0.2)
    model = trained(experiment, Uplift(treated=DESIGN.treated, control=DESIGN.control, learner=learner))
    assert model.report.is_accepted, model.report.verdict
    assert model.report.verdict.startswith("accepted: on ")
    other, effect = world(5000, 10, differs=0.2)
    scores = model.score(table(other), date(2026, 1, 1))
    assert np.corrcoef(scores, effect)[0, 1] > 0.7
    again = from_bytes(model.to_bytes())
    assert (again.score(table(other), date(2026, 1, 1)) == scores).all()


def test_tenths_show_what_was_said_and_what_came() -> None:
    experiment, effect = world(40_000, 11)
    found = tenths(effect + 1e-6 * np.arange(40_000), seen(experiment))
    assert len(found) == 10
    assert sum(one.treated + one.control for one in found) == 40_000
    assert found[0].effect is not None
    assert found[0].effect.low < 0.12 < found[0].effect.high
    assert found[-1].gain == pytest.approx(curve(effect, seen(experiment)).gains[-1])


def test_the_same_effect_for_all_is_no_effect_found_and_everybody_has_the_average() -> None:
    experiment, _ = world(8000, 12, differs=0.0)
    model = trained(experiment)
    assert not model.report.is_accepted
    assert "no effect found" in model.report.verdict
    assert "not distinguishable from noise" in model.report.verdict
    average = model.known.average
    assert average is not None
    assert average.low < 0.05 < average.high
    assert set(model.score(table(experiment), date(2026, 1, 1)).tolist()) == {average.value}


def test_treatment_that_was_not_left_to_chance_is_refused() -> None:
    experiment, _ = world(6000, 13, chosen=0.8)
    with pytest.raises(DataError, match=r"M410.*not left to chance.*AUC"):
        trained(experiment)


@pytest.mark.slow
def test_where_it_is_said_that_features_chose_their_part_is_taken_out() -> None:
    experiment, effect = world(30_000, 13, chosen=0.8)
    design = Uplift(treated=DESIGN.treated, control=DESIGN.control, learner="dr", randomised=False)
    model = trained(experiment, design)
    average, naive = model.known.average, average_effect(seen(experiment))
    assert average is not None
    assert naive is not None
    # most of the bias of naive means is gone; the rest is what estimated chances leave
    assert abs(average.value - effect.mean()) < 0.3 * abs(naive.value - effect.mean())
    assert "Chance did not decide" in model.report.notes[0]


def test_too_few_customers_are_told_and_get_the_average() -> None:
    experiment, _ = world(1200, 14)
    model = trained(experiment)
    assert "of the treated group to learn from, 400 needed" in model.report.verdict
    assert model.known.average is not None


def test_later_rounds_test_where_earlier_ones_are_answered() -> None:
    experiment, _ = world(4000, 15)
    rows = Rows.of(table(experiment, days=4))
    assert (held_out(rows, task().definition, DESIGN) == (np.arange(4000) >= 2000)).all()


def test_without_rounds_in_order_every_row_of_a_customer_is_on_one_side() -> None:
    experiment, _ = world(4000, 16)
    twice = table(experiment).set_column(0, "profile", pa.array(np.arange(4000) % 2000))
    tested = held_out(Rows.of(twice), task().definition, DESIGN)
    assert (tested[:2000] == tested[2000:]).all()
    assert 0.45 < tested.mean() < 0.55


@pytest.mark.slow
def test_noise_is_accepted_no_more_often_than_its_interval_allows() -> None:
    """The same effect for all, 200 times: the Qini's interval lies above zero in 2.5 % of them."""
    wrong = 0
    for seed in range(200):
        experiment, _ = world(8000, 1000 + seed, differs=0.0)
        learn, test = experiment.of(np.arange(8000) < 4000), experiment.of(np.arange(8000) >= 4000)
        scores = XLearner.fit(learn, RECIPE).effects(test.features)
        wrong += gains(scores, scores, seen(test), seed, draws=300).qini.is_above_zero
    assert wrong <= binom.ppf(0.999, 200, 0.025), wrong


@pytest.mark.slow
def test_intervals_of_the_qini_cover_the_truth() -> None:
    """The true effect as the score: its Qini is 0.12/8; 400 intervals of 95 %."""
    covered = 0
    for seed in range(400):
        experiment, effect = world(5000, 3000 + seed)
        found = gains(effect, np.zeros(5000), seen(experiment), seed, draws=400).qini
        covered += found.low <= 0.12 / 8 <= found.high
    assert binom.ppf(0.001, 400, 0.95) <= covered <= binom.ppf(0.999, 400, 0.95), covered


@pytest.mark.slow
def test_honest_experiments_are_seldom_refused() -> None:
    """Random assignment is refused once in a thousand times: of 100 experiments not more than a few."""
    refused = 0
    for seed in range(100):
        experiment, _ = world(4000, 7000 + seed)
        refused += not assignment(experiment.features, experiment.treated, RECIPE).looks_random
    assert refused <= binom.ppf(0.9999, 100, 0.001), refused
