"""Linking one record at a time: an index of blocking keys in memory, scored with the trained weights.

It holds names in clear, in memory only, and is made again from the vault at start. Nothing of it is written.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tilltal.customers.identity.linking.plan import LinkPlan, Values
from tilltal.customers.identity.linking.scoring import PairScorer
from tilltal.customers.identity.linking.weights import Weights, fitting, probability, weight_of


class Match(msgspec.Struct, frozen=True):
    """A record that may be of the same person, and how probable that is."""

    record: int
    person: int
    probability: float


class Link(msgspec.Struct, frozen=True):
    """Sure enough to link: the best match of each person, whose other records do not speak against it.

    Several persons are then one, as in a batch run.
    """

    matches: tuple[Match, ...]


class Review(msgspec.Struct, frozen=True):
    """A person should look: the best match of each person in question, most probable first."""

    matches: tuple[Match, ...]


class LinkIndex:
    """Records by blocking key. Records and persons are whole numbers, such as tokens and profiles."""

    def __init__(self, plan: LinkPlan, weights: Weights) -> None:
        """Begin empty.

        Raises:
            DataError: P372 for weights trained under other definitions.
        """
        self._plan = plan
        self._scorer = PairScorer(plan, fitting(weights, plan))
        self._auto, self._review = weight_of(plan.auto_link), weight_of(min(plan.review, plan.auto_link))
        self._values: dict[int, Values] = {}
        self._person: dict[int, int] = {}
        self._records: dict[int, list[int]] = {}
        self._blocks: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def put(self, record: int, person: int, values: Values) -> None:
        """Add a record (`LinkPlan.values` of its fields), or replace it."""
        self.remove(record)
        self._values[record] = self._scorer.prepared(values)
        for key in self._plan.blocks(values):
            self._blocks.setdefault(key, []).append(record)
        self.assign(record, person)

    def assign(self, record: int, person: int) -> None:
        """Say whose record it is now."""
        if record in self._person:
            self._leave(record)
        self._person[record] = person
        self._records.setdefault(person, []).append(record)

    def person(self, record: int) -> int:
        """Return whose a record is."""
        return self._person[record]

    def join(self, record: int, person: int) -> None:
        """Give a person all records of the person that a record is of."""
        if self._person[record] != person:
            for one in tuple(self._records[self._person[record]]):
                self.assign(one, person)

    def remove(self, record: int) -> None:
        """Forget a record; one that is not there is no error."""
        values = self._values.pop(record, None)
        if values is None:
            return
        for key in self._plan.blocks(values):
            self._blocks[key].remove(record)
            if not self._blocks[key]:
                del self._blocks[key]
        self._leave(record)
        del self._person[record]

    def candidates(self, values: Values) -> Iterator[int]:
        """Give each record that shares a key with these values; keys of too many records find nobody."""
        seen: set[int] = set()
        for key in self._plan.blocks(values):
            block = self._blocks.get(key, ())
            if len(block) < self._plan.max_block:
                seen.update(block)
        return iter(seen)

    def score(self, a: int, b: int) -> float:
        """Return the probability that two records of the index are of one person."""
        return probability(self._scorer.weight(self._values[a], self._values[b]))

    def matches(self, values: Values, person: int | None = None) -> tuple[Match, ...]:
        """Return the best match of each person from `review` on, most probable first, `person` left out."""
        return self._matches(self._scorer.prepared(values), values, person)

    def decide(self, values: Values, person: int | None = None) -> Link | Review | None:
        """Say what to do with a record.

        Args:
            values: `LinkPlan.values` of its fields.
            person: whose it is known to be; only others are looked for.

        Returns:
            A link to each person that reaches `auto_link`, has room, and none of whose records speaks against
            it or against those linked before; else what to review; None if there is nothing.
        """
        mine = self._scorer.prepared(values)
        found = self._matches(mine, values, person)
        own = self._records.get(person, ()) if person is not None else ()
        whole = [self._values[one] for one in own] or [mine]
        sure = []
        for match in found:
            if match.probability >= self._plan.auto_link and self._joins(whole, match.person):
                sure.append(match)
        if sure:
            return Link(tuple(sure))
        return Review(found) if found else None

    def _matches(self, mine: Values, values: Values, person: int | None) -> tuple[Match, ...]:
        known, whose = self._values, self._person
        others = ((one, known[one]) for one in self.candidates(values) if whose[one] != person)
        best: dict[int, tuple[float, int]] = {}
        for weight, record in self._scorer.best(mine, others, self._review):
            found = best.get(whose[record])
            if found is None or (-weight, record) < (-found[0], found[1]):
                best[whose[record]] = weight, record
        ordered = sorted(best.items(), key=lambda one: (-one[1][0], one[1][1]))
        return tuple(Match(record, one, probability(weight)) for one, (weight, record) in ordered)

    def _joins(self, whole: list[Values], person: int) -> bool:
        """Add a person's records to a whole if there is room and nothing speaks against it."""
        theirs = [self._values[one] for one in self._records[person]]
        if len(theirs) + len(whole) > self._plan.max_records:
            return False
        if any(self._scorer.evidence(one, other) <= 0 for one in whole for other in theirs):
            return False
        whole += theirs
        return True

    def _leave(self, record: int) -> None:
        whose = self._person[record]
        self._records[whose].remove(record)
        if not self._records[whose]:
            del self._records[whose]
