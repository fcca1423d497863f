"""Fairness: is a group chosen as often as all others, and does the choice lean along a number?

Groups: the ratio of two selection rates, chosen / all of the group against chosen / all outside it; 1 is
parity. Its interval is that of D. Katz et al., "Obtaining confidence intervals for the risk ratio in cohort
studies", Biometrics 34 (1978): ln(ratio) ± 1.96 √(1/a − 1/n + 1/b − 1/m). Where fewer than 5 are chosen on
either side that is no guide; then it is the score interval of P. A. R. Koopman, "Confidence intervals for the
ratio of two binomial proportions", Biometrics 40 (1984): the ratios that Pearson's χ² does not refute, given
the likeliest rates of that ratio. Who lacks the trait is a group too.

Numbers: the Gini of the selection curve, 1 − 2 × the area under the share of all chosen over the share of all
customers, lowest values first. Above 0, high values are chosen more often. Its interval is the 95 % of a
bootstrap (B. Efron, 1979) over at most 256 classes of values, each half chosen and half not.

A finding is flagged if its whole interval lies beyond a margin: with 0.2, a ratio under 0.8 or over 1.25 (the
four-fifths rule). The margin of a Gini is that of two halves of customers whose ratio is at that margin. A
group is never flagged where at parity fewer than 5 would be chosen of it, or of all others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import msgspec
import numpy as np

from tilltal.decisions.batch_ranking import Bools, Floats, Ints
from tilltal.decisions.simulation.mix import Grouping

ANY = ""  # not one action, but any
MISSING = "(missing)"
MARGIN = 0.2
_FEW = 5  # chosen, or expected to be
_FAR, _HALVINGS = 40.0, 80  # of the logarithm of a ratio
_Z = NormalDist().inv_cdf(0.975)
_ROUNDS = 1000
_CLASSES = 256


class RateRatio(msgspec.Struct, frozen=True, kw_only=True):
    """How often a group is chosen against all others; None where nobody outside is chosen, or is there.

    The estimate lies within its interval, which has no end (`high` None) where nobody outside is chosen.
    """

    trait: str
    group: str
    action: str
    customers: int
    chosen: int
    rate: float
    rate_of_others: float
    ratio: float | None
    low: float | None
    high: float | None
    is_flagged: bool


class Lean(msgspec.Struct, frozen=True, kw_only=True):
    """How the choice leans along a number, −1 to 1, among those who have it; None where nobody is chosen."""

    trait: str
    action: str
    customers: int
    chosen: int
    gini: float | None
    low: float | None
    high: float | None
    is_flagged: bool


def rate_ratios(
    grouping: Grouping, chosen: Bools, *, action: str = ANY, margin: float = MARGIN
) -> tuple[RateRatio, ...]:
    """Compare each group with all others.

    Args:
        grouping: n customers by a trait.
        chosen: (n,) who has the action.
        action: its name; empty for any.
        margin: between 0 and 1; beyond it a ratio is flagged.
    """
    size = len(grouping.groups)
    sizes = np.bincount(grouping.codes, minlength=size)
    picked = np.bincount(grouping.codes[chosen], minlength=size)
    everybody, everything = int(sizes.sum()), int(picked.sum())
    return tuple(
        _ratio(
            (grouping.trait, name, action),
            (int(picked[place]), int(sizes[place])),
            (everything - int(picked[place]), everybody - int(sizes[place])),
            margin,
        )
        for place, name in enumerate(grouping.groups)
    )


def katz_interval(here: tuple[int, int], others: tuple[int, int]) -> tuple[float, float]:
    """Return the 95 % Katz interval of a ratio of rates, each as (chosen, all); all at least 1.

    >>> low, high = katz_interval((40, 100), (20, 100))
    >>> round(low, 3), round(high, 3)
    (1.264, 3.165)
    """
    (a, n), (b, m) = here, others
    middle = math.log(a / n) - math.log(b / m)
    spread = _Z * math.sqrt(max(1 / a - 1 / n + 1 / b - 1 / m, 0.0))
    return math.exp(middle - spread), math.exp(middle + spread)


def score_interval(here: tuple[int, int], others: tuple[int, int]) -> tuple[float, float]:
    """Return the 95 % score interval of a ratio of rates, each as (chosen, all); somebody must be chosen.

    Without anybody chosen outside it has no end: inf.

    >>> low, high = score_interval((0, 1), (1, 1000))
    >>> round(low, 3), round(high)
    (0.0, 1001)
    """
    low = 0.0 if not here[0] else 1 / _last_ratio(others, here)
    return low, _last_ratio(here, others)


def _last_ratio(here: tuple[int, int], others: tuple[int, int]) -> float:
    """Return the highest ratio of rates that is not refuted; inf where all above the estimate are."""
    (a, n), (b, m) = here, others
    if not b:
        return math.inf
    low = math.log(a / n) - math.log(b / m) if a else -_FAR
    high = _FAR
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _pearson(math.exp(middle), here, others) > _Z * _Z:
            high = middle
        else:
            low = middle
    return math.exp(high)


def _pearson(ratio: float, here: tuple[int, int], others: tuple[int, int]) -> float:
    """Return χ² of counts against the likeliest rates that have a ratio."""
    (a, n), (b, m) = here, others
    half = n * ratio + a + m + b * ratio
    rate = 2 * (a + b) / (half + math.sqrt(max(half * half - 4 * (n + m) * ratio * (a + b), 0.0)))
    found = 0.0
    for count, size, share in ((a, n, ratio * rate), (b, m, rate)):
        spread = size * share * (1 - share)
        if spread > 0:
            found += (count - size * share) ** 2 / spread
    return found


def lean(
    trait: str,
    values: Floats,
    chosen: Bools,
    chance: np.random.Generator,
    *,
    action: str = ANY,
    margin: float = MARGIN,
) -> Lean:
    """Say how the choice leans along a number.

    Args:
        trait: its name.
        values: (n,) NaN where missing: these customers are left out here, and are a group of their own.
        chosen: (n,) who has the action.
        chance: of the bootstrap.
        action: its name; empty for any.
        margin: of a ratio; see the module.
    """
    known = ~np.isnan(values)
    counts = _classes(values[known], chosen[known])
    size, picked = int(counts.sum()), int(counts[1].sum())
    bound = gini_margin(margin)
    found = low = high = None
    if picked:
        found = float(_gini(counts[None])[0])
        draws = chance.multinomial(size, counts.ravel() / size, size=_ROUNDS).reshape(_ROUNDS, 2, -1)
        low, high = (float(each) for each in np.quantile(_gini(draws), (0.025, 0.975)))
    is_flagged = low is not None and high is not None and (low > bound or high < -bound)
    return Lean(
        trait=trait,
        action=action,
        customers=size,
        chosen=picked,
        gini=found,
        low=low,
        high=high,
        is_flagged=is_flagged,
    )


def gini_margin(margin: float) -> float:
    """Return the Gini of two halves of customers whose ratio of rates is 1 − margin.

    >>> round(gini_margin(0.2), 4)
    0.0556
    """
    return margin / (2 * (2 - margin))


def gini(values: Floats, chosen: Bools) -> float:
    """Return the Gini of the selection curve; somebody must be chosen and no value be missing.

    >>> gini(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, False, True, True]))
    0.5
    """
    _, codes = np.unique(values, return_inverse=True)
    return float(_gini(_counts(codes, chosen)[None])[0])


def _ratio(
    named: tuple[str, str, str], here: tuple[int, int], others: tuple[int, int], margin: float
) -> RateRatio:
    rate, rest = (chosen / size if size else 0.0 for chosen, size in (here, others))
    low = high = None
    is_flagged = False
    if here[1] and others[1] and (here[0] or others[0]):
        interval = score_interval if min(here[0], others[0]) < _FEW else katz_interval
        low, high = interval(here, others)
        is_beyond = high < 1 - margin or low > 1 / (1 - margin)
        is_flagged = is_beyond and _expected(here, others) >= _FEW
    return RateRatio(
        trait=named[0],
        group=named[1],
        action=named[2],
        customers=here[1],
        chosen=here[0],
        rate=rate,
        rate_of_others=rest,
        ratio=rate / rest if rest else None,
        low=low,
        high=None if high == math.inf else high,
        is_flagged=is_flagged,
    )


def _expected(here: tuple[int, int], others: tuple[int, int]) -> float:
    """Return how many would be chosen at parity, of the side where that is less."""
    return min(here[1], others[1]) * (here[0] + others[0]) / (here[1] + others[1])


def _classes(values: Floats, chosen: Bools) -> Ints:
    """Return (2, classes) counts of not chosen and chosen, lowest values first."""
    distinct, codes = np.unique(values, return_inverse=True)
    if len(distinct) > _CLASSES:
        ordered = np.sort(values)
        places = (np.arange(1, _CLASSES) * len(values)) // _CLASSES
        codes = np.searchsorted(np.unique(ordered[places]), values, side="right")
    return _counts(codes, chosen)


def _counts(codes: Ints, chosen: Bools) -> Ints:
    size = int(codes.max()) + 1 if len(codes) else 1
    sides: Sequence[Bools] = (~chosen, chosen)
    return np.stack([np.bincount(codes[side], minlength=size) for side in sides])


def _gini(counts: Ints) -> Floats:
    """Return the Gini of each of r × 2 × classes counts; 0 where nobody is chosen."""
    chosen, everybody = counts[:, 1], counts.sum(axis=1)
    share = chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1)
    width = everybody / np.maximum(everybody.sum(axis=1, keepdims=True), 1)
    reached = np.cumsum(share, axis=1)
    area = (width * (reached - share / 2)).sum(axis=1)
    return np.asarray(np.where(chosen.sum(axis=1) > 0, 1 - 2 * area, 0.0))
