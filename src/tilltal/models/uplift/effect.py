"""Average effect, and the effect by tenths of a score.

The average is the difference of both arms' weighted means (Hájek 1971), its interval from the variance of a
ratio; where chance alone assigned these are the plain means and the interval of Wald.
"""

from __future__ import annotations

import msgspec
import numpy as np
from scipy.stats import norm

from tilltal.models.calibration import Labels, Vector
from tilltal.models.uplift.qini import HeldOut, Interval, curve

_Z = float(norm.ppf(0.975))


class Tenth(msgspec.Struct, frozen=True, kw_only=True):
    """A tenth of the customers, the highest scores first.

    `predicted` is the mean score, `effect` what the experiment showed, if both groups occur; `gain` is what
    treating this tenth and those before it adds, in answers of yes per treated customer of all tenths.
    """

    treated: int
    control: int
    predicted: float
    effect: Interval | None
    gain: float


def average_effect(tested: HeldOut) -> Interval | None:
    """Return what treatment added to the share of yes; None where a group is empty.

    >>> treated = np.arange(2000) % 2 == 0
    >>> tested = HeldOut(treated=treated, outcome=np.arange(2000) % 5 == 0, weights=np.ones(2000))
    >>> str(average_effect(tested))
    '0.0 (-35.1 to 35.1)'
    """
    if tested.treated.all() or not tested.treated.any():
        return None
    with_it, without = (_mean(tested, arm) for arm in (tested.treated, ~tested.treated))
    value = with_it[0] - without[0]
    half = _Z * float(np.sqrt(with_it[1] + without[1]))
    return Interval(value, value - half, value + half)


def tenths(scores: Vector, tested: HeldOut) -> tuple[Tenth, ...]:
    """Return the held-out customers in ten parts by score."""
    order = np.argsort(-scores, kind="stable")
    found = curve(scores, tested)
    seen, result = 0, []
    for part in (part for part in np.array_split(order, 10) if len(part)):
        seen += len(part)
        own = HeldOut(
            treated=tested.treated[part], outcome=tested.outcome[part], weights=tested.weights[part]
        )
        result.append(
            Tenth(
                treated=int(own.treated.sum()),
                control=int((~own.treated).sum()),
                predicted=float(scores[part].mean()),
                effect=average_effect(own),
                gain=float(np.interp(seen / len(order), found.shares, found.gains)),
            )
        )
    return tuple(result)


def _mean(tested: HeldOut, arm: Labels) -> tuple[float, float]:
    """Weighted mean of one arm and its variance."""
    weights, yes = tested.weights[arm], tested.outcome[arm]
    total = float(weights.sum())
    mean = float((weights * yes).sum()) / total
    return mean, float((weights**2 * (yes - mean) ** 2).sum()) / total**2
