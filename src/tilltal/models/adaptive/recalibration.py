"""Recalibration of a batch model's probabilities while its labels come in: `models.rolling`, label by label.

What is known of each case is kept under a key, so that a late answer takes the place of an earlier one. The
state follows from what is known alone, not from the order in which it came. Labels must come with the same
delay, yes or no: where one of them is sooner, the line follows the delay and not the world.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable

import msgspec
import numpy as np

from tilltal.models.calibration import Platt
from tilltal.models.rolling import fit_recent

_LEAST = 1e-9  # probabilities stay strictly within (0, 1), as `calibration` has it


class Known(msgspec.Struct, frozen=True, array_like=True, order=True):
    """What came of a case: when that was known (microseconds), its key, its score (log-odds), yes or no."""

    at: int
    key: bytes
    score: float
    label: bool


class Recalibrator:
    """Platt's line on the latest `window` labels: the probabilities that `rolling_platt` gives."""

    __slots__ = ("_by_key", "_known", "_line", "_window")

    def __init__(self, known: Iterable[Known] = (), *, window: int = 1500) -> None:
        self._window = window
        self._known = sorted(known)[-window:]
        self._by_key = {one.key: one for one in self._known}
        self._line: Platt | None = None

    def learn(self, key: bytes, score: float, label: bool, at: int) -> bool:
        """Take in what is known of a case, in place of what was known of it before.

        Args:
            key: names the case; whatever comes later under the same key revises it.
            score: log-odds.
            label: what came of it.
            at: when that was known, microseconds.

        Returns:
            Whether that is news; it is none once the window has moved on.
        """
        new = Known(at, key, score, label)
        old = self._by_key.get(key)
        is_past = old is None and len(self._known) == self._window and new < self._known[0]
        if old == new or is_past:
            return False
        if old is not None:
            del self._known[bisect_left(self._known, old)]
        insort(self._known, new)
        self._by_key[key] = new
        if len(self._known) > self._window:
            del self._by_key[self._known.pop(0).key]
        self._line = None
        return True

    def forget(self, key: bytes) -> bool:
        """Take back what is known of a case; return whether anything was."""
        old = self._by_key.pop(key, None)
        if old is None:
            return False
        del self._known[bisect_left(self._known, old)]
        self._line = None
        return True

    @property
    def line(self) -> Platt:
        """The calibration of the next score; slope 1 and intercept 0 while an answer is rare."""
        if self._line is None:
            scores = np.array([one.score for one in self._known], dtype=np.float64)
            self._line = fit_recent(scores, np.array([one.label for one in self._known], dtype=np.bool_))
        return self._line

    def to_bytes(self) -> bytes:
        """Return the state."""
        return msgspec.msgpack.encode(self._known)


def recalibrator_from(data: bytes, *, window: int = 1500) -> Recalibrator:
    """Read a state.

    Raises:
        msgspec.DecodeError: if the bytes are no state.
    """
    return Recalibrator(msgspec.msgpack.decode(data, type=list[Known]), window=window)


def log_odds(probability: float) -> float:
    """Return the score of a probability, also of 0 and 1."""
    inside = min(max(probability, _LEAST), 1 - _LEAST)
    return math.log(inside / (1 - inside))


def recalibrated(probability: float, line: Platt) -> float:
    """Return what a line makes of a model's probability; of no probability, that itself.

    >>> round(recalibrated(0.5, Platt(1.0, -1.0)), 3)
    0.269
    """
    if not 0 <= probability <= 1:
        return probability
    odds = line.slope * log_odds(probability) + line.intercept
    raised = 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0
    return min(max(raised, _LEAST), 1 - _LEAST)
