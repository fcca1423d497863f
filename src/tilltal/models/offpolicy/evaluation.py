"""Evaluation: what a new policy would have earned beside what was earned, by every estimator.

log ──► overlap ──► too thin: refused, with the figures
           └──► IPS, SNIPS, DR, SNDR: value and gain over the policy that ran, each with its interval
"""

from __future__ import annotations

import msgspec
import numpy as np

from tilltal.core.errors import DataError
from tilltal.models.offpolicy.dr import dr, sndr
from tilltal.models.offpolicy.estimate import Estimate, Influences, Method, estimate
from tilltal.models.offpolicy.ips import ips
from tilltal.models.offpolicy.log import Log
from tilltal.models.offpolicy.overlap import Overlap, overlap, require_overlap
from tilltal.models.offpolicy.rewards import fitted_rewards
from tilltal.models.offpolicy.snips import snips

_SUM = 1e-6  # how far from 1 a policy's probabilities may sum


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One estimator's answer: reward per decision, and how much more than the policy that ran."""

    method: Method
    value: Estimate
    gain: Estimate


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says: the reward that was earned per decision, and what would have been."""

    earned: Estimate
    overlap: Overlap
    values: tuple[Value, ...]

    @property
    def verdict(self) -> str:
        """A sentence, by the doubly robust estimator."""
        best = next(one for one in self.values if one.method == "DR")
        said = f"The new policy earns {best.value} per decision, {best.gain} more than the {self.earned}"
        if best.gain.low > 0:
            return f"{said} that was earned: it is better."
        if best.gain.high < 0:
            return f"{said} that was earned: it is worse."
        return f"{said} that was earned: no difference that could be told from noise."


def evaluate(log: Log, *, seed: int = 1, threads: int = 1) -> Evaluation:
    """Estimate the value of a new policy from logged decisions.

    Args:
        log: decisions and the new policy's probabilities.
        seed: of the division into folds.
        threads: for the model of rewards; 0 = all.

    Raises:
        DataError: M411 where the log's numbers are none that a policy could have, M412 where it cannot tell.
    """
    require_lawful(log)
    found = overlap(log)
    require_overlap(found)
    rewards = fitted_rewards(log, seed, threads)
    return Evaluation(
        earned=_earned(log),
        overlap=found,
        values=tuple(
            _value(one, log) for one in (ips(log), snips(log), dr(log, rewards), sndr(log, rewards))
        ),
    )


def require_lawful(log: Log) -> None:
    """Stop where numbers are impossible.

    Raises:
        DataError: M411.
    """
    wrong = _unlawful(log)
    if wrong:
        raise DataError.of(
            "M411",
            f"The logged decisions cannot be evaluated: {wrong}.",
            hint="`probability` is that of the action shown, at the moment it was chosen.",
        )


def _unlawful(log: Log) -> str:
    if not len(log):
        return "there are none"
    if not np.isfinite(log.reward).all():
        return f"{int((~np.isfinite(log.reward)).sum()):,} rewards are no numbers"
    outside = ~((log.probability > 0) & (log.probability <= 1))
    if outside.any():
        return f"{int(outside.sum()):,} probabilities of what was shown are not above 0 and at most 1"
    return _not_policies(log)


def _not_policies(log: Log) -> str:
    """Say which of the two policies' probabilities are none, or nothing."""
    for name, given in (("the new policy", log.policy), ("the logging policy", log.logging)):
        if given is None:
            continue
        wrong = ~(np.isfinite(given) & (given >= 0)).all(axis=1) | (np.abs(given.sum(axis=1) - 1) > _SUM)
        if wrong.any():
            return (
                f"in {int(wrong.sum()):,} rows the probabilities of {name} do not sum to 1, or are negative"
            )
    return ""


def _earned(log: Log) -> Estimate:
    mean = float(log.reward.mean())
    return estimate(mean, log.reward - mean, log.customers)


def _value(found: Influences, log: Log) -> Value:
    mean = float(log.reward.mean())
    return Value(
        method=found.method,
        value=estimate(found.value, found.influence, log.customers),
        gain=estimate(found.value - mean, found.influence - (log.reward - mean), log.customers),
    )
