"""Records by blocking key, in memory: which others are probably of the same person as one of them.

Records are whole numbers, such as tokens. The index holds names in clear, in memory only: it is made again
from the vault at start, and nothing of it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tilltal.customers.identity.linking.plan import LinkPlan, Values
from tilltal.customers.identity.linking.scoring import PairScorer
from tilltal.customers.identity.linking.weights import Weights, fitting, probability, weight_of


class RecordIndex:
    """Records as they are compared, found by what they have in common."""

    def __init__(self, plan: LinkPlan, weights: Weights) -> None:
        """Begin empty.

        Raises:
            DataError: P372 for weights trained under other definitions.
        """
        self.plan = plan
        self._least = weight_of(min(plan.review, plan.auto_link))
        self.scorer = PairScorer(plan, fitting(weights, plan))
        self._prepared: dict[int, Values] = {}
        self._told: dict[int, Values] = {}  # of those that `prepared` changes
        self._blocks: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._prepared)

    def __contains__(self, record: int) -> bool:
        return record in self._prepared

    def put(self, record: int, values: Values) -> None:
        """Add a record (`LinkPlan.values` of its fields), or replace it."""
        self.remove(record)
        prepared = self._prepared[record] = self.scorer.prepared(values)
        if prepared != values:
            self._told[record] = values
        for key in self.plan.blocks(values):
            self._blocks.setdefault(key, []).append(record)

    def remove(self, record: int) -> None:
        """Forget a record; one that is not there is no error."""
        if record not in self._prepared:
            return
        for key in self.plan.blocks(self.values(record)):
            self._blocks[key].remove(record)
            if not self._blocks[key]:
                del self._blocks[key]
        del self._prepared[record]
        self._told.pop(record, None)

    def values(self, record: int) -> Values:
        """Return a record as it was put in.

        Raises:
            KeyError: if there is none.
        """
        return self._told.get(record) or self._prepared[record]

    def prepared(self, record: int) -> Values:
        """Return a record as `scorer` takes it.

        Raises:
            KeyError: if there is none.
        """
        return self._prepared[record]

    def candidates(self, values: Values) -> Iterator[int]:
        """Give each record that shares a key with values from outside; keys of too many find nobody."""
        return iter(self._sharing(values, self.plan.max_block - 1))

    def pairs(self, record: int) -> list[tuple[int, int, float]]:
        """Return (a, b, weight) of a record and each other that is probable enough to review, a < b.

        The weight includes the prior; pairs stand in no order. Records of one person are among them.
        """
        others = self._sharing(self.values(record), self.plan.max_block)
        others.discard(record)
        found = self.best(self._prepared[record], others)
        return [(min(record, other), max(record, other), weight) for weight, other in found]

    def best(self, mine: Values, others: Iterable[int]) -> list[tuple[float, int]]:
        """Return (weight, record) of those of some records that are probable enough to review."""
        known = self._prepared
        return self.scorer.best(mine, ((one, known[one]) for one in others), self._least)

    def score(self, a: int, b: int) -> float:
        """Return the probability that two records of the index are of one person."""
        return probability(self.scorer.weight(self._prepared[a], self._prepared[b]))

    def _sharing(self, values: Values, most: int) -> set[int]:
        """Return the records of all keys that hold at most so many."""
        found: set[int] = set()
        for key in self.plan.blocks(values):
            block = self._blocks.get(key, ())
            if len(block) <= most:
                found.update(block)
        return found
