"""DR: a model of rewards, corrected by what it gets wrong where the logs can tell. Also self-normalised.

DR = mean of [Σ_a π(a|x) q(x,a) + w·(r − q(x, a_shown))]. Right on average where either the logged
probabilities or q are; nearly as sure as if the policy had run where q is good. Dudík, Langford & Li 2011,
"Doubly robust policy evaluation and learning", ICML 28. With cross-fitted q (see `rewards`) a row's influence
is its own term (Chernozhukov et al. 2018, "Double/debiased machine learning", Econometrics Journal 21).

SNDR divides the correction by the mean weight instead of 1: Σ w (r − q) / Σ w (Thomas & Brunskill 2016,
"Data-efficient off-policy policy evaluation", ICML 33); its influence is by the delta method, as SNIPS's.
"""

from __future__ import annotations

import numpy as np

from tilltal.models.calibration import Vector
from tilltal.models.offpolicy.estimate import Influences
from tilltal.models.offpolicy.log import Log


def dr(log: Log, rewards: Vector) -> Influences:
    """Return the value of the new policy; `rewards` is q of each action, (rows, k).

    >>> always_b = np.tile([0.0, 1.0], (4, 1))
    >>> log = Log(shown=np.array([0, 0, 1, 1]), reward=np.array([0.0, 0.0, 1.0, 0.0]),
    ...           probability=np.full(4, 0.5), policy=always_b, names=("a", "b"))
    >>> dr(log, np.tile([0.0, 0.5], (4, 1))).value
    0.5
    """
    modelled, residual = _parts(log, rewards)
    terms = modelled + log.weights * residual
    value = float(terms.mean())
    return Influences(method="DR", value=value, influence=terms - value)


def sndr(log: Log, rewards: Vector) -> Influences:
    """Return the value of the new policy, self-normalised; `rewards` is q of each action, (rows, k)."""
    modelled, residual = _parts(log, rewards)
    weights = log.weights
    mean = float(weights.mean())
    base, correction = float(modelled.mean()), float((weights * residual).mean()) / mean
    influence = modelled - base + weights * (residual - correction) / mean
    return Influences(method="SNDR", value=base + correction, influence=influence)


def _parts(log: Log, rewards: Vector) -> tuple[Vector, Vector]:
    """What the model expects of the new policy in each row, and what it missed of what was shown."""
    modelled: Vector = (log.policy * rewards).sum(axis=1)
    return modelled, log.reward - rewards[np.arange(len(log)), log.shown]
