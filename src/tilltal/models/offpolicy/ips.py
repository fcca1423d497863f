"""IPS: the mean of w·r, inverse propensity scoring. Unbiased, and noisy where weights are large.

Horvitz & Thompson 1952, "A generalization of sampling without replacement from a finite universe", JASA 47.
"""

from __future__ import annotations

from tilltal.models.offpolicy.estimate import Influences
from tilltal.models.offpolicy.log import Log


def ips(log: Log) -> Influences:
    """Return the value of the new policy.

    >>> import numpy as np
    >>> always_b = np.tile([0.0, 1.0], (4, 1))
    >>> log = Log(shown=np.array([0, 0, 1, 1]), reward=np.array([0.0, 0.0, 1.0, 0.0]),
    ...           probability=np.full(4, 0.5), policy=always_b, names=("a", "b"))
    >>> ips(log).value
    0.5
    """
    terms = log.weights * log.reward
    value = float(terms.mean())
    return Influences(method="IPS", value=value, influence=terms - value)
