"""Which probable pairs may be linked: pairs are sure, chains of pairs are not.

A chain of likely pairs can join people who are nothing alike, so each pair is taken, most probable first,
only if the two people it joins may be one by the rules of identity, hold few enough records, and no record of
one speaks against a record of the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import msgspec

from tilltal.customers.identity.corrections import Corrections, same_values
from tilltal.customers.identity.linking.plan import LinkPlan, Values
from tilltal.customers.identity.linking.scoring import PairScorer
from tilltal.customers.identity.links import KEPT, Group, Joining, Nodes
from tilltal.customers.identity.rules import Rules

CONTRADICTION, MAX_RECORDS, UNDONE = "contradiction", "max_records", "undone"


class Holder(msgspec.Struct, frozen=True):
    """An identifier of a person as resolved so far.

    `namespace` is its priority number, `first_us` its first sighting in microseconds.
    """

    token: int
    namespace: int
    profile: int
    first_us: int


class Judge:
    """Takes pairs in the order given; what was taken before counts for what comes after."""

    def __init__(
        self,
        holders: Sequence[Holder],
        rules: Rules,
        corrections: Corrections[int],
        records: Mapping[int, Values],
        plan: LinkPlan,
        scorer: PairScorer,
        undone: Collection[tuple[int, int]] = (),
    ) -> None:
        """Begin with the people there are.

        Args:
            holders: all identifiers of all people that pairs may name.
            rules: of identity.
            corrections: decisions in force, over tokens.
            records: the comparable values of each token that has some.
            plan: thresholds and limits of linking.
            scorer: of the trained weights.
            undone: pairs of tokens whose link somebody took back: only a person may join their people.
        """
        ordered = sorted(holders, key=lambda one: (one.namespace, one.token))
        self._node = {one.token: place for place, one in enumerate(ordered)}
        self._tokens = [one.token for one in ordered]
        same = same_values(corrections)
        foes = [
            (self._node[a], self._node[b])
            for a, b in sorted(corrections.forbid)
            if a in self._node and b in self._node
        ]
        nodes = Nodes(
            namespace=[one.namespace for one in ordered],
            same=[self._node.get(same.get(one.token, one.token), place) for place, one in enumerate(ordered)],
            first_us=[one.first_us for one in ordered],
            foes=foes,
        )
        self._rules, self._plan, self._scorer = rules, plan, scorer
        self._undone: dict[int, set[int]] = defaultdict(set)
        for a, b in undone:
            self._undone[a].add(b)
            self._undone[b].add(a)
        self._records = {token: scorer.prepared(values) for token, values in records.items()}
        self._joining = Joining(nodes, rules)
        leading: dict[int, int] = {}
        for place, one in enumerate(ordered):
            self._joining.take(leading.setdefault(one.profile, place), place)

    def take(self, a: int, b: int) -> str:
        """Link two tokens; return KEPT, or the reason why not."""
        one, other = self._node[a], self._node[b]
        left, right = self._joining.group_of[one], self._joining.group_of[other]
        if left is right:
            return KEPT
        return self._objection(left, right) or self._joining.take(one, other)

    def conflict(self, a: int, b: int) -> str:
        """Return which unique namespace the two people hold different values of, or KEPT."""
        left, right = self.person(a), self.person(b)
        for number in sorted(left.unique.keys() & right.unique.keys()):
            if left.unique[number] != right.unique[number]:
                return f"unique_namespace:{self._rules.namespaces[number].name}"
        return KEPT

    def person(self, token: int) -> Group:
        """Return the group of identifiers that a token is of by now."""
        return self._joining.group_of[self._node[token]]

    def _objection(self, left: Group, right: Group) -> str:
        if self._was_undone(left, right):
            return UNDONE
        ours, theirs = self._records_of(left), self._records_of(right)
        if len(ours) + len(theirs) > self._plan.max_records:
            return MAX_RECORDS
        is_against = any(self._scorer.evidence(one, other) <= 0 for one in ours for other in theirs)
        return CONTRADICTION if is_against else KEPT

    def _was_undone(self, left: Group, right: Group) -> bool:
        if not self._undone:
            return False
        others = {self._tokens[node] for node in right.members}
        return any(self._undone.get(self._tokens[node], set()) & others for node in left.members)

    def _records_of(self, group: Group) -> list[Values]:
        tokens = (self._tokens[node] for node in group.members)
        return [self._records[token] for token in tokens if token in self._records]


def holders_of(rows: Sequence[tuple[int, str, int, int]], rules: Rules) -> list[Holder]:
    """Return the identifiers of people of rows (token, namespace, profile, first sighting in µs)."""
    numbers = {one.name: place for place, one in enumerate(rules.namespaces) if one.is_person}
    return [
        Holder(token, numbers[namespace], profile, first)
        for token, namespace, profile, first in rows
        if namespace in numbers
    ]


def best_per_people(pairs: Sequence[tuple[int, int, float]], judge: Judge) -> list[tuple[int, int, float]]:
    """Return of the pairs that concern the same two people the first, in the order given."""
    kept: dict[tuple[int, int], tuple[int, int, float]] = {}
    places: dict[int, int] = defaultdict(lambda: len(places))
    for a, b, weight in pairs:
        one, other = places[id(judge.person(a))], places[id(judge.person(b))]
        if one != other:
            kept.setdefault((min(one, other), max(one, other)), (a, b, weight))
    return list(kept.values())
