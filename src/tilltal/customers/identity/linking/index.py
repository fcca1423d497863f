"""Linking one record at a time where nobody else knows who is who: records, and whose they are so far.

A server has the identity graph for that, and asks `candidates` alone.
"""

from __future__ import annotations

import msgspec

from tilltal.customers.identity.linking.candidates import RecordIndex
from tilltal.customers.identity.linking.plan import LinkPlan, Values
from tilltal.customers.identity.linking.weights import Weights, probability


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
        self._index = RecordIndex(plan, weights)
        self._scorer = self._index.scorer
        self._person: dict[int, int] = {}
        self._records: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._index)

    def put(self, record: int, person: int, values: Values) -> None:
        """Add a record (`LinkPlan.values` of its fields), or replace it."""
        self._index.put(record, values)
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
        if record in self._index:
            self._index.remove(record)
            self._leave(record)
            del self._person[record]

    def score(self, a: int, b: int) -> float:
        """Return the probability that two records of the index are of one person."""
        return self._index.score(a, b)

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
        whole = [self._index.prepared(one) for one in own] or [mine]
        sure = []
        for match in found:
            if match.probability >= self._plan.auto_link and self._joins(whole, match.person):
                sure.append(match)
        if sure:
            return Link(tuple(sure))
        return Review(found) if found else None

    def _matches(self, mine: Values, values: Values, person: int | None) -> tuple[Match, ...]:
        whose = self._person
        others = (one for one in self._index.candidates(values) if whose[one] != person)
        best: dict[int, tuple[float, int]] = {}
        for weight, record in self._index.best(mine, others):
            found = best.get(whose[record])
            if found is None or (-weight, record) < (-found[0], found[1]):
                best[whose[record]] = weight, record
        ordered = sorted(best.items(), key=lambda one: (-one[1][0], one[1][1]))
        return tuple(Match(record, one, probability(weight)) for one, (weight, record) in ordered)

    def _joins(self, whole: list[Values], person: int) -> bool:
        """Add a person's records to a whole if there is room and nothing speaks against it."""
        theirs = [self._index.prepared(one) for one in self._records[person]]
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
