"""From observations to evidence: identifiers in order of priority, and which observations count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from tilltal.core.instants import EPOCH, micros
from tilltal.customers.identity.corrections import Corrections, same_values
from tilltal.customers.identity.links import Nodes
from tilltal.customers.identity.rules import Rules
from tilltal.customers.identity.values import Identifier, Observation, accepted


def instant(us: int | None) -> datetime | None:
    """Return microseconds as an instant; None beyond the calendar, which is without bound."""
    try:
        return None if us is None else EPOCH + timedelta(microseconds=us)
    except OverflowError:
        return None


def within_calendar(us: int) -> datetime:
    """Return the instant of microseconds that came from an instant."""
    return EPOCH + timedelta(microseconds=us)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """An observation in numbers: nodes in order of priority, times in microseconds; `reason` if refused."""

    id: str
    at: int
    last_at: int
    nodes: tuple[int, ...]
    reason: str = ""
    is_revoked: bool = False

    @property
    def is_evidence(self) -> bool:
        """True unless revoked or refused."""
        return not (self.reason or self.is_revoked)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All observations in numbers. Node 0 has the highest priority; `shared` nodes identify nobody."""

    names: Sequence[Identifier]
    nodes: Nodes
    seen: Sequence[Seen]
    shared: frozenset[int]

    def is_person(self, node: int, rules: Rules) -> bool:
        """True for an identifier of a person, False for one of a device."""
        return rules.namespaces[self.nodes.namespace[node]].is_person

    def usable(self, seen: Seen) -> tuple[int, ...]:
        """Return an observation's nodes that are not shared; the first is its anchor."""
        return tuple(node for node in seen.nodes if node not in self.shared)


def gather(
    observations: Sequence[Observation], rules: Rules, corrections: Corrections[Identifier]
) -> Evidence:
    """Number all identifiers and judge each observation.

    Raises:
        DataError: P350 for an identifier of an undeclared namespace.
    """
    ids = [accepted(one.ids, rules) for one in observations]
    names = sorted(
        {one for group in ids for one in group}, key=lambda one: (rules.number(one.namespace), one.value)
    )
    numbers = [rules.number(one.namespace) for one in names]
    same, foes = _corrected(names, corrections)
    node = {name: at for at, name in enumerate(names)}
    seen = [
        _seen(one, tuple(node[name] for name in group), numbers, same, rules, corrections)
        for one, group in zip(observations, ids, strict=True)
    ]
    nodes = Nodes(namespace=numbers, same=same, first_us=_first_times(seen, len(names)), foes=foes)
    return Evidence(names=names, nodes=nodes, seen=seen, shared=_shared(seen, nodes, rules))


def _corrected(
    names: Sequence[Identifier], corrections: Corrections[Identifier]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the first node of each node's value, and the pairs of values kept apart."""
    value = same_values(corrections)
    first: dict[Identifier, int] = {}
    for at, name in enumerate(names):
        first.setdefault(value.get(name, name), at)
    foes = [
        (first[left], first[right])
        for a, b in sorted(corrections.forbid)
        if (left := value.get(a, a)) in first and (right := value.get(b, b)) in first and left != right
    ]
    return [first[value.get(name, name)] for name in names], foes


def _seen(
    observation: Observation,
    nodes: tuple[int, ...],
    numbers: Sequence[int],
    same: Sequence[int],
    rules: Rules,
    corrections: Corrections[Identifier],
) -> Seen:
    return Seen(
        id=observation.id,
        at=micros(observation.at),
        last_at=micros(observation.last_at or observation.at),
        nodes=nodes,
        reason=_conflict(nodes, numbers, same, rules),
        is_revoked=observation.id in corrections.revoked,
    )


def _conflict(nodes: tuple[int, ...], numbers: Sequence[int], same: Sequence[int], rules: Rules) -> str:
    """Return the reason to refuse an observation that holds two values of a unique namespace."""
    for number in rules.unique:
        if len({same[node] for node in nodes if numbers[node] == number}) > 1:
            return f"conflicting_ids:{rules.namespaces[number].name}"
    return ""


def _first_times(seen: Sequence[Seen], count: int) -> list[int]:
    """Return when each node was first seen, in any observation."""
    first: dict[int, int] = {}
    for one in seen:
        for node in one.nodes:
            first[node] = min(one.at, first.get(node, one.at))
    return [first[node] for node in range(count)]


def _shared(seen: Sequence[Seen], nodes: Nodes, rules: Rules) -> frozenset[int]:
    """Return the nodes whose value was seen with too many values of the first unique namespace."""
    if not rules.unique:
        return frozenset()
    customers: Mapping[int, set[int]] = defaultdict(set)
    for one in seen:
        if one.is_evidence:
            values = {nodes.same[node] for node in one.nodes if nodes.namespace[node] == rules.unique[0]}
            for node in one.nodes:
                customers[nodes.same[node]] |= values
    return frozenset(
        node for node, value in enumerate(nodes.same) if _is_shared(node, customers[value], nodes, rules)
    )


def _is_shared(node: int, customers: set[int], nodes: Nodes, rules: Rules) -> bool:
    number = nodes.namespace[node]
    after = rules.namespaces[number].shared_after
    return after is not None and number != rules.unique[0] and len(customers) >= after
