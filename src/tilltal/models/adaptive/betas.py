"""Quantiles of Beta distributions, cheap enough to be drawn for every candidate of a decision.

Wilson and Hilferty (1931, PNAS 17): the cube root of a χ² is nearly normal. So for F, the ratio of two
(Paulson 1942, Annals of Mathematical Statistics 13), the quantile solves a quadratic: with g = 1 − 1/(9a),
k = 1 − 1/(9b) and the normal quantile z

    (k y − g)² = z² (1/(9a) + y²/(9b)),   x = a y³ / (a y³ + b)

Where both shapes are 2 or more, the distribution function at the result is off by at most 0.0035 (0.0006 from
10 on), mean and standard deviation by 0.02 % and 0.6 % at most, as tests hold. Below 2, which few pairs have
for long, the exact inverse answers. The closed form uses + − × ÷ and √ alone, and normal quantiles of a table
that is rounded: so it gives the same bits on every machine.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtri

Floats = npt.NDArray[np.float64]
Bits = npt.NDArray[np.uint64]

ENOUGH: Final = 2.0
"""Shapes from which on the closed form answers."""

_BITS = 12
_TABLE: Floats = np.round(ndtri((np.arange(1 << _BITS) + 0.5) / (1 << _BITS)), 12)
_SEEN, _LEFT_OUT = np.uint64(64 - _BITS), np.uint64(11)
_NINTH, _UNIT = 1.0 / 9.0, 2.0**-53


def beta_quantiles(yes: Floats, no: Floats, at: Bits) -> Floats:
    """Return the quantiles of Beta(yes, no).

    Args:
        yes: first shapes, above 0; any form that goes with the others.
        no: second shapes, above 0.
        at: probabilities as 64 bits, of which the closed form sees the first 12 and the exact inverse 53.
    """
    found = _closed(yes, no, _TABLE.take((at >> _SEEN).astype(np.intp)))
    is_few = np.minimum(yes, no) < ENOUGH
    if is_few.any():
        if is_few.shape != found.shape:
            yes, no, at, is_few = np.broadcast_arrays(yes, no, at, is_few)
        few = is_few.nonzero()
        exact = ((at[few] >> _LEFT_OUT) + 0.5) * _UNIT
        found[few] = betaincinv(yes[few], no[few], exact)
    return found


def _closed(yes: Floats, no: Floats, z: Floats) -> Floats:
    spread_yes, spread_no = _NINTH / yes, _NINTH / no
    mid_yes, mid_no = 1.0 - spread_yes, 1.0 - spread_no
    squared = z * z * spread_no
    over = mid_no * mid_no
    root = np.sqrt(np.maximum(spread_yes * (over - squared) + spread_no * mid_yes * mid_yes, 0.0))
    cube = (mid_no * mid_yes + z * root) / (over - squared)
    odds: Floats = yes * (cube * cube * cube)
    return odds / (odds + no)
