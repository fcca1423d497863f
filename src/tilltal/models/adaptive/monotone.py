"""Monotone calibration: from bands of a score to probabilities that never fall as the score rises.

Pool adjacent violators (Ayer et al. 1955, Annals of Mathematical Statistics 26; as calibration: Zadrozny &
Elkan 2002, KDD). A pool answers (w · base + yes) / (w + yes + no): the mean of a Beta distribution. With
base 0.5 and w = 1 that is (0.5 + yes) / (1 + yes + no), as decisioning suites document it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tilltal.models.adaptive.grouping import SILENT, neighbours


class Prior(msgspec.Struct, frozen=True):
    """A share of yes, and as many answers as it weighs."""

    base: float
    weight: float


class Pool(msgspec.Struct, frozen=True):
    """Bands of like probability: the last of them, what was answered, and the prior's weight in it."""

    last: int
    yes: float
    no: float
    weight: float

    def probability(self, base: float) -> float:
        """Return the share of yes to expect."""
        return (self.weight * base + self.yes) / self.answers

    @property
    def answers(self) -> float:
        """How many answers stand behind it, those of the prior included."""
        return self.weight + self.yes + self.no


def pools(yes: Sequence[float], no: Sequence[float], prior: Prior, least: float) -> list[Pool]:
    """Return the pools of all bands, lowest first.

    The prior spreads over pools by their answers, but never weighs less than one answer in each (or than
    itself).

    Args:
        yes: answers by band, lowest score first.
        no: likewise.
        prior: what is believed without any answer.
        least: the least answers of a pool.

    >>> [pool.probability(0.5) for pool in pools([1, 0, 2], [3, 2, 1], Prior(0.5, 1), 1)]
    [0.21428571428571427, 0.625]
    """
    total = sum(yes) + sum(no)
    places, _ = neighbours([y + n for y, n in zip(yes, no, strict=True)], least)
    found: list[Pool] = []
    for band in range(len(yes)):
        if band + 1 < len(yes) and places[band + 1] == places[band]:
            continue
        begin = found[-1].last + 1 if found else 0
        found.append(_pool(band, sum(yes[begin : band + 1]), sum(no[begin : band + 1]), prior, total))
        while len(found) > 1 and found[-2].probability(prior.base) >= found[-1].probability(prior.base):
            high, low = found.pop(), found.pop()
            found.append(_pool(high.last, low.yes + high.yes, low.no + high.no, prior, total))
    assert places[-1] != SILENT or len(found) == 1
    return found


def _pool(last: int, yes: float, no: float, prior: Prior, total: float) -> Pool:
    share = (yes + no) / total if total else 1.0
    return Pool(last, yes, no, max(prior.weight * share, min(prior.weight, 1.0)))
