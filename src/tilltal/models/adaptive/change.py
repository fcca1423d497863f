"""A change detector: has a model ceased to tell the truth?

For each answer y to a probability p: the likelihood of p shifted by δ log-odds over that of p, which is e to
the difference of two prequential log losses. It is 1 on average if p is true, so R ← (R + 1) · ratio grows by
1 an answer on average, and reaches 1/α for the first time after 1/α answers on average at least (Shiryaev
1963; Roberts 1966, Technometrics 8; Shin, Ramdas & Rinaldo 2023, "E-detectors", New England Journal of
Statistics in Data Science 2). Shifts up and down are watched by a detector each; their mean keeps the bound.
"""

from __future__ import annotations

import math

import msgspec

RUN = 10_000
"""How many answers lie on average, at least, between false alarms."""

SHIFT = 0.5
"""The shift that is looked for, in log-odds; what is less than half of it raises no alarm in the long run."""

_MOST = 1e12


class ChangeDetector(msgspec.Struct, array_like=True):
    """The evidence for a shift up and one down, since the last alarm."""

    up: float = 0.0
    down: float = 0.0

    def add(self, said: float, label: bool, run: int = RUN) -> bool:
        """Take in an answer; true if it raises the alarm, after which the detector begins anew.

        Args:
            said: the probability given, within (0, 1).
            label: what came of it.
            run: how many answers lie between false alarms, on average, at least.
        """
        odds = math.log(said / (1 - said))
        self.up = min((self.up + 1) * _ratio(odds, SHIFT, label), _MOST)
        self.down = min((self.down + 1) * _ratio(odds, -SHIFT, label), _MOST)
        if (self.up + self.down) / 2 < run:
            return False
        self.up = self.down = 0.0
        return True


def _ratio(odds: float, shift: float, label: bool) -> float:
    """Return the likelihood of an answer under shifted log-odds over that under the model's own."""
    rest = (1 + math.exp(odds)) / (1 + math.exp(odds + shift))
    return rest * math.exp(shift) if label else rest
