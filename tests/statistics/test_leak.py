"""Leaks: a feature computed from what happens after the snapshot is named, and honest ones are left alone."""

from __future__ import annotations

from datetime import date

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from tilltal.core.errors import DataError
from tilltal.models.dataset.features import learn_encoding
from tilltal.models.fitting import Task
from tilltal.models.model import TrainedModel
from tilltal.models.quality.leak import Leak, changed_after, find_leaks
from tilltal.models.training import train
from tilltal.workspace.definitions.models import Model, Outcome

DAYS = [date(2026, month, 1) for month in range(1, 6)]
DEFINITION = Model(outcome=Outcome(events=("buy",)), horizon="1 month", features=("*",))
PEOPLE = 2000


def bank(seed: int = 1) -> pa.Table:
    """Purchases as events in time; each snapshot sees what was before it and is labelled by what comes after.

    `spend_30d` and `visits` are computed before the snapshot. `orders_30d` is the slip of a window that
    begins at the snapshot instead of ending there.
    """
    rng = np.random.default_rng(seed)
    need = rng.normal(size=PEOPLE)
    rate = np.exp(0.8 * need) / 60  # purchases a day
    days = np.arange(182)
    bought = rng.random((PEOPLE, len(days))) < rate[:, None]
    parts = [_snapshot(day, (day - date(2025, 12, 1)).days, bought, need, rng) for day in DAYS]
    return pa.concat_tables(parts)


def _snapshot(
    day: date, at: int, bought: NDArray[np.bool_], need: NDArray[np.float64], rng: np.random.Generator
) -> pa.Table:
    return pa.table({
        "profile": np.arange(PEOPLE),
        "snapshot": pa.array([day] * PEOPLE),
        "spend_30d": bought[:, at - 30 : at].sum(axis=1) * 100,
        "visits": rng.poisson(np.exp(0.5 * need + 1)),
        "orders_30d": bought[:, at : at + 30].sum(axis=1),
        "label": bought[:, at : at + 30].any(axis=1),
    })  # fmt: skip


def task(**changes: object) -> Task:
    return Task(name="buys", definition=msgspec.structs.replace(DEFINITION, **changes), threads=1)


def leaks(table: pa.Table, limit: float = 0.98) -> dict[str, Leak]:
    names = [name for name in table.column_names if name not in ("profile", "snapshot", "label")]
    encoding = learn_encoding(table, names)
    labels = table.column("label").to_numpy()
    return {leak.feature: leak for leak in find_leaks(encoding.matrix(table), labels, encoding, limit)}


def with_column(values: object, labels: NDArray[np.bool_]) -> pa.Table:
    return pa.table({"x": values, "label": labels})


def test_a_window_that_looks_ahead_is_named_with_what_to_do() -> None:
    with pytest.raises(DataError) as caught:
        train(bank(), task())
    (fault,) = caught.value.faults
    assert fault.code == "M403"
    assert "orders_30d seems to know the future: alone it reaches an AUC of 1.000" in fault.message
    assert "'orders_30d' under `exclude`" in fault.hint


def test_without_it_the_training_goes_on() -> None:
    model = train(bank(), task(exclude=("orders_30d",)))
    assert isinstance(model, TrainedModel)
    assert model.report.leaks == ()
    assert model.report.test is not None
    assert 0.6 < model.report.test.auc.value < 0.85


def test_a_leak_known_from_elsewhere_refuses_too() -> None:
    known = Leak(feature="visits", tell="changed", evidence="its value is another today")
    with pytest.raises(DataError, match="M403 Model buys: the feature visits"):
        train(bank(), task(exclude=("orders_30d",)), known_leaks=[known])


@pytest.mark.parametrize("shape", ["rising", "falling", "tips of a U", "category", "boolean", "only missing"])
def test_every_shape_of_a_known_future_is_found(shape: str) -> None:
    rng = np.random.default_rng(2)
    label = rng.random(6000) < 0.1
    side = np.where(rng.random(6000) < 0.5, 1.0, -1.0)
    noise = rng.normal(size=6000)
    columns: dict[str, object] = {
        "rising": np.where(label, 9.0, 0.0) + noise,
        "falling": np.where(label, -9.0, 0.0) + noise,
        "tips of a U": np.where(label, 9.0 * side, 0.0) + noise,
        "category": np.where(label, "closed", np.where(noise > 0, "open", "idle")),
        "boolean": label.copy(),
        "only missing": pa.array(noise, mask=~label),
    }
    assert leaks(with_column(columns[shape], label))["x"].refuses


def test_a_field_filled_in_only_after_the_outcome_is_found_even_where_most_are_empty() -> None:
    rng = np.random.default_rng(3)
    label = rng.random(8000) < 0.1
    filled = label & (rng.random(8000) < 0.3)
    found = leaks(with_column(pa.array(rng.normal(size=8000), mask=~filled), label))["x"]
    assert found.tell == "pure"
    assert f"{int(filled.sum()):,} of {int(filled.sum()):,} rows where it is not missing" in found.evidence


def test_half_a_future_is_suspected_not_refused() -> None:
    rng = np.random.default_rng(4)
    label = rng.random(20_000) < 0.1
    found = leaks(with_column(rng.normal(size=20_000) + 1.8 * label, label))["x"]
    assert found.tell == "suspect"
    assert not found.refuses


@pytest.mark.parametrize("seed", range(5))
def test_honest_features_are_left_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    label = rng.random(5000) < 0.02
    table = pa.table({
        "normal": rng.normal(size=5000) + label,  # AUC .76
        "sparse": pa.array(rng.normal(size=5000), mask=rng.random(5000) < 0.99),
        "many": rng.choice([f"c{i}" for i in range(60)], 5000),
        "flag": rng.random(5000) < 0.01,
        "label": label,
    })  # fmt: skip
    assert leaks(table) == {}


def test_too_few_answers_accuse_nobody() -> None:
    label = np.arange(200) < 5
    assert leaks(with_column(label.astype(float), label)) == {}


def test_a_value_that_later_arrivals_change_is_found() -> None:
    ids = np.arange(1000)
    steady, late = np.arange(1000.0), np.where(ids < 20, 7.0, np.nan)
    then = pa.table({"profile": ids, "steady": steady, "late": np.full(1000, np.nan)})
    later = pa.table({"profile": ids[::-1], "steady": steady[::-1], "late": late[::-1]})
    encoding = learn_encoding(later, ["steady", "late"])
    (leak,) = changed_after(then, later, encoding, DAYS[0])
    assert leak.feature == "late"
    assert leak.evidence == "for 2.0 % of the customers its value as of 2026-01-01 is another today"
    assert leak.refuses


def test_a_model_too_good_names_the_feature_that_carries_it() -> None:
    table = bank()
    label = table.column("label").to_numpy()
    rng = np.random.default_rng(5)
    told = np.where(rng.random(len(label)) < 0.88, label, rng.random(len(label)) < 0.5).astype(float)
    table = table.set_column(4, "orders_30d", pa.array(told + rng.normal(0, 0.2, len(label))))
    model = train(table, task())
    assert [leak.feature for leak in model.report.leaks] == ["orders_30d"]
    assert not any(leak.refuses for leak in model.report.leaks)
