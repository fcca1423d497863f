"""Repair: from the relaxed choices to an allocation that keeps every limit, at the least loss.

The relaxed choices break some limits a little and leave a little of others. Moves of single customers, the
least loss per unit first, give back what is too much; then moves that add value use what is left, and fill
minimums that are short. Capacities and households are never exceeded; minimums as far as they allow.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tilltal.decisions.allocation.board import Board, Moves, Options, joined, pieces_of
from tilltal.decisions.allocation.problem import Bools, Floats, Ints

_THREADS = 2  # numpy lets go of the interpreter within a piece; more than two wait for memory
_ROUNDS = 25  # after so many, only moves that take nothing from another limit

Judge = Callable[[Options], tuple[Floats, Bools]]


def relieve(board: Board, who: Ints) -> None:
    """Bring every capacity below its limit by moves of `who`, as far as they can."""
    for spare_minimums in (True, False):
        for turn in range(_ROUNDS * 4):
            slack = board.slack[: board.grid.capacities]
            over = np.flatnonzero(slack < 0)
            if not len(over) or not any(
                _relieve_row(board, who, int(row), spare=spare_minimums, gently=turn >= _ROUNDS)
                for row in over[np.argsort(slack[over] / np.maximum(board.grid.limits[over], 1e-12))]
            ):
                break
    board.recount()


def improve(board: Board, who: Ints, miss: float, rounds: int) -> None:
    """Use what is left: fill minimums (each missing contact weighs `miss`), then add value."""
    for _ in range(rounds):
        slack = board.slack

        def judge(options: Options, slack: Floats = slack) -> tuple[Floats, Bools]:
            bonus = miss * sum(
                (-options.delta[row] for row in np.flatnonzero(slack < 0)), np.zeros_like(options.gain)
            )
            worth = options.gain + bonus
            return options.loss - bonus, (worth > 1e-9 * miss) & _fits(options.delta, slack)

        moves = _sift(board, _best(board, who, judge))
        made = _prefix(moves, slack)
        if not made:
            break
        board.make(moves.taken(np.arange(made)))
    board.recount()


def _relieve_row(board: Board, who: Ints, row: int, *, spare: bool, gently: bool) -> bool:
    """Give back some of what is too much of a row; false if no move of `who` does."""
    slack = board.slack
    bound = np.zeros_like(slack) if gently else slack.copy()
    bound[row] = slack[row]
    if not spare:
        bound[board.grid.capacities :] = np.inf

    def judge(options: Options) -> tuple[Floats, Bools]:
        less = -options.delta[row]
        per_unit = options.loss / np.where(less > 0, less, 1.0)
        return per_unit, (less > 0) & _fits(options.delta, bound)

    moves = _sift(board, _best(board, who, judge, later_first=True))
    made = _prefix(moves, bound)
    board.make(moves.taken(np.arange(made)))
    return made > 0


def _fits(delta: Floats, slack: Floats) -> Bools:
    """Say which moves alone break no limit, and worsen none that is broken."""
    fits = np.ones(delta.shape[1:], dtype=bool)
    for used, left in zip(delta, slack, strict=True):
        fits &= used <= max(left, 0.0)
    return fits


def _best(board: Board, who: Ints, judge: Judge, *, later_first: bool = False) -> Moves:
    """Return the best move of each customer that has one, the best first.

    Among equals the earlier customer goes first; to give something back, the later one.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = list(pool.map(lambda piece: _best_of(board, piece, judge), pieces_of(board.grid, who)))
    moves = joined([found for found, _ in parts], len(board.usage))
    turn = -moves.who if later_first else moves.who
    return moves.taken(np.lexsort((turn, np.concatenate([np.zeros(0), *(score for _, score in parts)]))))


def _best_of(board: Board, piece: Ints, judge: Judge) -> tuple[Moves, Floats]:
    """Return the best move of each customer of a piece that has one, with its score; changes nothing."""
    options = board.options(piece)
    score, may = judge(options)
    score = np.where(may & options.is_open, score, np.inf)
    option = score.argmin(axis=0)
    column = np.flatnonzero(np.isfinite(score[option, np.arange(len(piece))]))
    return options.pick(option[column], column), score[option[column], column]


def _sift(board: Board, moves: Moves) -> Moves:
    """Keep one new contact per household at a time, the best one."""
    if not len(board.grid.room) or not len(moves):
        return moves
    is_new = (board.choice[moves.who] < 0) & (moves.to >= 0)
    first = np.ones(len(moves), dtype=bool)
    new = np.flatnonzero(is_new)
    _, kept = np.unique(board.grid.household[moves.who[new]], return_index=True)
    first[new] = False
    first[new[kept]] = True
    return moves.taken(first)


def _prefix(moves: Moves, slack: Floats) -> int:
    """Return how many moves, from the first, can be made: until a limit or a repaired row is reached."""
    if not len(moves) or not len(slack):
        return len(moves)
    together = np.cumsum(moves.delta, axis=0)
    room = np.maximum(slack, 0.0)
    is_over = (together > room + 1e-12 * np.maximum(room, 1.0)).any(axis=1)
    end = int(is_over.argmax()) if is_over.any() else len(moves)
    is_mended = ((slack < 0) & (together <= slack)).any(axis=1)
    return min(end, int(is_mended.argmax()) + 1) if is_mended.any() else end
