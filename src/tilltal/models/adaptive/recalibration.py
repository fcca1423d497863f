"""Recalibration of a batch model's scores while its labels come in: `models.rolling`, one score at a time."""

from __future__ import annotations

from bisect import bisect_left, insort_right
from operator import attrgetter

import msgspec
import numpy as np

from tilltal.models.calibration import Platt
from tilltal.models.rolling import fit_recent


class Known(msgspec.Struct, frozen=True, array_like=True):
    """A score (log-odds), what came of it, and when that was known (microseconds)."""

    score: float
    label: bool
    at: int


class _State(msgspec.Struct, frozen=True, array_like=True):
    known: list[Known]
    scored: int
    line: Platt


_AT = attrgetter("at")


class Recalibrator:
    """Platt's line on the latest `window` labels, fitted again after `every` scores.

    The same probabilities as `rolling_platt` gives for the same rows; a label counts for scores after it.
    """

    __slots__ = ("_every", "_known", "_line", "_scored", "_window")

    def __init__(self, *, window: int = 1500, every: int = 50) -> None:
        self._window = window
        self._every = every
        self._known: list[Known] = []
        self._line = Platt()
        self._scored = 0

    def add(self, score: float, label: bool, at: int) -> None:
        """Learn a label, known at an instant; labels may come in any order."""
        insort_right(self._known, Known(score, label, at), key=_AT)

    def apply(self, score: float, at: int) -> float:
        """Return the probability of a score (log-odds) given at an instant."""
        if self._scored % self._every == 0:
            self._fit(at)
        self._scored += 1
        return float(self._line.probability(np.array([score]))[0])

    def to_bytes(self) -> bytes:
        """Return the state."""
        return msgspec.msgpack.encode(_State(self._known, self._scored, self._line))

    def load(self, data: bytes) -> None:
        """Go on from a state.

        Raises:
            msgspec.DecodeError: if the bytes are no state.
        """
        state = msgspec.msgpack.decode(data, type=_State)
        self._known, self._scored, self._line = state.known, state.scored, state.line

    def _fit(self, at: int) -> None:
        """Fit on what is known; labels too old for the window are let go."""
        upto = bisect_left(self._known, at, key=_AT)
        del self._known[: max(upto - self._window, 0)]
        recent = self._known[: min(upto, self._window)]
        scores = np.array([each.score for each in recent], dtype=np.float64)
        self._line = fit_recent(scores, np.array([each.label for each in recent], dtype=np.bool_))
