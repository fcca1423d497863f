"""The weight of one pair of records: the same as Splink's for the same weights, in microseconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tilltal.customers.identity.linking.levels import level
from tilltal.customers.identity.linking.plan import LinkPlan, Values
from tilltal.customers.identity.linking.similarity import as_bytes
from tilltal.customers.identity.linking.weights import Weights
from tilltal.workspace.definitions.identity import Comparison

_COST: dict[Comparison, int] = {"exact": 0, "number": 1, "postcode": 2, "date": 3, "email": 4, "name": 5}


class _Field(NamedTuple):
    """A field's weights: `same`; `near` is the best that two different values can get."""

    kind: Comparison
    weights: tuple[float, ...]
    same: float
    near: float


class PairScorer:
    """Scores pairs of records that went through `prepared`."""

    def __init__(self, plan: LinkPlan, weights: Weights) -> None:
        """Prepare for weights that fit the plan."""
        self._fields = [
            _Field(one.kind, known.weights, known.weights[0], max(known.weights[1:]))
            for one, known in zip(plan.fields, weights.fields, strict=True)
        ]
        self._prior = weights.prior_weight
        costs = [_COST[one.kind] for one in plan.fields]
        self._cheapest_first = sorted(range(len(costs)), key=lambda place: costs[place])

    @staticmethod
    def prepared(values: Values) -> Values:
        """Return a record as the scorer takes it: its similarity is that of bytes."""
        return tuple(None if value is None else as_bytes(value) for value in values)

    def evidence(self, a: Values, b: Values) -> float:
        """Return the weight of what the records say, the prior aside: above 0 it speaks for one person."""
        total = 0.0
        for field, one, other in zip(self._fields, a, b, strict=True):
            if one is not None and other is not None:
                total += field.weights[level(field.kind, one, other)]
        return total

    def weight(self, a: Values, b: Values) -> float:
        """Return the pair's weight, log2 of the odds that both are of one person."""
        return self._prior + self.evidence(a, b)

    def best(
        self, mine: Values, others: Iterable[tuple[int, Values]], least: float
    ) -> list[tuple[float, int]]:
        """Return (weight, record) of those others that reach a least weight, in their order.

        A pair is dropped as soon as its remaining fields could not lift it to `least`.
        """
        found = []
        memo: dict[tuple[int, str], float] = {}
        for record, values in others:
            weight = self._reached(mine, values, least, memo)
            if weight is not None:
                found.append((weight, record))
        return found

    def _reached(
        self, mine: Values, values: Values, least: float, memo: dict[tuple[int, str], float]
    ) -> float | None:
        bound = self._prior
        for field, one, other in zip(self._fields, mine, values, strict=True):
            if one is not None and other is not None:
                bound += field.same if one == other else field.near
        for place in self._cheapest_first:
            if bound < least:
                return None
            one, other = mine[place], values[place]
            if one is None or other is None or one == other:
                continue
            key = place, other
            known = memo.get(key)
            if known is None:
                field = self._fields[place]
                known = memo[key] = field.weights[level(field.kind, one, other)] - field.near
            bound += known
        return bound if bound >= least else None
