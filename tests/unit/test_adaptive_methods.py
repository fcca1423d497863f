"""What every adaptive method promises: exact revision in any order, states as bytes, one table for all."""

from __future__ import annotations

import random
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilltal.models.adaptive.bins import AnyBins, Borders, Hashed, Listed, plain_bins
from tilltal.models.adaptive.design import design_of
from tilltal.models.adaptive.grouping import SILENT, grouped
from tilltal.models.adaptive.layout import layout_of
from tilltal.models.adaptive.logistic import BayesianLogistic
from tilltal.models.adaptive.methods import model_from, new_model
from tilltal.models.adaptive.model import AdaptiveModel, Case, probability, revise
from tilltal.models.adaptive.naive_bayes import NaiveBayes
from tilltal.models.adaptive.table import AdaptiveTable
from tilltal.rules.types import Type
from tilltal.workspace.definitions.actions import Adaptive, Method

METHODS: tuple[Method, ...] = get_args(Method)
BINS: dict[str, AnyBins] = {
    "town": Listed(("a", "b", "c")),
    "age": Borders((30.0, 40.0, 50.0)),
    "vip": plain_bins(Type.BOOLEAN),
    "code": Hashed(),
}
DAY = 86_400_000_000
every_method = pytest.mark.parametrize("method", METHODS)


def fresh(method: Method, half_life: str | None = None, base_rate: float = 0.1) -> AdaptiveModel:
    definition = Adaptive(
        base_rate=base_rate, features=("town", "age", "code"), half_life=half_life, method=method
    )
    return new_model(layout_of(definition, BINS))


def some_cases(model: AdaptiveModel, count: int, seed: int) -> list[tuple[Case, bool]]:
    """Cases of a model that learns as it goes, so that what it believed differs from case to case."""
    rng = random.Random(seed)
    teacher = model_from(model.to_bytes(0), model.layout)
    found = []
    for _ in range(count):
        values = (rng.choice(("a", "b", "z", None)), rng.choice((20, 35, 60, None)), rng.choice("xyz"))
        case, label = teacher.case(values, rng.randrange(90) * DAY), rng.random() < 0.3
        teacher.learn(case, label)
        found.append((case, label))
    return found


@every_method
@pytest.mark.parametrize("half_life", [None, "10 days"])
def test_an_answer_taken_back_was_never_given(method: Method, half_life: str | None) -> None:
    once, never = fresh(method, half_life), fresh(method, half_life)
    for case, answer in some_cases(once, 60, 1):
        once.learn(case, answer)
        never.learn(case, answer)
    extra = once.case(("a", 20, "x"), 80 * DAY)
    once.learn(extra, True)
    assert once.to_bytes(90 * DAY) != never.to_bytes(90 * DAY)
    assert once.scoring(90 * DAY) != never.scoring(90 * DAY)
    revise(once, extra, True, None)
    assert once.to_bytes(90 * DAY) == never.to_bytes(90 * DAY)
    assert once.scoring(90 * DAY) == never.scoring(90 * DAY)


@every_method
@settings(max_examples=15, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_late_and_revised_answers_in_any_order_say_the_same(method: Method, rng: random.Random) -> None:
    direct, revised = fresh(method), fresh(method)
    cases = some_cases(direct, 40, rng.randrange(1000))
    for case, answer in cases:
        direct.learn(case, answer)
    steps: list[tuple[Case, bool | None, bool | None]] = []
    for case, answer in cases:
        steps.append((case, None, not answer))
    rng.shuffle(steps)
    corrections: list[tuple[Case, bool | None, bool | None]] = [(c, not a, a) for c, a in cases]
    rng.shuffle(corrections)
    for case, before, after in steps + corrections:
        revise(revised, case, before, after)
    assert revised.to_bytes(0) == direct.to_bytes(0)
    assert revised.scoring(0) == direct.scoring(0)


@every_method
@pytest.mark.parametrize("half_life", [None, "10 days"])
def test_states_of_two_processes_add_up(method: Method, half_life: str | None) -> None:
    whole, left, right = (fresh(method, half_life) for _ in range(3))
    for place, (case, answer) in enumerate(some_cases(whole, 60, 2)):
        whole.learn(case, answer)
        (left if place % 2 else right).learn(case, answer)
    if isinstance(left, NaiveBayes):
        assert isinstance(right, NaiveBayes)
        left.merge(right)
    else:
        assert isinstance(left, BayesianLogistic)
        assert isinstance(right, BayesianLogistic)
        left.merge(right)
    assert left.to_bytes(90 * DAY) == whole.to_bytes(90 * DAY)


@every_method
@pytest.mark.parametrize("half_life", [None, "10 days"])
def test_a_state_survives_as_bytes(method: Method, half_life: str | None) -> None:
    model = fresh(method, half_life)
    for case, answer in some_cases(model, 60, 3):
        model.learn(case, answer)
    again = model_from(model.to_bytes(90 * DAY), model.layout)
    assert again.to_bytes(90 * DAY) == model.to_bytes(90 * DAY)
    assert again.scoring(90 * DAY) == model.scoring(90 * DAY)
    assert again.answers(90 * DAY) == model.answers(90 * DAY)


@every_method
def test_without_answers_the_base_rate_stands(method: Method) -> None:
    model = fresh(method, base_rate=0.07)
    for values in (("a", 20, "x"), (None, None, None)):
        assert probability(model, values, 0) == pytest.approx(0.07, abs=1e-6)


@every_method
def test_a_yes_raises_and_a_no_lowers(method: Method) -> None:
    model = fresh(method)
    before = probability(model, ("a", 20, "x"), 0)
    model.learn(model.case(("a", 20, "x"), 0), True)
    after = probability(model, ("a", 20, "x"), 0)
    model.learn(model.case(("a", 20, "x"), 0), False)
    assert before < after > probability(model, ("a", 20, "x"), 0)


@pytest.mark.parametrize("half_life", [None, "10 days"])
def test_another_method_begins_with_the_totals(half_life: str | None) -> None:
    for old, new in (METHODS, METHODS[::-1]):
        model = fresh(old, half_life)
        for case, answer in some_cases(model, 80, 4):
            model.learn(case, answer)
        other = model_from(model.to_bytes(90 * DAY), fresh(new, half_life).layout)
        assert other.layout.adaptive.method == new
        if half_life is None:
            assert other.answers(0) == model.answers(0)
        else:  # the regression's periods are twice as long
            assert other.answers(90 * DAY) == pytest.approx(model.answers(90 * DAY), rel=0.35)
        rates = {probability(other, (town, age, "x"), 90 * DAY) for town in "ab" for age in (20, 60)}
        assert len(rates) == 1, "predictors say nothing yet"


def test_old_answers_of_a_regression_fade() -> None:
    model = fresh("bayesian_logistic", "10 days")
    for _ in range(200):
        model.learn(model.case(("a", 20, "x"), 0), True)
    known = [sum(model.answers(day * DAY)) for day in (0, 10, 20, 60)]
    assert known == [200, 100, 50, 0]
    assert probability(model, ("a", 20, "x"), 60 * DAY) == pytest.approx(0.1, abs=1e-6)


def test_models_of_both_methods_and_other_bins_stand_in_one_table() -> None:
    rng = random.Random(6)
    coarse: dict[str, AnyBins] = BINS | {"age": Borders((40.0,))}
    models = [
        new_model(layout_of(Adaptive(base_rate=0.1, features=features, method=method), bins))
        for method in METHODS
        for bins in (BINS, coarse)
        for features in (("town",), ("age", "vip"), (), ("vip", "town", "age"))
    ]
    slots = {"age": 0, "town": 2, "vip": 1}
    table = AdaptiveTable(models, slots, 0)
    for turn in range(400):
        row = [rng.choice((20, 35, None)), rng.choice((True, False)), rng.choice(("a", "b", "new"))]
        number = rng.randrange(len(models))
        models[number].learn(table.case(number, row, 0), rng.random() < 0.3)
        table.update(number)
        if turn % 20 == 0:
            wanted = [
                probability(model, [row[slots[name]] for name in model.layout.adaptive.features], 0)
                for model in models
            ]
            known = table.known(row)
            np.testing.assert_array_equal(known.rates, table.rates(row))
            np.testing.assert_allclose(known.rates, wanted, atol=1e-12)
            assert (known.evidence > 0).all()


def test_evidence_grows_with_answers() -> None:
    for method in METHODS:
        model = fresh(method)
        cases = some_cases(model, 400, 7)
        before = min(model.scoring(0).evidence)
        for case, answer in cases:
            model.learn(case, answer)
        assert min(model.scoring(0).evidence) > before > 0, method


def test_groups_follow_the_data() -> None:
    mass = [70.0, 10.0, 60.0, 200.0, 20.0, 20.0, 20.0, 0.0]
    assert grouped(mass, 50, is_ordered=True) == ([0, 1, 1, 2, 3, 3, 3, 3], 4)
    assert grouped(mass, 50, is_ordered=False) == ([0, 3, 1, 2, 3, 3, 3, 3], 4)
    assert grouped([10.0, 20.0, 20.0], 50, is_ordered=True) == ([SILENT] * 3, 0)


def test_a_design_stays_small_however_many_texts_there_are() -> None:
    many: dict[str, AnyBins] = {f"t{number}": Hashed() for number in range(20)}
    many |= {f"n{number}": Borders(tuple(map(float, range(9)))) for number in range(5)}
    design = design_of(layout_of(Adaptive(base_rate=0.1, features=tuple(many)), many))
    assert design.size <= 96
    few = design_of(layout_of(Adaptive(base_rate=0.1, features=("t0",)), many))
    assert few.size == 1 + 33, "a single predictor's texts need not share"
