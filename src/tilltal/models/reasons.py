"""Reasons: which features raise or lower one customer's score, and by how much.

TreeSHAP: the exact Shapley values of a tree ensemble (Lundberg, Erion & Lee 2018, "Consistent individualized
feature attribution for tree ensembles", arXiv:1802.03888), in log-odds before calibration, which keeps their
order. They sum to the score less the average customer's. Costs tens of times a prediction: ask for the
customers that need reasons, not for all.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tilltal.models.calibration import Vector


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One feature's part in one customer's score; `effect` in log-odds, `value` the customer's own."""

    feature: str
    value: str | float | bool | None
    effect: float

    @property
    def direction(self) -> Literal["raises", "lowers"]:
        """Whether it speaks for the outcome or against it."""
        return "raises" if self.effect > 0 else "lowers"

    def __str__(self) -> str:
        return f"{self.feature} = {_shown(self.value)} {self.direction} it"


class Strongest(msgspec.Struct, frozen=True):
    """The strongest features per row: `places` in the encoding and `effects`, both (rows, count)."""

    places: NDArray[np.int64]
    effects: Vector


def strongest(contributions: Vector, count: int) -> Strongest:
    """Return the features with the largest effects either way, strongest first, ties by place.

    Args:
        contributions: SHAP values (rows, features + 1), the last column the average customer.
        count: how many per row; fewer where there are fewer features.

    >>> strongest(np.array([[0.1, -0.5, 0.2, 9.0]]), 2).places
    array([[1, 2]])
    """
    parts = contributions[:, :-1]
    places = np.argsort(-np.abs(parts), axis=1, kind="stable")[:, :count].astype(np.int64)
    return Strongest(places, np.take_along_axis(parts, places, axis=1))


def _shown(value: str | float | bool | None) -> str:
    if value is None:
        return "missing"
    if isinstance(value, float) and not isinstance(value, bool):
        return f"{value:,.6g}"
    return str(value)
