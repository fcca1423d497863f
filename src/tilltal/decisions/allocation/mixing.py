"""Primal recovery: where customers are equal, prices alone cannot split them; the ascent's own weights can.

The dual of the last cutting-plane program weighs the choices seen at several prices so that, mixed, they keep
the limits. Customers who chose alike at each of these prices are shared out by the weights, in their order.

Source: Dantzig & Wolfe, "Decomposition principle for linear programs" (1960).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.decisions.allocation.grid import Grid
from tilltal.decisions.allocation.problem import Floats, Ints
from tilltal.decisions.allocation.relaxation import Relaxed, relax, usage_of

_MULTIPLIER = np.uint64(6364136223846793005)  # of Knuth's generator: spreads the choices over 64 bits


def mixed(grid: Grid, best: Relaxed, mix: Sequence[tuple[Floats, float]]) -> Relaxed:
    """Return the mixture as one choice per customer; members of a household take theirs at the same prices.

    Args:
        grid: the problem.
        best: its relaxation at the best prices, which the answer keeps.
        mix: prices and weights, together 1.
    """
    choices = np.array([relax(grid, prices).choice for prices, _ in mix])
    steps = np.cumsum([weight for _, weight in mix])
    column = np.searchsorted(steps[:-1], _quantiles(grid, choices), side="right")
    choice: Ints = choices[column, np.arange(grid.customers)]
    return msgspec.structs.replace(best, choice=choice, usage=usage_of(grid, choice))


def _quantiles(grid: Grid, choices: Ints) -> Floats:
    """Return each customer's place, in (0, 1), among those who chose alike; equal within a household."""
    alike = np.zeros(grid.customers, dtype=np.uint64)
    for choice in choices:
        alike = alike * _MULTIPLIER + (choice + 2).astype(np.uint64)
    if not len(grid.room):
        return _places(alike)
    homes = np.zeros(len(grid.room), dtype=np.uint64)
    np.add.at(homes, grid.household, alike * _MULTIPLIER)
    return np.asarray(_places(homes)[grid.household])


def _places(kind: npt.NDArray[np.uint64]) -> Floats:
    _, group, size = np.unique(kind, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    start = np.cumsum(size) - size
    places = np.empty(len(kind))
    places[order] = np.arange(len(kind)) - start[group[order]]
    return np.asarray((places + 0.5) / size[group])
