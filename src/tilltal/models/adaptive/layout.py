"""The cells of an adaptive model: totals, each bin of each predictor, and bands of the summed evidence."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from tilltal.core.time import parse_duration
from tilltal.models.adaptive.bins import AnyBins
from tilltal.workspace.definitions.actions import Adaptive

_BAND = 0.25  # of log-odds
_REACH = 4.0  # bands from −4 to 4; what lies beyond counts in the outermost

BANDS = int(2 * _REACH / _BAND)


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Where counts lie. Cell 0 is the total; `starts` are the first cells of the predictors, in order.

    `id` is a digest of the definition and the bins: counts of another layout cannot be read in this one.
    Durations are microseconds.
    """

    id: str
    adaptive: Adaptive
    bins: tuple[AnyBins, ...]
    starts: tuple[int, ...]
    first_band: int
    half_life: int | None

    @property
    def size(self) -> int:
        """How many cells there are."""
        return self.first_band + BANDS

    def band(self, evidence: float) -> int:
        """Return the cell of a sum of evidence, in log-odds."""
        return self.first_band + min(max(int((evidence + _REACH) // _BAND), 0), BANDS - 1)


def layout_of(adaptive: Adaptive, bins: Mapping[str, AnyBins]) -> Layout:
    """Return the layout of a definition; `bins` has those of every feature it names."""
    chosen = tuple(bins[name] for name in adaptive.features)
    starts, cell = [], 1
    for each in chosen:
        starts.append(cell)
        cell += each.size
    learned = msgspec.structs.replace(adaptive, wait="")  # how long to wait changes no count's meaning
    return Layout(
        id=blake2b(msgspec.msgpack.encode((learned, chosen)), digest_size=8).hexdigest(),
        adaptive=adaptive,
        bins=chosen,
        starts=tuple(starts),
        first_band=cell,
        half_life=None if adaptive.half_life is None else microseconds(adaptive.half_life),
    )


def microseconds(duration: str) -> int:
    """Return a duration's microseconds."""
    return round(parse_duration(duration).total_seconds() * 1_000_000)


def band_centre(band: int) -> float:
    """Return the evidence in the middle of a band, counted from 0."""
    return (band + 0.5) * _BAND - _REACH
