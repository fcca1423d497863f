"""Drift: has the population moved since training?

Population stability index PSI = Σ (p − q) · ln(p / q) over bins frozen at training (Siddiqi 2006, Credit Risk
Scorecards, ch. 6): below 0.1 stable, from 0.1 watch, from 0.25 alarm. By chance alone PSI is about
(bins − 1) · (1/n + 1/m), so a small population says little (Yurdakul & Naranjo 2020, J. of Risk Model
Validation 14).
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

WATCH, ALARM = 0.1, 0.25
Values = NDArray[np.float32] | NDArray[np.float64]


class FrozenBins(msgspec.Struct, frozen=True, kw_only=True):
    """How a feature or score was distributed at training.

    `counts` has one more place than there are bins: the last counts what is missing. Numbers have bins
    between `edges`; categories (`edges` empty) one bin per value of the vocabulary.
    """

    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def places(self, values: Values) -> NDArray[np.int64]:
        """Return each value's bin; the last place means missing."""
        missing = np.isnan(values)
        inside = np.where(missing, 0, values)
        found = np.searchsorted(self.edges, inside, side="right") if self.edges else inside.astype(np.int64)
        return np.where(missing, len(self.counts) - 1, found)

    def count(self, values: Values) -> NDArray[np.int64]:
        """Return how many values fall into each bin, the missing last."""
        return np.bincount(self.places(values), minlength=len(self.counts))


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """The PSI of one feature, or of the score."""

    name: str
    psi: float

    @property
    def verdict(self) -> Literal["stable", "watch", "alarm"]:
        """What the usual thresholds say."""
        if self.psi >= ALARM:
            return "alarm"
        return "watch" if self.psi >= WATCH else "stable"


def freeze_numbers(name: str, values: Values, bins: int = 10) -> FrozenBins:
    """Freeze bins of about equal mass; a value shared by many gets a bin of its own.

    >>> freeze_numbers("x", np.arange(100, dtype=np.float64), bins=4).edges
    (24.75, 49.5, 74.25)
    """
    present = values[~np.isnan(values)].astype(np.float64)
    inner = np.unique(np.quantile(present, np.arange(1, bins) / bins)) if len(present) else np.zeros(1)
    if len(present) and inner[0] == present.min():
        inner = np.append(inner, np.nextafter(inner[0], np.inf))  # the commonest value apart from those above
    edges = tuple(np.unique(inner).tolist())
    return _counted(FrozenBins(name=name, edges=edges, counts=(0,) * (len(edges) + 2)), values)


def freeze_categories(name: str, codes: Values, size: int) -> FrozenBins:
    """Freeze one bin per value of a vocabulary of `size`."""
    return _counted(FrozenBins(name=name, edges=(), counts=(0,) * (size + 1)), codes)


def psi(bins: FrozenBins, values: Values) -> Drift:
    """Return the PSI of values now against those at training; half a row is added to each bin.

    >>> bins = freeze_numbers("x", np.arange(1000, dtype=np.float64))
    >>> psi(bins, np.arange(1000, dtype=np.float64)).psi
    0.0
    """
    then, now = np.array(bins.counts), bins.count(values)
    used = (then + now) > 0
    p, q = _shares(then[used]), _shares(now[used])
    return Drift(name=bins.name, psi=float(np.sum((p - q) * np.log(p / q))))


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    smooth = counts.astype(np.float64) + 0.5
    shares: NDArray[np.float64] = smooth / smooth.sum()
    return shares


def _counted(bins: FrozenBins, values: Values) -> FrozenBins:
    return msgspec.structs.replace(bins, counts=tuple(bins.count(values).tolist()))
