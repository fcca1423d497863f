"""Reasons as they are stored: a list per shown action, strongest first, none without an effect."""

from __future__ import annotations

import numpy as np

from tilltal.runtime.refresh.deciding import _reasons


def test_each_row_keeps_its_own_reasons() -> None:
    feature = np.array([[1, 0, 2], [0, 0, 0], [2, 0, 0]])
    effect = np.array([[0.5, -0.2, 0.1], [0.0, 0.0, 0.0], [-0.7, 0.0, 0.0]])
    assert _reasons(["age", "spend", "logins"], feature, effect).to_pylist() == [
        [
            {"feature": "spend", "effect": 0.5},
            {"feature": "age", "effect": -0.2},
            {"feature": "logins", "effect": 0.1},
        ],
        [],
        [{"feature": "logins", "effect": -0.7}],
    ]


def test_no_model_no_reasons() -> None:
    empty = np.zeros((2, 3))
    assert _reasons([], empty.astype(np.int64), empty).to_pylist() == [[], []]
