"""The cells of an adaptive model: totals, each bin of each predictor, and bands of the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec

from tilltal.core.time import parse_duration
from tilltal.models.adaptive.bins import AnyBins
from tilltal.workspace.definitions.actions import Adaptive

_PER_UNIT = 8  # bands of an eighth of log-odds
_REACH = 6  # from −6 to 6; what lies beyond counts in the outermost

BANDS = 2 * _REACH * _PER_UNIT


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

    def cells(self, values: Sequence[object]) -> tuple[int, ...]:
        """Return the cells of a profile's values, in the order of the features; None for NULL."""
        return tuple(
            [
                start + bins.of(value)
                for start, bins, value in zip(self.starts, self.bins, values, strict=True)
            ]
        )

    def band(self, score: float) -> int:
        """Return the band of a score in log-odds, from 0."""
        band = int((score + _REACH) * _PER_UNIT)
        if 0 <= band < BANDS:
            return band
        return 0 if band < 0 else BANDS - 1


def banded(score: float) -> float:
    """Return a score in widths of a band, counted from the lowest: its whole part is the band."""
    return (score + _REACH) * _PER_UNIT


def layout_of(adaptive: Adaptive, bins: Mapping[str, AnyBins]) -> Layout:
    """Return the layout of a definition; `bins` has those of every feature it names."""
    chosen = tuple(bins[name] for name in adaptive.features)
    starts, cell = [], 1
    for each in chosen:
        starts.append(cell)
        cell += each.size
    learned = msgspec.structs.replace(adaptive, wait="", challenger=None)  # neither changes a count's meaning
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
