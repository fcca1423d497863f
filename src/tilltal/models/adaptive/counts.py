"""Counts of answers by cell: whole numbers, so that adding and taking away leave no trace and no order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

_PER_HALF_LIFE = 4  # periods; counts of one period weigh alike
_HALVINGS = 8  # what weighs less than 1/256 is forgotten


class Counts:
    """Yes and no by cell and period.

    Without half-life there is one period. With it a period is a quarter of the half-life, and each weighs
    by its age.
    """

    __slots__ = ("_periods", "size")

    def __init__(self, size: int, periods: Iterable[tuple[int, Sequence[int], Sequence[int]]] = ()) -> None:
        self.size = size
        self._periods = {period: np.array([yes, no], dtype=np.int64) for period, yes, no in periods}

    def add(self, cells: Sequence[int], period: int, *, is_yes: bool, times: int = 1) -> None:
        """Count an answer in each of some cells, no two alike; `times` −1 takes it back."""
        if period not in self._periods:
            self._periods[period] = np.zeros((2, self.size), dtype=np.int64)
        self._periods[period][0 if is_yes else 1, list(cells)] += times

    def merge(self, other: Counts) -> None:
        """Add all counts of another, of the same cells."""
        for period, yes, no in other.periods():
            mine = self._periods.setdefault(period, np.zeros((2, self.size), dtype=np.int64))
            mine += (yes, no)

    def periods(self, since: int | None = None) -> list[tuple[int, list[int], list[int]]]:
        """Return (period, yes, no) of each period from `since` on that counted anything, in order."""
        return [
            (period, *counts.tolist())
            for period, counts in sorted(self._periods.items(), key=lambda item: item[0])
            if (since is None or period >= since) and counts.any()
        ]

    def weighted(self, period: int) -> Floats:
        """Return yes and no by cell as they weigh in a period, (2, size): half for each half-life of age."""
        since = first_remembered(period)
        total = np.zeros((2, self.size))
        for each, counts in sorted(self._periods.items(), key=lambda item: item[0]):
            if each >= since:
                total += 0.5 ** (max(period - each, 0) / _PER_HALF_LIFE) * counts
        return total


def period_of(at: int, half_life: int | None) -> int:
    """Return the period of an instant, both in microseconds."""
    return 0 if half_life is None else at * _PER_HALF_LIFE // half_life


def first_remembered(period: int) -> int:
    """Return the oldest period that still weighs anything."""
    return period - _HALVINGS * _PER_HALF_LIFE
