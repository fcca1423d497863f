"""Features are chosen by pattern and encoded the same way at training and in use."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from tilltal.core.errors import DataError, WorkspaceError
from tilltal.models.dataset.features import (
    MAX_CATEGORIES,
    Encoding,
    RowReader,
    learn_encoding,
    select_features,
)

NAMES = ["profile", "age", "card_7d", "card_30d", "score.churn", "lifecycle.stage", "label"]
DAY = date(2026, 6, 1)


def column(values: object, name: str = "x") -> pa.Table:
    return pa.table({name: values})


def test_patterns_keep_the_profiles_order_and_never_take_ids_labels_or_scores() -> None:
    assert select_features(["*"], [], NAMES) == ("age", "card_7d", "card_30d", "lifecycle.stage")
    assert select_features(["card_*", "age"], ["*_7d"], NAMES) == ("age", "card_30d")


def test_a_pattern_without_a_match_is_named_with_what_would_match() -> None:
    with pytest.raises(WorkspaceError) as caught:
        select_features(["age", "crad_7d"], [], NAMES)
    (fault,) = caught.value.faults
    assert fault.code == "M401"
    assert fault.valid[0] == "card_7d"


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(WorkspaceError, match="M402"):
        select_features(["age"], ["a*"], NAMES)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, None, 2**62]), [1.0, np.nan, 2.0**62]),
        (pa.array([1.5, float("nan"), float("inf")]), [1.5, np.nan, np.nan]),
        (pa.array([True, False, None]), [1.0, 0.0, np.nan]),
        (pa.array([Decimal("1.25"), None, Decimal("-3.00")]), [1.25, np.nan, -3.0]),
        (pa.array([date(2026, 5, 31), date(2026, 6, 11), None]), [1.0, -10.0, np.nan]),
        (pa.array([date(1, 1, 1), date(9999, 12, 31), None]), [739767.0, -2912291.0, np.nan]),
        (pa.array([datetime(2026, 5, 30, 23, 59), None, datetime(2026, 6, 1)]), [2.0, np.nan, 0.0]),
        (pa.array(["b", "a", "b"]), [0.0, 1.0, 0.0]),
        (pa.array(["b", None, "b"]).dictionary_encode(), [0.0, np.nan, 0.0]),
        (pa.array(["b", None, "b"], pa.large_string()), [0.0, np.nan, 0.0]),
        (pa.array(["b", None, "b"], pa.string_view()), [0.0, np.nan, 0.0]),
    ],
)
def test_every_type_becomes_a_number(values: pa.Array, expected: list[float]) -> None:
    table = column(values)
    matrix = learn_encoding(table, ["x"]).matrix(table, DAY)
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix[:, 0], np.array(expected, dtype=np.float32))


def test_a_row_is_what_a_table_of_one_row_is() -> None:
    table = pa.table(
        {
            "n": pa.array([1, None, 2**40]),
            "m": pa.array([1.5, 1e300, float("inf")]),
            "d": pa.array([Decimal("1.25"), None, Decimal("-3.00")]),
            "b": pa.array([True, False, None]),
            "day": pa.array([date(2026, 5, 31), None, date(1, 1, 1)]),
            "at": pa.array([datetime(2026, 5, 30, 23, 59), datetime(2026, 6, 1), None]),
            "text": pa.array(["b", "a", None]),
        }
    )
    encoding = learn_encoding(table, table.column_names)
    reader, matrix = RowReader(encoding), encoding.matrix(table, DAY)
    for number, row in enumerate(table.to_pylist()):
        np.testing.assert_array_equal(reader.read(row, DAY)[0], matrix[number])


@pytest.mark.parametrize("name", ["n", "b", "day", "text"])
def test_a_row_of_another_type_or_without_a_name_is_refused(name: str) -> None:
    table = pa.table({"n": [1, 2], "b": [True, False], "day": [DAY, date(2026, 1, 1)], "text": ["a", "b"]})
    reader = RowReader(learn_encoding(table, table.column_names))
    row = table.to_pylist()[0]
    with pytest.raises(DataError, match="M405"):
        reader.read(row | {name: 1.5 if name != "n" else "a"}, DAY)
    del row[name]
    with pytest.raises(DataError, match="M404"):
        reader.read(row, DAY)


def test_dates_count_from_each_rows_own_snapshot() -> None:
    table = pa.table({"snapshot": [DAY, date(2026, 7, 1)], "x": [date(2026, 5, 31), date(2026, 5, 30)]})
    assert learn_encoding(table, ["x"]).matrix(table)[:, 0].tolist() == [1.0, 32.0]


def test_a_value_not_seen_in_training_is_missing() -> None:
    encoding = learn_encoding(column(["a", "b"]), ["x"])
    assert np.isnan(encoding.matrix(column(["c"]), DAY)[0, 0])


def test_a_long_vocabulary_is_capped_by_frequency() -> None:
    values = ["often"] * 500 + [f"rare{i:03d}" for i in range(200)]
    (feature,) = learn_encoding(column(values), ["x"]).features
    assert len(feature.vocabulary) == MAX_CATEGORIES
    assert feature.vocabulary[:2] == ("often", "rare000")


def test_useless_columns_are_dropped_with_the_reason() -> None:
    table = pa.table({
        "good": [1, 2, 3],
        "same": ["a", "a", "a"],
        "empty": pa.array([None, None, None], pa.string()),
        "many": [[1], [2], [3]],
    })  # fmt: skip
    names = pa.table({"id": [f"c{i}" for i in range(1000)], "n": range(1000)})
    assert [item.name for item in learn_encoding(table, table.column_names).dropped] == [
        "same",
        "empty",
        "many",
    ]
    (dropped,) = learn_encoding(names, ["id", "n"]).dropped
    assert dropped.reason == "its 64 commonest values cover 6% of the rows"


def test_only_useless_columns_is_an_error_that_says_why() -> None:
    with pytest.raises(WorkspaceError, match=r"M402.*x: it has one value for everybody"):
        learn_encoding(column([1, 1]), ["x"])


def test_an_encoding_survives_being_stored() -> None:
    table = pa.table({"x": ["a", "b", None], "d": [DAY, None, DAY]})
    encoding = learn_encoding(table, ["x", "d"])
    again = msgspec.json.decode(msgspec.json.encode(encoding), type=Encoding)
    np.testing.assert_array_equal(again.matrix(table, DAY), encoding.matrix(table, DAY))


def test_a_vanished_column_and_a_changed_type_are_named() -> None:
    encoding = learn_encoding(column([1.0, 2.0]), ["x"])
    with pytest.raises(DataError, match=r"M404 The model reads x"):
        encoding.matrix(pa.table({"y": [1.0]}), DAY)
    with pytest.raises(DataError, match=r"M405 x was a number .* is string now"):
        encoding.matrix(column(["1"]), DAY)


def test_a_column_that_came_out_all_null_is_missing_not_an_error() -> None:
    encoding = learn_encoding(column(["a", "b"]), ["x"])
    assert np.isnan(encoding.matrix(column(pa.nulls(3)), DAY)).all()
