"""Minimums that could not be met, and why: in numbers, and in a sentence."""

from __future__ import annotations

import msgspec
import numpy as np

from tilltal.decisions.allocation.grid import Grid
from tilltal.decisions.allocation.problem import Bools, Floats, Minimum, Problem


class Shortfall(msgspec.Struct, frozen=True, kw_only=True):
    """A minimum that is out of reach: what was asked, what was reached, and the reason."""

    minimum: str
    at_least: int
    reached: int
    reason: str


def shortfalls(problem: Problem, grid: Grid, usage: Floats) -> tuple[Shortfall, ...]:
    """Return the minimums that `usage` (k,) does not meet."""
    found = []
    for minimum, used in zip(problem.minimums, usage[grid.capacities :], strict=True):
        reached = round(-float(used))
        if reached < minimum.at_least:
            found.append(
                Shortfall(
                    minimum=minimum.name,
                    at_least=minimum.at_least,
                    reached=reached,
                    reason=_reason(problem, grid, minimum, reached),
                )
            )
    return tuple(found)


def _reason(problem: Problem, grid: Grid, minimum: Minimum, reached: int) -> str:
    """Name the first limit that alone puts the minimum out of reach; else all of them together do."""
    is_cell = np.isfinite(problem.values[:, minimum.options])
    is_eligible: Bools = np.asarray(is_cell.any(axis=1))
    count = int(is_eligible.sum())
    if count < minimum.at_least:
        others = ", and other limits or mandatory actions take some of them" if reached < count else ""
        return f"Only {count:,} customers are eligible{others}."
    homes = _by_household(grid, is_eligible)
    if homes < minimum.at_least:
        return f"The limit per household leaves {homes:,} of {count:,} eligible customers."
    for resource in problem.resources:
        use = resource.use[..., minimum.options]
        least = np.where(is_cell, use, np.inf).min(axis=1, initial=np.inf)
        most = _affordable(least, resource.limit)
        if most < minimum.at_least:
            return f"{resource.name} is enough for {most:,} contacts at most."
    return "Under all limits and minimums together no more were found."


def _by_household(grid: Grid, is_eligible: Bools) -> int:
    if not len(grid.room):
        return int(is_eligible.sum())
    members = np.bincount(grid.household[is_eligible], minlength=len(grid.room))
    return int(np.minimum(members, grid.room).sum())


def _affordable(least: Floats, limit: float) -> int:
    """Return how many contacts a limit allows if each takes the least it can."""
    together = np.cumsum(np.sort(least[np.isfinite(least)]))
    return int(np.searchsorted(together, limit * (1 + 1e-9), side="right"))
