"""A trained model scores, explains, survives being stored, and refuses what is broken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import cache

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from tilltal.core.errors import DataError
from tilltal.models.baseline import counted_positives
from tilltal.models.card.text import write_card
from tilltal.models.fitting import Task
from tilltal.models.model import BaseRate, Scorer, TrainedModel, from_bytes
from tilltal.models.training import base_rate_only, train
from tilltal.workspace.definitions.models import Acceptance, Model, Outcome, Snapshots

DAYS = [date(2026, month, 1) for month in range(1, 6)]
TODAY = date(2026, 6, 1)


def definition(**changes: object) -> Model:
    plain = Model(
        outcome=Outcome(events=("buy",)),
        horizon="1 month",
        features=("need", "age", "job", "since"),
        snapshots=Snapshots(count=5),
    )
    return msgspec.structs.replace(plain, **changes)


def customers(count: int = 600, *, slope: float = 2.0, intercept: float = -1.0, seed: int = 1) -> pa.Table:
    """Customers whose need alone decides, at five snapshots."""
    rng = np.random.default_rng(seed)
    total = count * len(DAYS)
    need = rng.normal(size=total)
    label = rng.random(total) < 1 / (1 + np.exp(-intercept - slope * need))
    return pa.table({
        "profile": np.tile(np.arange(count), len(DAYS)),
        "snapshot": pa.array([day for day in DAYS for _ in range(count)]),
        "need": need,
        "age": rng.integers(18, 90, total),
        "job": rng.choice(["clerk", "farmer", "none"], total),
        "since": pa.array(rng.integers(10_000, 15_000, total).astype(np.int32), pa.date32()),
        "label": label,
    })  # fmt: skip


@cache
def trained() -> TrainedModel:
    model = train(customers(), Task(name="buy", definition=definition(), hash="abc", threads=1))
    assert isinstance(model, TrainedModel)
    return model


def base_rate(table: pa.Table, model: Model | None = None) -> BaseRate:
    answer = train(table, Task(name="buy", definition=model or definition(), threads=1))
    assert isinstance(answer, BaseRate)
    return answer


def test_need_ranks_customers_and_probabilities_stay_inside() -> None:
    probability = trained().score(customers(seed=2), TODAY)
    need = customers(seed=2).column("need").to_numpy()
    assert ((probability > 0) & (probability < 1)).all()
    assert probability[need > 1].mean() > 3 * probability[need < -1].mean()


def test_training_twice_gives_the_same_bytes() -> None:
    again = train(customers(), Task(name="buy", definition=definition(), hash="abc", threads=2))
    assert again.to_bytes() == trained().to_bytes()


def test_a_stored_model_answers_alike() -> None:
    again = from_bytes(trained().to_bytes())
    table = customers(seed=3)
    np.testing.assert_array_equal(again.score(table, TODAY), trained().score(table, TODAY))
    assert again.report == trained().report
    assert again.content.definition_hash == "abc"


def test_nobody_to_score_is_no_error() -> None:
    nobody = customers().slice(0, 0)
    assert trained().score(nobody, TODAY).shape == (0,)
    assert trained().explain(nobody, TODAY) == ()
    assert np.isfinite([drift.psi for drift in trained().drift(nobody, TODAY)]).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_scores_do_not_depend_on_how_many_are_scored_at_once(threads: int) -> None:
    table = customers(seed=4)
    whole = trained().score(table, TODAY, threads=threads)
    single = [trained().score(table.slice(i, 1), TODAY)[0] for i in range(20)]
    np.testing.assert_array_equal(whole[:20], single)


def test_reasons_name_the_need_first_with_the_customers_value() -> None:
    table = customers(seed=5)
    high = int(np.argmax(table.column("need").to_numpy()))
    (reasons,) = trained().explain(table.slice(high, 1), TODAY)
    assert reasons[0].feature == "need"
    assert reasons[0].direction == "raises"
    assert reasons[0].value == pytest.approx(table.column("need")[high].as_py())
    assert str(reasons[0]).startswith("need = 3.")
    assert len(reasons) <= 3


def test_reasons_show_dates_texts_and_what_is_missing() -> None:
    table = customers(seed=5).slice(0, 1)
    missing = table.set_column(table.column_names.index("need"), "need", pa.array([None], pa.float64()))
    (reasons,) = trained().explain(missing, TODAY, count=4)
    shown = {reason.feature: reason.value for reason in reasons}
    assert shown["need"] is None
    assert shown.get("since", "2000-01-01") == table.column("since")[0].as_py().isoformat()
    assert any(str(reason).startswith("need = missing") for reason in reasons)


def test_drift_is_small_for_the_same_customers_and_large_for_others() -> None:
    same = {drift.name: drift for drift in trained().drift(customers(seed=6), TODAY)}
    table = customers(seed=6)
    moved = table.set_column(table.column_names.index("age"), "age", pa.array(np.full(len(table), 18)))
    other = {drift.name: drift for drift in trained().drift(moved, TODAY)}
    assert same["age"].verdict == "stable"
    assert other["age"].verdict == "alarm"
    assert next(iter(same)) == "score"


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda data: data[:-1], "M406"),
        (lambda data: data[:200], "M406"),
        (lambda data: data.replace(b"need", b"nest"), "M406"),
        (lambda data: b"", "M406"),
        (lambda data: b"PAR1" + data, "M406"),
        (lambda data: data.replace(b"tilltal-model 1", b"tilltal-model 9"), "M407"),
    ],
)
def test_a_damaged_file_is_refused_before_it_is_read(harm: Callable[[bytes], bytes], code: str) -> None:
    with pytest.raises(DataError, match=code):
        from_bytes(harm(trained().to_bytes()))


def test_too_few_positives_give_the_base_rate_with_a_clear_answer() -> None:
    rare = base_rate(customers(300, slope=0, intercept=-4.0))
    positives = sum(item.positives for item in rare.report.snapshots[:-1])
    assert rare.report.verdict.startswith(f"{positives} positives, 100 needed: the base rate ")
    low, high = rare.report.base_rate.interval
    probability = rare.score(customers(300), TODAY)
    assert (probability == probability[0]).all()
    assert low < probability[0] < high
    assert rare.explain(customers(2), TODAY) == ((),) * 10


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 positives"), (1, "1 positive"), (2_000, "2,000 positives")]
)
def test_a_single_positive_is_one(count: int, said: str) -> None:
    assert counted_positives(count) == said


def test_noise_is_not_accepted() -> None:
    noise = base_rate(customers(slope=0.0))
    assert "0.55 needed: the base rate" in noise.report.verdict
    assert noise.report.test is not None


def test_an_auc_that_chance_could_give_is_not_accepted() -> None:
    lenient = definition(acceptance=Acceptance(auc=0.5, positives=10))
    verdicts = {base_rate(customers(60, slope=0.0, seed=seed), lenient).report.verdict for seed in (1, 2, 3)}
    assert any("cannot be told from chance" in verdict for verdict in verdicts)


def test_a_horizon_longer_than_the_history_gives_the_base_rate() -> None:
    answer = base_rate(customers(), definition(horizon="1 year"))
    assert "no time-ordered test is possible" in answer.report.verdict


def test_nobody_eligible_is_said_and_nobody_gets_a_probability() -> None:
    answer = base_rate(customers().slice(0, 0))
    assert answer.report.verdict == (
        "nobody was eligible at any snapshot: nothing is known, and nobody gets a probability"
    )
    assert np.isnan(answer.score(customers(3), TODAY)).all()
    again = from_bytes(answer.to_bytes())
    assert again.report == answer.report


def test_a_refused_model_can_answer_with_the_base_rate_and_the_reason() -> None:
    answer = base_rate_only(customers(), Task(name="buy", definition=definition()), "a feature leaked")
    assert answer.report.verdict.startswith("a feature leaked: the base rate ")


def test_few_snapshots_and_few_positives_are_noted() -> None:
    table = customers(400, intercept=-2.5)
    first_two = table.filter(
        pa.array(np.isin(table.column("snapshot").to_numpy(), np.array(DAYS[:2], "M8[D]")))
    )
    relaxed = definition(acceptance=Acceptance(positives=20))
    answer: Scorer = train(first_two, Task(name="buy", definition=relaxed, threads=1))
    notes = " ".join(answer.report.notes)
    assert "a quarter of the customers" in notes
    assert "calibrated by Platt's line" in notes


def test_a_moved_base_rate_is_noted() -> None:
    table = customers()
    labels = table.column("label").to_numpy().copy()
    last = table.column("snapshot").to_numpy() == np.datetime64(DAYS[-1])
    labels[last] |= np.random.default_rng(1).random(int(last.sum())) < 0.3
    moved = table.set_column(table.column_names.index("label"), "label", pa.array(labels))
    answer = train(moved, Task(name="buy", definition=definition(), threads=1))
    assert any(note.startswith("The base rate moved") for note in answer.report.notes)


def test_a_table_that_was_not_made_for_training_is_refused() -> None:
    with pytest.raises(ValueError, match="'label'"):
        train(customers().drop_columns(["label"]), Task(name="buy", definition=definition()))


def test_the_card_says_what_a_reader_must_know() -> None:
    card = write_card(trained().content)
    for said in ("# Model: buy", "**accepted: AUC 0.", "`buy` within 1 month", "`abc`", "2026-05-01 | test"):
        assert said in card.text
    for picture in card.pictures:
        assert f"({picture.name})" in card.text
        assert picture.png.startswith(b"\x89PNG")
    assert [picture.name for picture in card.pictures] == ["gains.png", "reliability.png", "importance.png"]
    assert write_card(trained().content) == card


def test_the_card_of_a_base_rate_has_the_verdict_and_no_pictures() -> None:
    card = write_card(base_rate(customers(300, slope=0, intercept=-4.0)).content)
    assert "100 needed: the base rate" in card.text
    assert card.pictures == ()


def test_the_card_shows_what_a_random_division_would_have_claimed() -> None:
    task = Task(name="buy", definition=definition(), threads=1)
    answer = train(customers(), task, compare_random=True)
    assert answer.report.random_auc is not None
    assert f"divided at random | {answer.report.random_auc:.3f}" in write_card(answer.content).text
