"""Array types of the simulator, and its random generators.

Every topic of every chunk has its own generator, made from the seed, the chunk and the topic: what one file
holds depends neither on the other files nor on how many customers there are.
"""

from __future__ import annotations

import zlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Texts: TypeAlias = npt.NDArray[np.object_]


def generator(seed: int, chunk: int, topic: str) -> np.random.Generator:
    """Return the random generator of one topic in one chunk."""
    return np.random.default_rng(np.random.SeedSequence([seed, chunk, zlib.crc32(topic.encode())]))


def sigmoid(logit: Floats) -> Floats:
    """Return probabilities for log odds, in [0, 1]."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit, -40.0, 40.0))), dtype=np.float64)


def pick(rng: np.random.Generator, weights: Floats) -> Ints:
    """Draw one column per row with probability proportional to its weight.

    Args:
        rng: the random generator.
        weights: shape (n, k), not negative, at least one positive per row.

    Returns:
        Column numbers, shape (n,).
    """
    bounds = np.cumsum(weights, axis=1)
    draws = rng.random(len(weights)) * bounds[:, -1]
    return np.asarray((bounds <= draws[:, None]).sum(axis=1).clip(max=weights.shape[1] - 1), dtype=np.int64)
