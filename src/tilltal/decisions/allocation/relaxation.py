"""The relaxed problem: limits become prices, and every household chooses for itself.

At prices y >= 0 each customer takes the option of highest value minus price, if that is positive, and each
household its best few. Then D(y) = sum of what they gain + y · limits is an upper bound on every allocation,
convex in y, with `limits - usage` as a subgradient. Households stay whole, so the least D is the bound of the
linear program.

Source: Fisher, "The Lagrangian relaxation method for solving integer programming problems" (1981).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np

from tilltal.decisions.allocation.grid import NOTHING, Grid
from tilltal.decisions.allocation.problem import Floats, Ints

_THREADS = 2  # numpy lets go of the interpreter within a piece; more than two wait for memory


class Relaxed(msgspec.Struct, frozen=True, kw_only=True):
    """Choices at given prices: option per customer (n,) or -1, what is used (k,), and the bound D."""

    prices: Floats
    choice: Ints
    usage: Floats
    bound: float


def relax(grid: Grid, prices: Floats) -> Relaxed:
    """Let every customer choose at these prices (k,), in money per unit of each row."""
    best = np.empty(grid.customers, dtype=grid.values.dtype)
    choice = np.empty(grid.customers, dtype=np.int64)
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(lambda piece: _choose(grid, prices, piece, best, choice), grid.slices))
    for crowd in grid.crowds:
        _keep_best(best, choice, crowd.members, crowd.room)
    return Relaxed(
        prices=prices,
        choice=choice,
        usage=usage_of(grid, choice),
        bound=float(best.sum(dtype=np.float64) + prices @ grid.limits),
    )


def usage_of(grid: Grid, choice: Ints) -> Floats:
    """Return what an allocation uses of every row (k,)."""
    counts = np.bincount(choice + 1, minlength=grid.options + 1)[1:]
    used = np.zeros(len(grid.uses))
    who = np.flatnonzero(choice >= 0) if any(use.ndim == 2 for use in grid.uses) else None
    for row, use in enumerate(grid.uses):
        used[row] = counts @ use if who is None or use.ndim == 1 else _total(use[choice[who], who])
    return used


def price_of(grid: Grid, prices: Floats) -> Floats:
    """Return what each option costs (m,) by the rows whose use is the same for all customers."""
    cost = np.zeros(grid.options)
    for price, use in zip(prices, grid.uses, strict=True):
        if use.ndim == 1:
            cost += price * use
    return cost


def reduced(grid: Grid, prices: Floats, cost: Floats, option: int, piece: slice | Ints) -> Floats:
    """Return value minus price of one option for some customers, in the grid's precision."""
    left = grid.values[option, piece] - grid.values.dtype.type(cost[option])
    for price, use in zip(prices, grid.uses, strict=True):
        if use.ndim == 2 and price:
            left -= use[option, piece] * grid.values.dtype.type(price)
    return left


def _total(used: Floats) -> float:
    return float(used.sum(dtype=np.float64))


def _choose(grid: Grid, prices: Floats, piece: slice, best: Floats, choice: Ints) -> None:
    cost = price_of(grid, prices)
    top, chosen = best[piece], np.full(len(best[piece]), NOTHING, dtype=np.int16)
    top[:] = 0
    for option in range(grid.options):
        left = reduced(grid, prices, cost, option, piece)
        is_better = left > top
        np.copyto(top, left, where=is_better)
        np.copyto(chosen, np.int16(option), where=is_better)
    choice[piece] = chosen


def _keep_best(best: Floats, choice: Ints, members: Ints, room: int) -> None:
    """Let only the best `room` members of each household keep their choice; ties to the earlier customer."""
    order = np.argsort(-best[members], axis=1, kind="stable")
    out = np.take_along_axis(members, order[:, room:], axis=1).ravel()
    best[out] = 0
    choice[out] = NOTHING
