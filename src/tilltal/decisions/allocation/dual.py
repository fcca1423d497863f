"""Dual ascent: the prices at which the relaxed bound is least.

Cutting planes in a moving box: every evaluation gives a tangent plane under D; the least of their maximum
within a box around the best prices is tried next; the box grows after a success at its border and shrinks
after a failure. A few prices, so the small linear program is free beside an evaluation. A sample of customers
finds prices that are nearly right, all customers mend them, and those who are nearest to another choice
finish.

Source: Marsten, Hogan & Blankenship, "The boxstep method for large-scale optimization" (1975).
"""

from __future__ import annotations

import msgspec
import numpy as np
from scipy.optimize import linprog

from tilltal.decisions.allocation.board import Board, nearest_of
from tilltal.decisions.allocation.grid import NOTHING, Grid, part_of
from tilltal.decisions.allocation.problem import Floats, Ints
from tilltal.decisions.allocation.relaxation import Relaxed, relax, usage_of

SAMPLE = 20_000  # customers that tell prices to about 1 %
_GROWTH = 10  # each sample ten times the one before
_SEED = 20_240_229
_CARRIES = 1e-6  # weights below are noise of the linear program
_PENALTY = 100.0  # what a missing contact of a minimum costs, in spans of the values


class Ascent(msgspec.Struct, frozen=True, kw_only=True):
    """What dual ascent found: the least bound, and the choices from which repair has the shortest way.

    `mix` are prices and weights, together 1: choices at these prices, mixed so, keep the limits on average.
    """

    best: Relaxed
    start: Relaxed
    mix: tuple[tuple[Floats, float], ...] = ()


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """How long to search: relative improvement not worth another step, most steps, first box (in scales)."""

    tolerance: float
    steps: int
    radius: float


def best_prices(grid: Grid) -> Ascent:
    """Return the relaxed problem at, and near, its best prices; deterministic."""
    prices: Floats = np.zeros(len(grid.uses))
    coarse = Search(tolerance=1e-6, steps=100, radius=1.0)
    size = SAMPLE
    while size * 2 < grid.customers:
        who = sample_of(grid, size)
        if len(who):
            prices = descend(part_of(grid, who, len(who) / grid.customers), prices, coarse).best.prices
            coarse = Search(tolerance=1e-6, steps=15, radius=0.05)
        size *= _GROWTH
    if grid.customers < 2 * SAMPLE:
        return descend(grid, prices, Search(tolerance=1e-8, steps=150, radius=1.0))
    return _finish(grid, descend(grid, prices, coarse))


def _finish(grid: Grid, ascent: Ascent) -> Ascent:
    """Search on with the customers nearest to another choice alone; all others stand by theirs."""
    best = ascent.best
    who = nearest_of(Board(grid, best))
    others = best.choice.copy()
    others[who] = NOTHING
    core = msgspec.structs.replace(part_of(grid, who, 1.0), limits=grid.limits - usage_of(grid, others))
    found = descend(core, best.prices, Search(tolerance=1e-9, steps=100, radius=0.01))
    better = relax(grid, found.best.prices)
    others[who] = found.start.choice
    usage = usage_of(grid, others)
    start = msgspec.structs.replace(found.start, choice=others, usage=usage, bound=better.bound)
    return Ascent(best=min(best, better, key=lambda each: each.bound), start=start, mix=ascent.mix)


def sample_of(grid: Grid, size: int) -> Ints:
    """Return about `size` customers drawn at random, whole households, always the same."""
    drawn = np.random.default_rng(_SEED).random(max(grid.customers, len(grid.room)))
    home: Ints = grid.household if len(grid.room) else np.arange(grid.customers)
    return np.flatnonzero(drawn[home] < size / max(grid.customers, 1))


def descend(grid: Grid, start: Floats, search: Search) -> Ascent:
    """Lower the bound from `start` until a step promises less than the tolerance."""
    best = relax(grid, start)
    ascent = Ascent(best=best, start=best)
    if not len(start) or not np.isfinite(grid.values).any():
        return ascent
    scale, top = _scales(grid)
    planes, radius, unit = _Planes(scale, max(abs(best.bound), 1e-12)), search.radius, abs(best.bound)
    planes.add(grid, best)
    for _ in range(search.steps):
        best, here = ascent.best, ascent.best.prices / scale
        found = planes.lowest(np.maximum(here - radius, 0.0), np.minimum(here + radius, top / scale))
        if found is None or best.bound - found[1] <= search.tolerance * max(abs(best.bound), 1e-6 * unit):
            break
        point, promised = found
        tried = relax(grid, point * scale)
        planes.add(grid, tried)
        gain = (best.bound - tried.bound) / (best.bound - promised)
        radius = _next_radius(radius, gain, is_at_border=bool(np.abs(point - here).max() >= 0.99 * radius))
        ascent = Ascent(
            best=tried if gain > 0 else best,
            start=min(ascent.start, tried, key=lambda each: _distance(grid, each, scale)),
        )
    return msgspec.structs.replace(ascent, mix=planes.mix())


def penalty(grid: Grid) -> float:
    """Return what one missing contact of a minimum counts for, in units of the values."""
    finite = grid.values[np.isfinite(grid.values)]
    if not finite.size:
        return _PENALTY
    span = float(max(finite.max(), 0.0)) - float(min(finite.min(), 0.0))
    return _PENALTY * (span or 1.0)


def _scales(grid: Grid) -> tuple[Floats, Floats]:
    """Return a typical and the highest sensible price of every row."""
    typical = float(np.mean(np.maximum(grid.values.max(axis=0), 0.0), dtype=np.float64)) or 1.0
    miss = penalty(grid)
    scale, top = np.empty(len(grid.uses)), np.empty(len(grid.uses))
    for row, use in enumerate(grid.uses):
        used = use[use > 0]
        if row >= grid.capacities:
            scale[row], top[row] = typical, miss
        elif used.size:
            scale[row] = typical / float(used.mean(dtype=np.float64))
            top[row] = 2.0 * miss / float(used.min())
        else:
            scale[row], top[row] = typical, 0.0
    return scale, top


class _Planes:
    """Tangent planes under the bound, in prices divided by their scales and bounds divided by `unit`."""

    def __init__(self, scale: Floats, unit: float) -> None:
        self._scale, self._unit = scale, unit
        self._slopes: list[Floats] = []
        self._offsets: list[float] = []
        self._prices: list[Floats] = []
        self._weights: Floats = np.zeros(0)

    def add(self, grid: Grid, relaxed: Relaxed) -> None:
        """Add the plane that touches the bound at these prices."""
        slope = (grid.limits - relaxed.usage) * self._scale / self._unit
        self._slopes.append(slope)
        self._prices.append(relaxed.prices)
        self._offsets.append(float(slope @ (relaxed.prices / self._scale)) - relaxed.bound / self._unit)

    def lowest(self, low: Floats, high: Floats) -> tuple[Floats, float] | None:
        """Return where the highest plane is lowest within the box, and the bound promised there."""
        slopes = np.array(self._slopes)
        answer = linprog(
            c=np.append(np.zeros(len(low)), 1.0),
            A_ub=np.column_stack([slopes, -np.ones(len(slopes))]),
            b_ub=np.array(self._offsets),
            bounds=[*zip(low, high, strict=True), (None, None)],
            method="highs",
        )
        if answer.x is None:
            return None
        self._weights = -np.asarray(answer.ineqlin.marginals)
        return np.clip(answer.x[:-1], low, high), float(answer.x[-1]) * self._unit

    def mix(self) -> tuple[tuple[Floats, float], ...]:
        """Return the prices whose planes carried the last answer, with their weights, together 1."""
        carrying = np.flatnonzero(self._weights > _CARRIES)
        whole = float(self._weights[carrying].sum()) or 1.0
        return tuple((self._prices[index], float(self._weights[index]) / whole) for index in carrying)


def _distance(grid: Grid, relaxed: Relaxed, scale: Floats) -> float:
    """Return about what repair will lose: the bound, and the worth of what is unused or too much."""
    slack = grid.limits - relaxed.usage
    unused = relaxed.prices @ np.maximum(slack, 0.0)
    over = np.maximum(relaxed.prices, 0.1 * scale) @ np.maximum(-slack, 0.0)
    return float(relaxed.bound + unused + over)


def _next_radius(radius: float, gain: float, *, is_at_border: bool) -> float:
    if gain > 0.5 and is_at_border:
        return radius * 2.0
    return radius * 0.5 if gain < -1.0 else radius
