"""Improvement by pairs: what one customer gives back lets another have more.

When no single move is left, a little of some limits still is: less than any contact takes. Two moves
together may use it. What a set of moves can gain is at most the worth of what is left, prices × slack, so
only moves that lose less than that are looked at.
"""

from __future__ import annotations

import numpy as np

from tilltal.decisions.allocation.board import Board, Moves, joined, pieces_of
from tilltal.decisions.allocation.problem import Bools, Floats, Ints

_MOVES = 800
_PAIRS = 200  # of one search: those of most gain are tried in turn


def swap(board: Board, who: Ints, miss: float, rounds: int) -> None:
    """Make pairs of moves of `who` that add value within the limits, the best first, until none is left.

    `miss` is what each missing contact of a minimum weighs.
    """
    for _ in range(rounds):
        moves = _cheapest(board, who, miss)
        if not _make_pairs(board, moves, miss):
            break
    board.recount()


def _cheapest(board: Board, who: Ints, miss: float) -> Moves:
    """Return the moves that lose least after prices, in order; ties to the earlier customer."""
    slack = board.slack
    worth = float(board.prices @ np.maximum(slack, 0.0)) + miss * float(-np.minimum(slack, 0.0).sum())
    found = []
    for piece in pieces_of(board.grid, who):
        options = board.options(piece)
        option, column = np.nonzero(options.is_open & (options.loss <= worth))
        near = np.argsort(options.loss[option, column], kind="stable")[:_MOVES]
        found.append(options.pick(option[near], column[near]))
    moves = joined(found, len(slack))
    return moves.taken(np.lexsort((moves.to, moves.who, moves.loss))[:_MOVES])


def _make_pairs(board: Board, moves: Moves, miss: float) -> int:
    """Make the best pairs that go together; return how many."""
    gain = moves.gain[:, None] + moves.gain[None, :] + miss * _filled(moves, board.slack)
    may = np.triu(moves.who[:, None] != moves.who[None, :]) & (gain > 1e-9 * miss) & _apart(board, moves)
    for row, left in enumerate(board.slack):
        used = moves.delta[:, row]
        may &= used[:, None] + used[None, :] <= max(left, 0.0)
    one, other = np.nonzero(may)
    order = np.argsort(-gain[one, other], kind="stable")[:_PAIRS]
    made, busy = 0, set[int]()
    for first, second in zip(one[order].tolist(), other[order].tolist(), strict=True):
        pair = moves.taken(np.array([first, second]))
        near = {int(home) for home in _homes(board, pair)}
        is_free = not busy & near
        if is_free and bool((pair.delta.sum(axis=0) <= np.maximum(board.slack, 0.0)).all()):
            board.make(pair)
            busy |= near
            made += 1
    return made


def _filled(moves: Moves, slack: Floats) -> Floats:
    """Return how many missing contacts of minimums each pair makes good, at most those that are missing."""
    filled = np.zeros((len(moves), len(moves)))
    for row in np.flatnonzero(slack < 0):
        less = -moves.delta[:, row]
        filled += np.minimum(less[:, None] + less[None, :], -slack[row])
    return filled


def _apart(board: Board, moves: Moves) -> Bools:
    """Say which pairs are of two households; members of one may both want its last contact."""
    home = _homes(board, moves)
    return np.asarray(home[:, None] != home[None, :])


def _homes(board: Board, moves: Moves) -> Ints:
    return board.grid.household[moves.who] if len(board.grid.room) else moves.who
