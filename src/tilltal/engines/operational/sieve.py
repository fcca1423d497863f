"""A sieve for ids: it tells of most new ones that they are new, from a few bits of memory for each old one.

A Bloom filter (Bloom 1970, Communications of the ACM 13:7): an id sets four bits; where one of its four is
not set, it was never added. With ten bits for each id, one new id in eighty passes as if it might be old.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_WIDTH = 16  # bytes of an id that count: four words, a bit for each
_BITS_EACH = 10
_LEAST, _MOST = 20, 31  # logarithms of a layer's bits: 128 KB to 256 MB


class _Layer:
    """Bits for a number of ids."""

    def __init__(self, ids: int) -> None:
        size = min(max((ids * _BITS_EACH - 1).bit_length(), _LEAST), _MOST)
        self.room = (1 << size) // _BITS_EACH
        self._mask = np.uint32((1 << size) - 1)
        self._bits = np.zeros(1 << (size - 3), np.uint8)

    def add(self, words: npt.NDArray[np.uint32]) -> None:
        places = (words & self._mask).ravel()
        np.bitwise_or.at(
            self._bits, places >> 3, np.left_shift(1, places & 7, dtype=np.uint8, casting="unsafe")
        )

    def passes(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        places = words & self._mask
        found = (self._bits[places >> 3] >> (places & 7)) & 1
        return np.asarray(found.all(axis=1))


class Sieve:
    """Ids that were added; until it `is_whole`, any id may have been.

    Ids are random in their first 16 bytes, as hashes are; of others more pass.
    """

    def __init__(self, expected: int = 0) -> None:
        self.is_whole = False
        self.count = 0
        self._expected = expected
        self._layers: list[_Layer] = []
        self._room = 0

    def anew(self) -> Sieve:
        """Return an empty one with room for as many."""
        return Sieve(max(self._expected, self.count))

    def add(self, ids: Sequence[bytes]) -> None:
        """Add ids."""
        if not ids:
            return
        if self._room <= 0:
            self._layers.append(_Layer(max(self._expected, 2 * self.count)))
            self._room = self._layers[-1].room
        self._layers[-1].add(_words(ids))
        self._room -= len(ids)
        self.count += len(ids)

    def passing(self, ids: Sequence[bytes]) -> Sequence[bytes]:
        """Return those ids that may have been added; all others were not."""
        if not self.is_whole or not ids:
            return ids
        words = _words(ids)
        found = np.zeros(len(ids), np.bool_)
        for layer in self._layers:
            found |= layer.passes(words)
        return [ids[place] for place in np.flatnonzero(found).tolist()]


def _words(ids: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """Return four words of each id."""
    if set(map(len, ids)) != {_WIDTH}:
        ids = [name[:_WIDTH].ljust(_WIDTH, b"\0") for name in ids]
    return np.frombuffer(b"".join(ids), "<u4").reshape(-1, _WIDTH // 4)
