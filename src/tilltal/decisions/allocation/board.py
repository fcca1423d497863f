"""An allocation in the making: who has which option, what is used, and the moves that could change it."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.decisions.allocation.grid import NOTHING, Grid
from tilltal.decisions.allocation.problem import Bools, Floats, Ints
from tilltal.decisions.allocation.relaxation import Relaxed, price_of, reduced, usage_of

_PIECE = 16_384
_CELLS = 1_000_000  # moves × limits looked at together: 8 MB
_NEAR, _NEAR_SHARE = 20_000, 0.02  # how many customers, and which share of all, are near another choice
_SLIP = 1e-9  # of a limit: what sums of floats may be off


class Moves(msgspec.Struct, frozen=True, kw_only=True):
    """Changes of single customers: `who` gets option `to` (-1: nothing).

    `delta` (moves, k) is what it uses more, `gain` the value it adds, `loss` the same after prices: what the
    relaxed optimum would lose by it.
    """

    who: Ints
    to: Ints
    delta: Floats
    gain: Floats
    loss: Floats

    def __len__(self) -> int:
        """Return how many moves there are."""
        return len(self.who)

    def taken(self, which: Ints | Bools) -> Moves:
        """Return some of them, in the order given."""
        return Moves(
            who=self.who[which],
            to=self.to[which],
            delta=self.delta[which],
            gain=self.gain[which],
            loss=self.loss[which],
        )


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Every move of some customers: arrays (m + 1, customers), the last option being nothing.

    `delta` is (k, m + 1, customers). `is_open` is false where the customer is not eligible, has the option
    already, or the household has had its contacts.
    """

    who: Ints
    delta: Floats
    gain: Floats
    loss: Floats
    is_open: Bools

    def pick(self, option: Ints, column: Ints) -> Moves:
        """Return the moves to these options (rows) of these customers (columns)."""
        last = self.loss.shape[0] - 1
        return Moves(
            who=self.who[column],
            to=np.where(option == last, NOTHING, option),
            delta=self.delta[:, option, column].T,
            gain=self.gain[option, column],
            loss=self.loss[option, column],
        )


class Board:
    """The state that repair and improvement change; it begins with the relaxed choices.

    Attributes:
        choice: (n,) option of each customer, -1 for nothing.
        usage: (k,) what they use together.
    """

    def __init__(self, grid: Grid, relaxed: Relaxed) -> None:
        self.grid = grid
        self.prices = relaxed.prices
        self.choice = relaxed.choice.copy()
        self.usage = relaxed.usage.copy()
        self._cost = price_of(grid, relaxed.prices)
        self._contacts = self._count_contacts()

    @property
    def slack(self) -> Floats:
        """What is left of every limit (k,); negative where it is broken. Float noise counts as 0."""
        left = self.grid.limits - self.usage
        noise = np.abs(left) <= _SLIP * np.maximum(np.abs(self.grid.limits), 1.0)
        return np.asarray(np.where(noise, 0.0, left))

    @property
    def objective(self) -> float:
        """The value of all choices."""
        who = np.flatnonzero(self.choice >= 0)
        return float(self.grid.value(who, self.choice[who]).sum())

    def room_of(self, who: Ints) -> Ints:
        """Return how many more contacts the households of these customers may get."""
        if not len(self.grid.room):
            return np.ones(len(who), dtype=np.int64)
        home = self.grid.household[who]
        return np.asarray(self.grid.room[home] - self._contacts[home])

    def make(self, moves: Moves) -> None:
        """Make moves of different customers."""
        before = self.choice[moves.who]
        self.choice[moves.who] = moves.to
        self.usage += moves.delta.sum(axis=0)
        if len(self.grid.room):
            change = (moves.to >= 0).astype(np.int64) - (before >= 0)
            np.add.at(self._contacts, self.grid.household[moves.who], change)

    def recount(self) -> None:
        """Sum usage anew, so that additions and subtractions leave no trace."""
        self.usage = usage_of(self.grid, self.choice)

    def margins(self) -> Floats:
        """Return (n,) the least loss of any move of each customer; inf without one."""
        found = np.full(self.grid.customers, np.inf)
        for start in range(0, self.grid.customers, _PIECE):
            piece = slice(start, start + _PIECE)
            found[piece] = self._margins(piece)
        return found

    def options(self, who: Ints) -> Options:
        """Return every move of some customers; give few thousands at a time."""
        grid, count = self.grid, self.grid.options + 1
        current, columns = self.choice[who], np.arange(len(who))
        value = np.zeros((count, len(who)))
        value[:-1] = grid.values[:, who]
        delta, left = np.empty((len(grid.uses), count, len(who))), value - np.append(self._cost, 0.0)[:, None]
        for row, use in enumerate(grid.uses):
            if use.ndim == 1:
                taken = np.append(use, 0.0)
                np.subtract(taken[:, None], taken[current], out=delta[row])
            else:
                delta[row] = 0.0
                delta[row, :-1] = use[:, who]
                left -= self.prices[row] * delta[row]
                delta[row] -= delta[row, current, columns]
        is_open = np.isfinite(value)
        is_open[current, columns] = False  # -1 is the last row
        is_open[:-1, (current < 0) & (self.room_of(who) <= 0)] = False
        return Options(
            who=who,
            delta=delta,
            gain=value - value[current, columns],
            loss=left[current, columns] - left,
            is_open=is_open,
        )

    def _margins(self, piece: slice) -> Floats:
        grid, current = self.grid, self.choice[piece]
        who = np.arange(piece.start, piece.start + len(current))
        best, own = np.full(len(current), -np.inf), np.zeros(len(current))
        for option in range(NOTHING, grid.options):
            is_own = current == option
            left = (
                np.zeros(len(current))
                if option == NOTHING
                else reduced(grid, self.prices, self._cost, option, piece)
            )
            own[is_own] = left[is_own]
            np.maximum(best, left, out=best, where=~is_own)
        is_stuck = (current < 0) & (self.room_of(who) <= 0)
        return np.asarray(np.where(is_stuck, np.inf, own - best))

    def _count_contacts(self) -> npt.NDArray[np.int64]:
        if not len(self.grid.room):
            return np.zeros(0, dtype=np.int64)
        served = self.grid.household[self.choice >= 0]
        return np.bincount(served, minlength=len(self.grid.room))


def nearest_of(board: Board) -> Ints:
    """Return the customers that lose least by another choice, whole households, in their order."""
    count = max(_NEAR, int(_NEAR_SHARE * board.grid.customers))
    if count >= board.grid.customers:
        return np.arange(board.grid.customers)
    near = np.argpartition(board.margins(), count)[:count]
    if not len(board.grid.room):
        return np.sort(near)
    is_home = np.zeros(len(board.grid.room), dtype=bool)
    is_home[board.grid.household[near]] = True
    return np.flatnonzero(is_home[board.grid.household])


def pieces_of(grid: Grid, who: Ints) -> list[Ints]:
    """Cut a list of customers into pieces whose moves `Board.options` can hold near the processor."""
    size = max(1_000, _CELLS // ((grid.options + 1) * (len(grid.uses) + 1)))
    return [who[start : start + size] for start in range(0, len(who), size)]


def joined(parts: list[Moves], rows: int) -> Moves:
    """Return the moves of several pieces as one; none at all still has `rows` columns of use."""
    none = np.zeros(0, dtype=np.int64)
    return Moves(
        who=np.concatenate([none, *(part.who for part in parts)]),
        to=np.concatenate([none, *(part.to for part in parts)]),
        delta=np.concatenate([np.zeros((0, rows)), *(part.delta for part in parts)]),
        gain=np.concatenate([np.zeros(0), *(part.gain for part in parts)]),
        loss=np.concatenate([np.zeros(0), *(part.loss for part in parts)]),
    )
