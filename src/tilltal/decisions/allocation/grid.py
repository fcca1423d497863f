"""The problem laid out for arithmetic: options × customers, every limit as one row `use · x <= limit`.

A minimum of n contacts is the row `-count <= -n`, so that one price per row does for all. Cells that alone
exceed a limit are taken out beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from tilltal.decisions.allocation.problem import Bools, Floats, Ints, Problem

NOTHING = -1


class Crowd(msgspec.Struct, frozen=True):
    """Households of one size with more members than they may have contacts: members (count, size), room."""

    members: Ints
    room: int


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """n customers, m options, k rows.

    `values` (m, n) with -inf where not eligible; each of `uses` is (m,) or (m, n); `limits` (k,). The first
    `capacities` rows are capacities, the others minimums. `household` (n,) points into `room`, how many more
    contacts each may get; both are empty if nothing limits households.
    """

    values: Floats
    uses: tuple[Floats, ...]
    limits: Floats
    capacities: int
    household: Ints
    room: Ints
    crowds: tuple[Crowd, ...]

    @property
    def customers(self) -> int:
        """How many customers there are."""
        return int(self.values.shape[1])

    @property
    def options(self) -> int:
        """How many options there are."""
        return int(self.values.shape[0])

    @property
    def slices(self) -> Iterator[slice]:
        """The customers in pieces whose columns stay in the processor's cache."""
        return (slice(start, start + _CHUNK) for start in range(0, self.customers, _CHUNK))

    def value(self, who: Ints, option: Ints) -> Floats:
        """Return the value of options (-1: nothing, worth 0) for customers, as float64."""
        return np.where(option < 0, 0.0, self.values[option, who].astype(np.float64))

    def use(self, who: Ints, option: Ints) -> Floats:
        """Return what options (-1: nothing) of customers use: (customers, k), float64."""
        used = np.zeros((len(who), len(self.uses)))
        for row, use in enumerate(self.uses):
            taken = use[option] if use.ndim == 1 else use[option, who]
            used[:, row] = np.where(option < 0, 0.0, taken)
        return used


_CHUNK = 32_768


def grid_of(problem: Problem) -> Grid:
    """Lay a problem out; values keep their precision, float32 or float64."""
    kind = problem.values.dtype if problem.values.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    values = np.array(problem.values.T, dtype=kind, order="C")
    np.copyto(values, -np.inf, where=np.isnan(values))
    uses = []
    for resource in problem.resources:
        use = np.ascontiguousarray(resource.use.T, dtype=np.float64 if resource.use.ndim == 1 else kind)
        values[use > resource.limit] = -np.inf
        uses.append(use)
    uses += [-minimum.options.astype(np.float64) for minimum in problem.minimums]
    limits = [resource.limit for resource in problem.resources]
    limits += [-float(minimum.at_least) for minimum in problem.minimums]
    household, room = _households(problem)
    return Grid(
        values=values,
        uses=tuple(uses),
        limits=np.array(limits, dtype=np.float64),
        capacities=len(problem.resources),
        household=household,
        room=room,
        crowds=_crowds(household, room),
    )


def part_of(grid: Grid, who: Ints, share: float) -> Grid:
    """Return the grid of some customers, whole households, with that share of every limit."""
    household, room = grid.household, grid.room
    if len(room):
        kept, household = np.unique(household[who], return_inverse=True)
        room = room[kept]
    return msgspec.structs.replace(
        grid,
        values=np.ascontiguousarray(grid.values[:, who]),
        uses=tuple(use if use.ndim == 1 else np.ascontiguousarray(use[:, who]) for use in grid.uses),
        limits=grid.limits * share,
        household=household,
        room=room,
        crowds=_crowds(household, room),
    )


def left_of(grid: Grid, choice: Ints, closed: Bools) -> Grid:
    """Return what is left to allocate when some customers have their option already.

    Args:
        grid: everything.
        choice: (n,) option per customer, -1 where still open.
        closed: (m,) options that nobody else may get.
    """
    done = np.flatnonzero(choice >= 0)
    values = grid.values.copy()
    values[closed] = -np.inf
    values[:, done] = -np.inf
    used = grid.use(done, choice[done]).sum(axis=0)
    room = grid.room
    if len(room):
        room = room - np.bincount(grid.household[done], minlength=len(room))
    limits = grid.limits - used
    limits[: grid.capacities] = np.maximum(limits[: grid.capacities], 0.0)
    for use, limit in zip(grid.uses[: grid.capacities], limits, strict=False):
        values[use > limit] = -np.inf
    return msgspec.structs.replace(
        grid,
        values=values,
        limits=np.where(np.arange(len(limits)) < grid.capacities, limits, np.minimum(limits, 0.0)),
        room=room,
        crowds=_crowds(grid.household, room),
    )


def _households(problem: Problem) -> tuple[Ints, Ints]:
    none = np.zeros(0, dtype=np.int64)
    if problem.households is None:
        return none, none
    ids = problem.households.ids.astype(np.int64)
    alone = np.flatnonzero(ids < 0)
    ids[alone] = ids.max(initial=0) + 1 + np.arange(len(alone))
    kept, household = np.unique(ids, return_inverse=True)
    return household.astype(np.int64), np.full(len(kept), problem.households.limit, dtype=np.int64)


def _crowds(household: Ints, room: Ints) -> tuple[Crowd, ...]:
    """Group the households that have more members than room by size and room."""
    if not len(room):
        return ()
    size = np.bincount(household, minlength=len(room))
    order = np.argsort(household, kind="stable")
    start = np.cumsum(size) - size
    crowded = np.flatnonzero(size > room)
    kinds = np.unique(np.column_stack([size[crowded], room[crowded]]), axis=0)
    found = []
    for members, limit in kinds.tolist():
        chosen = crowded[(size[crowded] == members) & (room[crowded] == limit)]
        found.append(Crowd(order[start[chosen][:, None] + np.arange(members)], limit))
    return tuple(found)
