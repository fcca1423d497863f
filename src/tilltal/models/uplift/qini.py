"""Qini curve: what targeting by a score gains over targeting at random, measured on an experiment.

With the share φ of the customers with the highest scores treated, the additional answers of yes per treated
customer are g(φ) = [Y_T(φ) − Y_C(φ) · N_T(φ) / N_C(φ)] / N_T(1), counts weighted where chance alone did not
assign.
AUUC is the area under g over φ in [0, 1]; the Qini coefficient is that less the area under the straight line
to g(1), which any order reaches on average. Radcliffe 2007, "Using control groups to target on predicted
lift", Direct Marketing Analytics Journal. Figures of other definitions cannot be compared.

Rows of equal scores count together. Intervals are percentiles of a bootstrap that draws the treated and the
others each by themselves (Efron & Tibshirani 1993, "An introduction to the bootstrap", chapter 13).
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from tilltal.models.calibration import Labels, Vector

_DRAWS, _FEWEST_DRAWS = 1000, 200
_ROWS_DRAWN = 20_000_000  # in all: with many rows fewer draws find the same ends


class Interval(msgspec.Struct, frozen=True):
    """A figure with its 95 % interval; as a text, of 1,000."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{1000 * self.value:.1f} ({1000 * self.low:.1f} to {1000 * self.high:.1f})"

    @property
    def is_above_zero(self) -> bool:
        """True where the interval excludes zero and what lies below it."""
        return self.low > 0


class Curve(msgspec.Struct, frozen=True):
    """Points of a Qini curve, from (0, 0): shares targeted, and g there; its two areas."""

    shares: Vector
    gains: Vector

    @property
    def auuc(self) -> float:
        """Area under the curve, in answers of yes per treated customer."""
        return float(np.trapezoid(self.gains, self.shares))

    @property
    def qini(self) -> float:
        """Area between the curve and the straight line to its end."""
        return self.auuc - float(self.gains[-1]) / 2


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """Held-out customers of an experiment: what was done, what came of it, and their weights."""

    treated: Labels
    outcome: Labels
    weights: Vector

    def __len__(self) -> int:
        return len(self.treated)

    def of(self, places: NDArray[np.int64]) -> HeldOut:
        """Return some of the customers."""
        return HeldOut(
            treated=self.treated[places], outcome=self.outcome[places], weights=self.weights[places]
        )


class Gains(msgspec.Struct, frozen=True, kw_only=True):
    """A score's areas with intervals; `over_other` is how much its Qini exceeds another score's."""

    qini: Interval
    auuc: Interval
    other: Interval
    over_other: Interval


def curve(scores: Vector, tested: HeldOut) -> Curve:
    """Return the Qini curve of a score.

    >>> treated = np.array([True, False] * 4)
    >>> yes = np.array([True, False, True, False, False, False, False, False])
    >>> tested = HeldOut(treated=treated, outcome=yes, weights=np.ones(8))
    >>> found = curve(np.array([4.0, 4, 3, 3, 2, 2, 1, 1]), tested)
    >>> found.gains.tolist(), found.qini
    ([0.0, 0.25, 0.5, 0.5, 0.5], 0.125)
    """
    return _curve(_cells(scores, tested), np.ones(len(tested)), tested)


def gains(scores: Vector, other: Vector, tested: HeldOut, seed: int, draws: int | None = None) -> Gains:
    """Return the areas of a score, and how it compares with another score on the same draws.

    Args:
        scores: of each customer; high ones are treated first.
        other: another score of the same customers.
        tested: what was done and what came of it.
        seed: of the bootstrap.
        draws: how many; as the number of rows allows if absent.
    """
    draws = draws or max(_FEWEST_DRAWS, min(_DRAWS, _ROWS_DRAWN // max(len(tested), 1)))
    own, others = _cells(scores, tested), _cells(other, tested)
    found = np.empty((draws, 3))
    rng = np.random.default_rng(seed)
    for row in range(draws):
        times = _drawn(tested, rng)
        drawn, compared = _curve(own, times, tested), _curve(others, times, tested)
        found[row] = drawn.qini, drawn.auuc, compared.qini
    once = np.ones(len(tested))
    now, against = _curve(own, once, tested), _curve(others, once, tested)
    return Gains(
        qini=_interval(now.qini, found[:, 0]),
        auuc=_interval(now.auuc, found[:, 1]),
        other=_interval(against.qini, found[:, 2]),
        over_other=_interval(now.qini - against.qini, found[:, 0] - found[:, 2]),
    )


class _Cells(msgspec.Struct, frozen=True):
    """Which cell each row falls into: its group of equal scores, times four by arm and answer."""

    of_row: NDArray[np.int64]
    groups: int


def _cells(scores: Vector, tested: HeldOut) -> _Cells:
    distinct, rank = np.unique(-scores, return_inverse=True)
    return _Cells(rank * 4 + 2 * tested.treated + tested.outcome, len(distinct))


def _curve(cells: _Cells, times: Vector, tested: HeldOut) -> Curve:
    """The curve where each row occurs so many times."""
    counts = np.bincount(cells.of_row, weights=times * tested.weights, minlength=4 * cells.groups)
    no_c, yes_c, no_t, yes_t = np.cumsum(counts.reshape(-1, 4), axis=0).T
    rows = np.cumsum(np.bincount(cells.of_row // 4, weights=times, minlength=cells.groups))
    treated, control = no_t + yes_t, no_c + yes_c
    missing = np.divide(yes_c * treated, control, out=np.zeros_like(control), where=control > 0)
    return Curve(np.append(0.0, rows / rows[-1]), np.append(0.0, (yes_t - missing) / treated[-1]))


def _drawn(tested: HeldOut, rng: np.random.Generator) -> Vector:
    """How often each row was drawn, each arm by itself."""
    times = np.zeros(len(tested))
    for arm in (np.flatnonzero(tested.treated), np.flatnonzero(~tested.treated)):
        times[arm] = np.bincount(rng.integers(len(arm), size=len(arm)), minlength=len(arm))
    return times


def _interval(value: float, drawn: Vector) -> Interval:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(value, float(low), float(high))
