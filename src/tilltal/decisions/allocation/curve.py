"""What a capacity would be worth if there were less or more of it: the bound as a function of one limit."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from tilltal.decisions.allocation.allocate import Allocation
from tilltal.decisions.allocation.dual import SAMPLE, Search, descend, penalty, sample_of
from tilltal.decisions.allocation.grid import NOTHING, Grid, grid_of, left_of, part_of
from tilltal.decisions.allocation.problem import Ints, Problem

_SEARCH = Search(tolerance=1e-5, steps=60, radius=0.5)


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """With `limit` of the resource, all contacts together are worth at most `value`."""

    limit: float
    value: float


def value_curve(
    problem: Problem, made: Allocation, resource: int, shares: Sequence[float]
) -> tuple[Point, ...]:
    """Return the value at each share of a resource's limit, all other limits as they are.

    The bound of the linear program, on a sample of customers where there are many: within about 1 %.
    Mandatory contacts stay as they were made; limits that leave a minimum out of reach are left out.

    Args:
        problem: what was allocated.
        made: how.
        resource: its place among the resources.
        shares: of its limit, such as 0.5 or 2.
    """
    asked = problem.resources[resource].limit * np.array(shares)
    grid, fixed = _open(problem, made, resource, float(asked.max(initial=0.0)))
    done = np.flatnonzero(fixed >= 0)
    sure = float(grid.value(done, fixed[done]).sum())
    taken = float(grid.use(done, fixed[done])[:, resource].sum())
    rest = left_of(grid, fixed, problem.mandatory_flags)
    who = sample_of(rest, SAMPLE)
    share = len(who) / max(rest.customers, 1)
    part, points = part_of(rest, who, share), []
    prices, miss = np.concatenate([made.prices, made.minimum_prices]), penalty(part)
    for limit in asked.tolist():
        limits = part.limits.copy()
        limits[resource] = max(limit - taken, 0.0) * share
        best = descend(msgspec.structs.replace(part, limits=limits), prices, _SEARCH).best
        if (best.prices[part.capacities :] < miss / 2).all():
            points.append(Point(limit=limit, value=sure + best.bound / max(share, 1e-12)))
    return tuple(points)


def _open(problem: Problem, made: Allocation, resource: int, limit: float) -> tuple[Grid, Ints]:
    """Return the grid with the widest limit and the minimums that can be met, and the mandatory choices."""
    widest = msgspec.structs.replace(problem.resources[resource], limit=limit)
    resources = (*problem.resources[:resource], widest, *problem.resources[resource + 1 :])
    minimums = tuple(
        msgspec.structs.replace(minimum, at_least=min(minimum.at_least, int(reached)))
        for minimum, reached in zip(problem.minimums, made.reached, strict=True)
    )
    grid = grid_of(msgspec.structs.replace(problem, resources=resources, minimums=minimums))
    is_fixed = (made.choice >= 0) & np.append(problem.mandatory_flags, False)[made.choice]
    return grid, np.where(is_fixed, made.choice, NOTHING)
