"""The face of allocation: one option per customer at most, within every limit, worth the most.

dual ascent → relaxed choices → repair → improvement; mandatory options before all others; and minimums
that cannot be met are lowered to what can be, with the reason in words.
"""

from __future__ import annotations

import msgspec
import numpy as np

from tilltal.decisions.allocation.board import Board, nearest_of
from tilltal.decisions.allocation.dual import best_prices, penalty
from tilltal.decisions.allocation.grid import Grid, grid_of, left_of
from tilltal.decisions.allocation.mixing import mixed
from tilltal.decisions.allocation.problem import Bools, Floats, Ints, Problem
from tilltal.decisions.allocation.relaxation import Relaxed, relax, usage_of
from tilltal.decisions.allocation.repair import improve, relieve
from tilltal.decisions.allocation.shortfalls import Shortfall, shortfalls
from tilltal.decisions.allocation.swaps import swap

_FAIR = 1e-4  # relative gap below which only the customers nearest to another choice are looked at
_GOOD = 1e-5  # and below which pairs are not
_ROUNDS = 40
_SWAPS = 12


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets what, and how near it is to the best possible.

    `choice` (n,) holds the option of each customer, -1 for nothing. `objective` is its value, `bound` what no
    allocation under the same limits can exceed (minimums as far as they could be met, mandatory options as
    allocated). `usage` and `prices` are per resource, in its unit and in money per unit; `reached` and
    `minimum_prices` per minimum: contacts, and what the last one costs. `mandatory_missed` counts customers
    whose mandatory option found no room.
    """

    choice: Ints
    objective: float
    bound: float
    usage: Floats
    prices: Floats
    reached: Ints
    minimum_prices: Floats
    shortfalls: tuple[Shortfall, ...]
    mandatory_missed: int

    @property
    def gap(self) -> float:
        """How far the objective is below the bound, as a share of the bound; 0 where both are 0."""
        distance = max(self.bound - self.objective, 0.0)
        return distance / abs(self.bound) if self.bound else distance


class _Solved(msgspec.Struct, frozen=True):
    choice: Ints
    bound: float
    prices: Floats


def allocate(problem: Problem) -> Allocation:
    """Allocate; the same problem gives the same answer."""
    grid = grid_of(problem)
    fixed, missed = _mandatory(grid, problem.mandatory_flags)
    rest = left_of(grid, fixed, problem.mandatory_flags) if (fixed >= 0).any() else grid
    solved, lacking = _within_reach(rest)
    choice = np.where(fixed >= 0, fixed, solved.choice)
    given = np.flatnonzero(choice >= 0)
    objective = float(grid.value(given, choice[given]).sum())
    first = np.flatnonzero(fixed >= 0)
    usage, size = usage_of(grid, choice), grid.capacities
    return Allocation(
        choice=choice,
        objective=objective,
        bound=max(solved.bound + float(grid.value(first, fixed[first]).sum()), objective),
        usage=usage[:size],
        prices=solved.prices[:size],
        reached=np.rint(-usage[size:]).astype(np.int64),
        minimum_prices=solved.prices[size:],
        shortfalls=shortfalls(problem, grid, usage) if lacking else (),
        mandatory_missed=missed,
    )


def _mandatory(grid: Grid, flags: Bools) -> tuple[Ints, int]:
    """Allocate the mandatory options first: as many customers as possible, then the most value."""
    nobody = np.full(grid.customers, -1, dtype=np.int64)
    finite = np.isfinite(grid.values) & flags[:, None]
    due = int(finite.any(axis=0).sum())
    if not due:
        return nobody, 0
    values = grid.values.astype(np.float64)
    low, high = float(values[finite].min()), float(values[finite].max())
    # all values together weigh less than one more customer
    worth = 1.0 + (values - low) / ((high - low or 1.0) * (grid.customers + 1))
    limits = grid.limits.copy()
    limits[grid.capacities :] = 0.0
    first = msgspec.structs.replace(grid, values=np.where(finite, worth, -np.inf), limits=limits)
    choice = _solve(first).choice
    return choice, due - int((choice >= 0).sum())


def _within_reach(grid: Grid) -> tuple[_Solved, bool]:
    """Solve; if minimums are out of reach, solve again with what was reached of them."""
    solved = _solve(grid)
    minimums = np.arange(len(grid.limits)) >= grid.capacities
    reached = np.minimum(usage_of(grid, solved.choice), 0.0)
    lacking = minimums & (reached > grid.limits)
    if not lacking.any():
        return solved, False
    lowered = np.where(lacking, reached, grid.limits)
    return _solve(msgspec.structs.replace(grid, limits=lowered)), True


def _solve(grid: Grid) -> _Solved:
    ascent = best_prices(grid)
    bound = ascent.best.bound
    board = _repaired(grid, ascent.start, bound)
    if not _is_within(board, bound, _FAIR) and len(ascent.mix) > 1:
        other = _repaired(grid, mixed(grid, ascent.best, ascent.mix), bound)
        board = min(board, other, key=_badness)
    exact = relax(msgspec.structs.replace(grid, values=grid.values.astype(np.float64)), ascent.best.prices)
    return _Solved(board.choice, exact.bound, ascent.best.prices)


def _repaired(grid: Grid, start: Relaxed, bound: float) -> Board:
    board, miss = Board(grid, start), penalty(grid)
    near, everyone = nearest_of(board), np.arange(grid.customers)
    relieve(board, near)
    if (board.slack[: grid.capacities] < 0).any():
        relieve(board, everyone)
    improve(board, near, miss, _ROUNDS)
    if not _is_within(board, bound, _FAIR):
        improve(board, everyone, miss, 2)
    if not _is_within(board, bound, _GOOD):
        swap(board, near, miss, _SWAPS)
    return board


def _badness(board: Board) -> tuple[float, float]:
    """Order boards: fewer missing contacts of minimums, then more value."""
    return -float(np.minimum(board.slack, 0.0).sum()), -board.objective


def _is_within(board: Board, bound: float, share: float) -> bool:
    return bool((board.slack >= 0).all()) and bound - board.objective <= share * abs(bound)
