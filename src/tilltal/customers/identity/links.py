"""The heart of the resolver: take links in their order, join two groups unless a rule would break.

It works on numbered identifiers, so that the exact resolver (texts) and the bulk resolver (tokens) share it.
Joining moves the smaller group into the larger, so n links cost O(n log n) moves whatever their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tilltal.customers.identity.rules import LimitRule, Rules

KEPT = ""  # the reason of a link that was not dropped


class Nodes(msgspec.Struct, frozen=True, kw_only=True):
    """Identifiers 0, 1, ... in order of priority.

    `namespace`: priority number of each; `same`: the first node it counts as one value with (itself, as a
    rule); `first_us`: its first observation in microseconds; `foes`: pairs that must stay apart.
    """

    namespace: Sequence[int]
    same: Sequence[int]
    first_us: Sequence[int]
    foes: Sequence[tuple[int, int]] = ()


class Group:
    """Identifiers joined so far, with what the rules must know of them. Values are first nodes of `same`."""

    __slots__ = ("firsts", "foes", "has_person", "members", "unique", "values")

    def __init__(self, node: int, nodes: Nodes, rules: Rules) -> None:
        number = nodes.namespace[node]
        namespace = rules.namespaces[number]
        value = nodes.same[node]
        self.members = [node]
        self.values = 1
        self.has_person = namespace.is_person
        self.unique = {number: value} if namespace.is_unique else {}
        self.firsts = {number: {value: nodes.first_us[node]}} if namespace.limit else {}
        self.foes: set[int] = set()

    def absorb(self, other: Group) -> None:
        """Take over all that another group holds."""
        self.members += other.members
        self.values += other.values
        self.has_person |= other.has_person
        self.unique |= other.unique
        self.foes |= other.foes
        for number, firsts in other.firsts.items():
            self.firsts[number] = self.firsts.get(number, {}) | firsts

    def absorb_same(self, other: Group) -> None:
        """Take over a group that holds the same one value, seen first at the earlier of the two times."""
        earlier = {
            number: {value: min(first, other.firsts[number][value]) for value, first in firsts.items()}
            for number, firsts in self.firsts.items()
        }
        self.absorb(other)
        self.firsts, self.values = earlier, 1


class Joining:
    """The groups while links are being taken."""

    def __init__(self, nodes: Nodes, rules: Rules) -> None:
        self._nodes = nodes
        self._rules = rules
        self.group_of = [Group(node, nodes, rules) for node in range(len(nodes.namespace))]
        for node, first in enumerate(nodes.same):
            if node != first:
                self.group_of[first].absorb_same(self.group_of[node])
                self.group_of[node] = self.group_of[first]
        for a, b in nodes.foes:
            self.group_of[a].foes.add(nodes.same[b])
            self.group_of[b].foes.add(nodes.same[a])

    def take(self, a: int, b: int) -> str:
        """Join the groups of two linked nodes; return KEPT or the rule that forbids it."""
        left, right = self.group_of[a], self.group_of[b]
        if left is right:
            return KEPT
        reason = self._broken_rule(left, right, self._is_device_link(a, b))
        if reason == KEPT:
            self._join(left, right)
        return reason

    def _is_device_link(self, a: int, b: int) -> bool:
        numbers, namespaces = self._nodes.namespace, self._rules.namespaces
        return not (namespaces[numbers[a]].is_person and namespaces[numbers[b]].is_person)

    def _join(self, left: Group, right: Group) -> None:
        large, small = (left, right) if len(left.members) >= len(right.members) else (right, left)
        for node in small.members:
            self.group_of[node] = large
        large.absorb(small)

    def _broken_rule(self, left: Group, right: Group, is_device_link: bool) -> str:
        """Return the first rule the joined group would break, in the documented order."""
        clashes = [
            number
            for number in left.unique
            if left.unique[number] != right.unique.get(number, left.unique[number])
        ]
        if clashes:
            return f"unique_namespace:{self._rules.namespaces[min(clashes)].name}"
        if is_device_link and not self._rules.is_bridging and left.has_person and right.has_person:
            return "device_bridge"
        if self._are_foes(left, right):
            return "forbidden_pair"
        for number in sorted(left.firsts.keys() & right.firsts.keys()):
            namespace = self._rules.namespaces[number]
            firsts = [*left.firsts[number].values(), *right.firsts[number].values()]
            if namespace.limit and exceeds(firsts, namespace.limit):
                return f"limit:{namespace.name}"
        if self._rules.max_ids is not None and left.values + right.values > self._rules.max_ids:
            return "max_ids_per_person"
        return KEPT

    def _are_foes(self, left: Group, right: Group) -> bool:
        few, others = (left, right) if len(left.foes) <= len(right.foes) else (right, left)
        return any(self.group_of[foe] is others for foe in few.foes)


def exceeds(firsts: Sequence[int], limit: LimitRule) -> bool:
    """True if some count + 1 values were first seen within less than the limit's span."""
    if limit.within_us is None:
        return len(firsts) > limit.count
    times = sorted(firsts)
    return any(
        later - earlier < limit.within_us for earlier, later in zip(times, times[limit.count :], strict=False)
    )


def join_all(nodes: Nodes, links: Iterable[tuple[int, int]], rules: Rules) -> tuple[list[int], list[str]]:
    """Take all links in the order given.

    Returns:
        For each node the first node of its group; for each link KEPT or the reason it was dropped.
    """
    joining = Joining(nodes, rules)
    reasons = [joining.take(a, b) for a, b in links]
    first: dict[int, int] = {}
    for node, group in enumerate(joining.group_of):  # in order: the first to come is the least
        first.setdefault(id(group), node)
    return [first[id(group)] for group in joining.group_of], reasons
