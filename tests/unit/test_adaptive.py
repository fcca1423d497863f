"""Adaptive propensities: exact revision, states as bytes, many models at once, outcomes."""

from __future__ import annotations

import itertools
import random
from datetime import date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilltal.core.operational import Answered
from tilltal.models.adaptive.bins import AnyBins, Borders, Hashed, Listed, bins_from, plain_bins
from tilltal.models.adaptive.layout import layout_of
from tilltal.models.adaptive.methods import model_from, new_model
from tilltal.models.adaptive.model import Case, probability, revise
from tilltal.models.adaptive.naive_bayes import NaiveBayes
from tilltal.models.adaptive.outcomes import outcome, time_out
from tilltal.models.adaptive.table import AdaptiveTable
from tilltal.rules.types import Type
from tilltal.workspace.check import check_folder
from tilltal.workspace.definitions.actions import Adaptive

BINS: dict[str, AnyBins] = {
    "town": Listed(("a", "b", "c")),
    "age": Borders((30.0, 50.0)),
    "vip": plain_bins(Type.BOOLEAN),
}
DAY = 86_400_000_000


def fresh(base_rate: float = 0.05, half_life: str | None = None) -> NaiveBayes:
    features = ("town", "age")
    made = new_model(layout_of(Adaptive(base_rate=base_rate, features=features, half_life=half_life), BINS))
    assert isinstance(made, NaiveBayes)
    return made


def some_cases(model: NaiveBayes, count: int, seed: int) -> list[tuple[Case, bool]]:
    rng = random.Random(seed)
    return [
        (
            model.case(
                (rng.choice(("a", "b", "z", None)), rng.choice((20, 40, None))), rng.randrange(90) * DAY
            ),
            rng.random() < 0.3,
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("half_life", [None, "10 days"])
def test_an_answer_taken_back_was_never_given(half_life: str | None) -> None:
    once, never = fresh(half_life=half_life), fresh(half_life=half_life)
    cases = some_cases(once, 50, 1)
    for case, answer in cases:
        once.learn(case, answer)
        never.learn(case, answer)
    extra = once.case(("a", 20), 80 * DAY)
    once.learn(extra, True)
    assert once.to_bytes(90 * DAY) != never.to_bytes(90 * DAY)
    revise(once, extra, True, None)
    assert once.to_bytes(90 * DAY) == never.to_bytes(90 * DAY)
    assert once.evidence(90 * DAY) == never.evidence(90 * DAY)


def test_a_revised_answer_counts_as_if_it_had_been_the_first() -> None:
    revised, direct = fresh(), fresh()
    for case, answer in some_cases(revised, 30, 2):
        revise(revised, case, None, not answer)
        revise(revised, case, not answer, answer)
        revise(revised, case, answer, answer)
        direct.learn(case, answer)
    assert revised.to_bytes(0) == direct.to_bytes(0)


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from((None, "3 days")))
def test_the_order_of_answers_means_nothing(rng: random.Random, half_life: str | None) -> None:
    one, other, left, right = (fresh(half_life=half_life) for _ in range(4))
    cases = some_cases(one, 40, rng.randrange(1000))
    shuffled = rng.sample(cases, len(cases))
    for case, answer in cases:
        one.learn(case, answer)
    for place, (case, answer) in enumerate(shuffled):
        other.learn(case, answer)
        (left if place % 2 else right).learn(case, answer)
    left.merge(right)
    assert one.to_bytes(90 * DAY) == other.to_bytes(90 * DAY) == left.to_bytes(90 * DAY)


def test_a_yes_raises_and_a_no_lowers() -> None:
    model = fresh()
    before = probability(model, ("a", 20), 0)
    model.learn(model.case(("a", 20), 0), True)
    after = probability(model, ("a", 20), 0)
    model.learn(model.case(("a", 20), 0), False)
    assert before < after > probability(model, ("a", 20), 0)


def test_a_state_survives_as_bytes() -> None:
    model = fresh(half_life="10 days")
    for case, answer in some_cases(model, 50, 3):
        model.learn(case, answer)
    again = model_from(model.to_bytes(90 * DAY), model.layout)
    assert isinstance(again, NaiveBayes)
    assert again.to_bytes(90 * DAY) == model.to_bytes(90 * DAY)
    assert again.evidence(90 * DAY) == model.evidence(90 * DAY)


def test_a_changed_definition_begins_anew_with_its_totals() -> None:
    old, changed = fresh(), fresh(base_rate=0.2)
    cases = some_cases(old, 200, 4)
    for case, answer in cases:
        old.learn(case, answer)
    model = model_from(old.to_bytes(0), changed.layout)
    assert model.answers(0) == old.answers(0)
    rates = {probability(model, (town, age), 0) for town in "ab" for age in (20, 40)}
    assert len(rates) == 1, "predictors say nothing yet"
    before = model.answers(0)
    revise(model, cases[0][0], cases[0][1], None)
    assert sum(model.answers(0)) == sum(before) - 1, "a case of the old definition is still taken back"


def test_counts_lost_between_definitions_do_no_harm() -> None:
    old, changed = fresh(), fresh(base_rate=0.2)
    case = old.case(("a", 20), 0)
    old.learn(case, True)
    back = model_from(model_from(old.to_bytes(0), changed.layout).to_bytes(0), old.layout)
    revise(back, case, True, False)
    assert back.answers(0) == (0, 1)
    assert 0 < probability(back, ("a", 20), 0) < 0.05


def test_waiting_longer_is_no_new_definition() -> None:
    short = layout_of(Adaptive(base_rate=0.1, wait="1 day"), {})
    assert short.id == layout_of(Adaptive(base_rate=0.1, wait="9 days"), {}).id
    assert short.id != layout_of(Adaptive(base_rate=0.1, evidence=50), {}).id


def test_many_models_at_once_say_what_each_says() -> None:
    rng = random.Random(6)
    chosen = [("town",), ("age", "vip"), (), ("vip", "town", "age")]
    models = [
        new_model(layout_of(Adaptive(base_rate=0.1, features=features, half_life="5 days"), BINS))
        for features in chosen
    ]
    slots = {"age": 0, "town": 2, "vip": 1}
    table = AdaptiveTable(models, slots, 0)
    for turn in range(300):
        row = [rng.choice((20, 40, None)), rng.choice((True, False)), rng.choice(("a", "b", "new"))]
        number, at = rng.randrange(4), turn * DAY // 10
        models[number].learn(table.case(number, row, at), rng.random() < 0.3)
        table.update(number)
        if turn % 50 == 0:
            table.refresh(at)
        for rate, model, features in zip(table.rates(row), models, chosen, strict=True):
            values = [row[slots[name]] for name in features]
            assert rate == pytest.approx(probability(model, values, table.at), abs=1e-12)


def answered(*given: tuple[str, int]) -> list[Answered]:
    return [
        Answered(id=b"%d" % place, decision=b"d", action="a", channel="c", kind=kind, at=at, received=at)
        for place, (kind, at) in enumerate(given)
    ]


@pytest.mark.parametrize(
    ("given", "now", "label", "ends"),
    [
        ((), 100, None, None),
        ((("impression", 5),), 14, None, 15),
        ((("delivered", 3), ("impression", 5)), 13, False, 13),
        ((("impression", 5),), 15, False, 15),
        ((("click", 7), ("impression", 5)), 14, None, 15),
        ((("impression", 5), ("accept", 7)), 7, True, None),
        ((("impression", 5), ("accept", 40)), 40, True, None),
        ((("impression", 5), ("reject", 7)), 7, False, None),
        ((("impression", 5), ("reject", 7), ("conversion", 9)), 9, True, None),
        ((("accept", 7), ("reject", 9)), 9, False, None),
        ((("accept", 9), ("reject", 9)), 9, True, None),
        ((("opened_the_window", 1),), 99, None, None),
    ],
)
def test_what_an_impression_came_to(
    given: tuple[tuple[str, int], ...], now: int, label: bool | None, ends: int | None
) -> None:
    for order in itertools.permutations(given):
        assert outcome(answered(*order), now, 10) is label
        assert time_out(answered(*order), 10) == ends


def test_bins_hold_every_value_and_keep_the_order() -> None:
    for bins in (*BINS.values(), plain_bins(Type.NUMBER), plain_bins(Type.DATE), Hashed()):
        for value in (
            None,
            "a",
            "x",
            3,
            -1e300,
            float("nan"),
            True,
            date(2026, 5, 4),
            datetime(2026, 5, 4, 1),
        ):
            assert 0 <= bins.of(value) < bins.size
        assert bins.of(None) == 0
    parts = bins_from([*range(1000), None], Type.INTEGER)
    assert [sum(parts.of(each) == part for each in range(1000)) for part in range(1, parts.size)] == [
        1000 * (part + 1) // 32 - 1000 * part // 32 for part in range(32)
    ]
    assert bins_from([None], Type.TEXT) == Hashed()
    assert bins_from(["b", "a", "b"], Type.TEXT) == Listed(("a", "b"))
    assert bins_from([date(2026, 1, day) for day in range(1, 31)], Type.DATE).of(date(2027, 1, 1)) == 30
    assert bins_from([7, 7, 7], Type.NUMBER).of(7) == 1


WORKSPACE = {
    "tilltal.yaml": "name: bank\nchannels: [email]\nlanguages: [en]\n",
    "sources/people.yaml": (
        "kind: record\nread: {files: a.csv}\nidentities: {customer: id}\nat: at\n"
        "fields: {age: {type: integer}}\n"
    ),
    "actions/card/email.en.yaml": "body: Hello\n",
}


def faults_of(root: Path, propensity: str) -> list[str]:
    action = f"title: A\ngroup: cards\npropensity: {{adaptive: {propensity}}}\n"
    for file, text in (WORKSPACE | {"actions/card/action.yaml": action}).items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text, encoding="utf-8")
    return [f"{fault.code} {fault.place.line} {fault.message}" for fault in check_folder(root)]


def test_an_adaptive_propensity_is_declared_in_its_action(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "{base_rate: 0.05, features: [age], wait: P7D, half_life: 90 days}") == []


@pytest.mark.parametrize(
    ("propensity", "wanted"),
    [
        ("{features: [age]}", "W111 3 The key `base_rate` is missing."),
        ("{base_rate: 1}", "W114 3 "),
        ("{base_rate: 0.1, features: [agee]}", "W130 3 There is no name 'agee'."),
        ("{base_rate: 0.1, features: [age, age]}", "W133 3 'age' is in the list twice."),
        ("{base_rate: 0.1, wait: soon}", "W122 3 "),
        ("{base_rate: 0.1, half_life: 2 months}", "W122 3 "),
    ],
)
def test_a_faulty_adaptive_propensity_is_told_at_its_place(
    tmp_path: Path, propensity: str, wanted: str
) -> None:
    (found,) = faults_of(tmp_path, propensity)
    assert found.startswith(wanted)
