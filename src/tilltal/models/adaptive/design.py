"""The design of a regression on bins: each cell of a layout as a few whole numbers.

A number is where its bin lies between the lowest (−1) and the highest (1), and a bend; a text has one place
of its own, or shares it with texts of like number. So a regression stays a sum over cells, like naive Bayes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from tilltal.models.adaptive.bins import AnyBins, Borders
from tilltal.models.adaptive.layout import Layout

SCALE = 64  # whole numbers per unit
_MOST = 96  # dimensions, as far as texts can share theirs: a fit costs their cube


class Design(msgspec.Struct, frozen=True):
    """`rows` has what each cell adds to a profile's vector, (first_band, dimensions), in parts of `SCALE`.

    Place 0 of the vector is the constant; cell 0, the total, adds it. `squares` are mean squares of the
    places over all bins: what a profile is like of which nothing is known.
    """

    rows: npt.NDArray[np.int64]
    squares: npt.NDArray[np.float64]

    @property
    def size(self) -> int:
        """How many dimensions a profile's vector has."""
        return int(self.rows.shape[1])


def design_of(layout: Layout) -> Design:
    """Return the design of a layout's predictors."""
    width = _width(layout.bins)
    blocks = [
        _numbers(bins.size) if isinstance(bins, Borders) else _texts(bins.size, width) for bins in layout.bins
    ]
    size = 1 + sum(block.shape[1] for block in blocks)
    rows = np.zeros((layout.first_band, size), dtype=np.int64)
    rows[0, 0] = SCALE
    squares = np.ones(size)
    place = 1
    for start, block in zip(layout.starts, blocks, strict=True):
        rows[start : start + len(block), place : place + block.shape[1]] = block
        squares[place : place + block.shape[1]] = np.mean((block / SCALE) ** 2, axis=0)
        place += block.shape[1]
    return Design(rows, squares)


def _numbers(size: int) -> npt.NDArray[np.int64]:
    """Return line, bend and NULL of each bin; two bins (a truth) have no bend."""
    line = np.linspace(-1, 1, size - 1) if size > 2 else np.zeros(1)
    bend = 1.5 * line**2 - 0.5 if size > 3 else np.zeros(size - 1)  # Legendre: nearly independent of the line
    block = np.zeros((size, 3), dtype=np.int64)
    block[1:, 0] = np.rint(SCALE * line)
    block[1:, 1] = np.rint(SCALE * bend)
    block[0, 2] = SCALE
    return block


def _texts(size: int, width: int) -> npt.NDArray[np.int64]:
    """Return a place for each bin, shared where there are more than `width`; the first, NULL, shares none."""
    block = np.zeros((size, min(size, width)), dtype=np.int64)
    block[0, 0] = SCALE
    for number in range(1, size):
        block[number, 1 + (number - 1) % (block.shape[1] - 1)] = SCALE
    return block


def _width(bins: Sequence[AnyBins]) -> int:
    """Return how many places a predictor of texts may have, so that all find room; 3 at least."""
    texts = [each.size for each in bins if not isinstance(each, Borders)]
    room = _MOST - 1 - 3 * (len(bins) - len(texts))
    widths = range(max(texts, default=3), 3, -1)
    return next((width for width in widths if sum(min(size, width) for size in texts) <= room), 3)
