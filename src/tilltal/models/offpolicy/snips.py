"""SNIPS: Σ w·r / Σ w. A little biased, and steadier than IPS: a reward raised by c raises the value by c.

Swaminathan & Joachims 2015, "The self-normalized estimator for counterfactual learning", NeurIPS 28. The
influence of a row is w·(r − value), divided by the mean weight: the delta method for a ratio of means (Owen
2013, "Monte Carlo theory, methods and examples", section 9.2).
"""

from __future__ import annotations

from tilltal.models.offpolicy.estimate import Influences
from tilltal.models.offpolicy.log import Log


def snips(log: Log) -> Influences:
    """Return the value of the new policy; some weight must be above zero.

    >>> import numpy as np
    >>> always_b = np.tile([0.0, 1.0], (4, 1))
    >>> log = Log(shown=np.array([0, 1, 1, 1]), reward=np.array([0.0, 1.0, 1.0, 1.0]),
    ...           probability=np.full(4, 0.5), policy=always_b, names=("a", "b"))
    >>> snips(log).value
    1.0
    """
    weights = log.weights
    mean = float(weights.mean())
    value = float((weights * log.reward).mean()) / mean
    return Influences(method="SNIPS", value=value, influence=weights * (log.reward - value) / mean)
