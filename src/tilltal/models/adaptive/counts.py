"""Counts of answers by cell: whole numbers, so that adding and taking away leave no trace and no order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

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
        self._periods = {period: (list(yes), list(no)) for period, yes, no in periods}

    def add(self, cells: Iterable[int], period: int, *, is_yes: bool, times: int = 1) -> None:
        """Count an answer in each of some cells; `times` −1 takes it back."""
        if period not in self._periods:
            self._periods[period] = ([0] * self.size, [0] * self.size)
        column = self._periods[period][0 if is_yes else 1]
        for cell in cells:
            column[cell] += times

    def merge(self, other: Counts) -> None:
        """Add all counts of another, of the same cells."""
        for period, yes, no in other.periods():
            mine = self._periods.setdefault(period, ([0] * self.size, [0] * self.size))
            mine[0][:] = map(int.__add__, mine[0], yes)
            mine[1][:] = map(int.__add__, mine[1], no)

    def periods(self, since: int | None = None) -> list[tuple[int, list[int], list[int]]]:
        """Return (period, yes, no) of each period from `since` on that counted anything, in order."""
        return [
            (period, yes, no)
            for period, (yes, no) in sorted(self._periods.items())
            if (since is None or period >= since) and (any(yes) or any(no))
        ]

    def weighted(self, period: int) -> tuple[list[float], list[float]]:
        """Return yes and no by cell as they weigh in a period: half for each half-life of age."""
        total_yes, total_no = [0.0] * self.size, [0.0] * self.size
        for each, yes, no in self.periods(first_remembered(period)):
            weight = 0.5 ** (max(period - each, 0) / _PER_HALF_LIFE)
            total_yes = [sum_ + weight * count for sum_, count in zip(total_yes, yes, strict=True)]
            total_no = [sum_ + weight * count for sum_, count in zip(total_no, no, strict=True)]
        return total_yes, total_no


def period_of(at: int, half_life: int | None) -> int:
    """Return the period of an instant, both in microseconds."""
    return 0 if half_life is None else at * _PER_HALF_LIFE // half_life


def first_remembered(period: int) -> int:
    """Return the oldest period that still weighs anything."""
    return period - _HALVINGS * _PER_HALF_LIFE


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """Counts as bytes: the layout they belong to, totals of yes and no by period, and the cells."""

    layout: str
    totals: list[tuple[int, int, int]]
    periods: list[tuple[int, list[int], list[int]]]
