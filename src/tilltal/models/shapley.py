"""Shapley values of many rows at once, exactly those of TreeSHAP.

Lundberg, Erion & Lee 2018, arXiv:1802.03888, gives a row's Shapley values of one tree as a function of the
row's answers at the tree's splits and of nothing else. A tree of 12 leaves has 11 splits, and millions of
customers give a few hundred different answers; so each pattern of answers is explained once, by LightGBM
itself, and looked up for everybody who shares it.

    phi(row) = sum over trees of phi_tree(answers of the row)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightgbm as lgb
import msgspec
import numpy as np
from numpy.typing import NDArray

from tilltal.models.dataset.features import Matrix

Vector = NDArray[np.float64]
Codes = NDArray[np.int64]

MOST_SPLITS = 16  # patterns fit a table of 65,536 places
_TINY = 1e-35  # LightGBM takes numbers nearer to 0 as 0


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """One split: rows that answer yes go left. `categories` for a split by value, else `threshold`."""

    feature: int
    threshold: float
    categories: tuple[int, ...] | None
    missing: str
    missing_left: bool

    def answers(self, column: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which rows go left, as LightGBM decides it."""
        if self.categories is not None:
            return _within(column, self.categories)
        values = column.astype(np.float64)
        is_nan = np.isnan(values)
        if self.missing == "NaN":
            return np.asarray(np.where(is_nan, self.missing_left, values <= self.threshold))
        values = np.where(is_nan, 0.0, values)
        if self.missing == "Zero":
            return np.asarray(np.where(np.abs(values) <= _TINY, self.missing_left, values <= self.threshold))
        return np.asarray(values <= self.threshold)


def contributions(booster: lgb.Booster, features: Matrix, threads: int = 1) -> Vector:
    """Return SHAP values (rows, features + 1) in log-odds; the last column is the average customer."""
    total = np.zeros((len(features), features.shape[1] + 1))
    for number, tree in enumerate(booster.dump_model()["tree_info"]):
        splits = list(_splits(tree["tree_structure"]))
        if len(splits) > MOST_SPLITS:
            total += _of_tree(booster, number, features, threads)
            continue
        first, place = _patterns(splits, features)
        values = _of_tree(booster, number, features[first], threads)
        for column in {*(split.feature for split in splits), features.shape[1]}:
            total[:, column] += values[:, column][place]
    return total


def _of_tree(booster: lgb.Booster, number: int, features: Matrix, threads: int) -> Vector:
    """Return LightGBM's own values of one tree."""
    values = booster.predict(
        features, pred_contrib=True, start_iteration=number, num_iteration=1, num_threads=threads
    )
    return np.asarray(values, np.float64)


def _patterns(splits: list[Split], features: Matrix) -> tuple[Codes, Codes]:
    """Return a row of each pattern of answers, and each row's place among the patterns."""
    code = np.zeros(len(features), dtype=np.int64)
    for bit, split in enumerate(splits):
        code |= split.answers(features[:, split.feature]).astype(np.int64) << bit
    example = np.full(1 << len(splits), -1, dtype=np.int64)
    example[code[::-1]] = np.arange(len(code))[::-1]
    present = np.flatnonzero(example >= 0)
    place = np.zeros(len(example), dtype=np.int64)
    place[present] = np.arange(len(present))
    return example[present], place[code]


def _splits(node: dict[str, Any]) -> Iterator[Split]:
    """Yield the splits of a tree as LightGBM dumps it."""
    if "split_index" not in node:
        return
    is_category = node["decision_type"] == "=="
    threshold = node["threshold"]
    yield Split(
        feature=node["split_feature"],
        threshold=0.0 if is_category else float(threshold),
        categories=tuple(int(each) for each in str(threshold).split("||")) if is_category else None,
        missing=node["missing_type"],
        missing_left=node["default_left"],
    )
    yield from _splits(node["left_child"])
    yield from _splits(node["right_child"])


def _within(column: NDArray[np.float32], categories: tuple[int, ...]) -> NDArray[np.bool_]:
    known = np.zeros(max(categories) + 2, dtype=bool)
    known[list(categories)] = True
    codes = np.where(np.isnan(column) | (column < 0), len(known) - 1, column).astype(np.int64)
    return np.asarray(known[np.minimum(codes, len(known) - 1)])
