"""A change detector: has a model ceased to tell the truth?

For each answer y to a probability p: the likelihood of p shifted by δ log-odds over that of p, which is e to
the difference of two prequential log losses. It is 1 on average if p is true, so R ← (R + 1) · ratio grows by
1 an answer on average, and reaches 1/α for the first time after 1/α answers on average at least (Shiryaev
1963; Roberts 1966, Technometrics 8; Shin, Ramdas & Rinaldo 2023, "E-detectors", New England Journal of
Statistics in Data Science 2). Shifts up and down are watched by a detector each; their mean keeps the bound.
Of n answers at once, R ← (R + n) · the product of their ratios: the same bound, whatever their order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

RUN = 10_000
"""How many answers lie on average, at least, between false alarms."""

SHIFT = 0.5
"""The shift that is looked for, in log-odds; what is less than half of it raises no alarm in the long run."""

_MOST = 1e12
_FARTHEST = 50.0  # log-likelihood; e to it is beyond `_MOST`
_TINY = 1e-6


class ChangeDetector(msgspec.Struct, array_like=True):
    """The evidence for a shift up and one down, since the last alarm."""

    up: float = 0.0
    down: float = 0.0

    def hear(self, bands: Iterable[tuple[int, int, float]], run: int = RUN) -> bool:
        """Take in answers; true if they raise the alarm, after which the detector begins anew.

        Args:
            bands: by about equal probability, how many yes and no came, and the sum of the probabilities
                given, each within (0, 1).
            run: how many answers lie between false alarms, on average, at least.
        """
        heard = [(yes, no, _odds(said / (yes + no))) for yes, no, said in bands]
        answers = sum(yes + no for yes, no, _ in heard)
        self.up = min((self.up + answers) * _likelihood(heard, SHIFT), _MOST)
        self.down = min((self.down + answers) * _likelihood(heard, -SHIFT), _MOST)
        if (self.up + self.down) / 2 < run:
            return False
        self.up = self.down = 0.0
        return True


def _likelihood(heard: Iterable[tuple[int, int, float]], shift: float) -> float:
    """Return the likelihood of answers under shifted log-odds over that under the model's own."""
    total = math.fsum(
        yes * shift + (yes + no) * math.log((1 + math.exp(odds)) / (1 + math.exp(odds + shift)))
        for yes, no, odds in heard
    )
    return math.exp(min(total, _FARTHEST))


def _odds(said: float) -> float:
    inside = min(max(said, _TINY), 1 - _TINY)
    return math.log(inside / (1 - inside))
