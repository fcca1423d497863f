"""What agreement is worth: the weights of Fellegi and Sunter (1969), as Splink learns them.

Of each level two probabilities are known: m, among records of one person, and u, among others. A pair's
weight is the sum of log2(m / u) over its fields; with the prior odds it gives the probability that both are
of one person. No value of any person is in here.
"""

from __future__ import annotations

import math

import msgspec

from tilltal.core.errors import DataError
from tilltal.customers.identity.linking.levels import level_names
from tilltal.customers.identity.linking.plan import LinkPlan


class FieldWeights(msgspec.Struct, frozen=True, kw_only=True):
    """m and u of each level of a field, `same` first, `different` last."""

    field: str
    m: tuple[float, ...]
    u: tuple[float, ...]

    @property
    def weights(self) -> tuple[float, ...]:
        """log2(m / u) of each level."""
        return tuple(math.log2(m / u) for m, u in zip(self.m, self.u, strict=True))


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Trained weights. `content` is the plan they were trained for, `prior` that of two records at random."""

    content: str
    trained: str
    records: int
    prior: float
    fields: tuple[FieldWeights, ...]

    @property
    def prior_weight(self) -> float:
        """log2 of the prior odds."""
        return math.log2(self.prior / (1 - self.prior))


def fitting(weights: Weights, plan: LinkPlan) -> Weights:
    """Return the weights if they were trained for this plan.

    Raises:
        DataError: P372 if the definitions have changed since.
    """
    shapes = [(one.field, len(one.m)) for one in weights.fields]
    wanted = [(one.name, len(level_names(one.kind))) for one in plan.fields]
    if weights.content != plan.content or shapes != wanted:
        raise DataError.of(
            "P372",
            "The weights of linking were trained for other definitions.",
            hint="Run `tilltal link run`, which trains them anew.",
        )
    return weights


def probability(weight: float) -> float:
    """Return the probability behind a weight that includes the prior."""
    return 1 / (1 + 2 ** -max(min(weight, 500.0), -500.0))


def weight_of(probability: float) -> float:
    """Return the weight of a probability between 0 and 1, both excluded."""
    return math.log2(probability / (1 - probability))
