"""Overlap: did the logging policy try what the new policy would do, often enough to tell?

The effective sample size (Σ w)² / Σ w² is how many rows of the new policy's own the log is worth (Kong 1992,
"A note on importance sampling using standardized weights"). Three things make an answer impossible: actions
the log never tried, one row that outweighs the others, and a mean weight that is not 1, which shows that
probabilities are wrong or that untried actions are missing.
"""

from __future__ import annotations

import msgspec
import numpy as np

from tilltal.core.errors import DataError, Fault
from tilltal.models.baseline import percent
from tilltal.models.offpolicy.estimate import estimate
from tilltal.models.offpolicy.log import Log

FEWEST_EFFECTIVE = 200.0
LARGEST_WEIGHT_SHARE = 0.05
MOST_UNTRIED = 0.001
_FAR = 5.0  # standard errors: weights are skewed, so that the normal law's four would refuse honest logs


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """What the log can tell about the new policy.

    `untried` are actions that the new policy uses and the log never could have shown, each with the
    average probability the new policy gives it where that is so; `untried_share` is their sum.
    """

    rows: int
    effective: float
    largest_share: float
    mean_weight: float
    mean_weight_error: float
    untried: tuple[tuple[str, float], ...]

    @property
    def untried_share(self) -> float:
        """Share of the new policy's choices that the log never tried."""
        return sum(share for _, share in self.untried)


def overlap(log: Log) -> Overlap:
    """Measure how far the log covers the new policy."""
    weights = log.weights
    total = float(weights.sum())
    mean = estimate(float(weights.mean()), weights - weights.mean(), log.customers)
    return Overlap(
        rows=len(log),
        effective=total**2 / float((weights**2).sum()) if total > 0 else 0.0,
        largest_share=float(weights.max()) / total if total > 0 else 1.0,
        mean_weight=mean.value,
        mean_weight_error=mean.error,
        untried=_untried(log),
    )


def objections(found: Overlap) -> tuple[str, ...]:
    """Say why the log cannot tell the new policy's value, with figures; nothing where it can."""
    said = []
    if found.untried_share > MOST_UNTRIED:
        worst = ", ".join(
            f"{name} ({percent(share)})" for name, share in sorted(found.untried, key=lambda one: -one[1])
        )
        said.append(f"{percent(found.untried_share)} of the new policy's choices were never tried: {worst}")
    if found.effective < FEWEST_EFFECTIVE:
        said.append(
            f"{found.rows:,} decisions are worth {found.effective:.0f} of the new policy's own,"
            f" {FEWEST_EFFECTIVE:.0f} needed"
        )
    if found.largest_share > LARGEST_WEIGHT_SHARE:
        said.append(
            f"one decision has {percent(found.largest_share)} of all weight,"
            f" at most {percent(LARGEST_WEIGHT_SHARE)} is sound"
        )
    if abs(found.mean_weight - 1) > _FAR * found.mean_weight_error + 1e-9:
        said.append(
            f"the mean weight is {found.mean_weight:.3f} ± {found.mean_weight_error:.3f} instead of 1, so the"
            " logged probabilities are not those that chose, or choices are missing"
        )
    return tuple(said)


def require_overlap(found: Overlap) -> None:
    """Stop where the log cannot tell the new policy's value.

    Raises:
        DataError: M412, one fault per reason.
    """
    faults = [
        Fault(
            code="M412",
            message=f"The logged decisions cannot tell what the new policy is worth: {one}.",
            hint="Evaluate a policy nearer to the one that ran, or log more decisions with more exploration.",
        )
        for one in objections(found)
    ]
    if faults:
        raise DataError(*faults)


def _untried(log: Log) -> tuple[tuple[str, float], ...]:
    if log.logging is not None:
        shares = np.where(log.logging > 0, 0.0, log.policy).mean(axis=0)
    else:
        seen = np.bincount(log.shown, minlength=len(log.names)) > 0
        shares = np.where(seen, 0.0, log.policy.mean(axis=0))
    return tuple((name, share) for name, share in zip(log.names, shares.tolist(), strict=True) if share > 0)
