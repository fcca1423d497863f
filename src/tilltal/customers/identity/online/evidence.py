"""The observations of one component in numbers: small, plain Python, made for a handful up to some thousands.

Observations of the same identifiers are taken together, since rules ask for their first and last time only;
the times in between count for devices alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from tilltal.core.operational import Observed, Owned
from tilltal.customers.identity.corrections import Corrections, same_values
from tilltal.customers.identity.links import Nodes
from tilltal.customers.identity.rules import Rules

Ids = tuple[tuple[str, int], ...]


class Terms:
    """Rules and corrections, ready to be asked by namespace and by token.

    `value`: token → the smallest of the tokens that are one value by decision; `tied`: token → all of them.
    `shares`: priority number → with how many customers its values identify nobody.
    `is_timed`: logins vouch for a while only. `has_walls`: see `regions`.
    """

    def __init__(self, rules: Rules, corrections: Corrections[int]) -> None:
        self.rules = rules
        self.revoked = corrections.revoked
        self.number = {one.name: at for at, one in enumerate(rules.namespaces)}
        names = sorted(f"{one.name}:" for one in rules.namespaces)
        self.rank = [names.index(f"{one.name}:") for one in rules.namespaces]
        self.is_person = [one.is_person for one in rules.namespaces]
        self.unique = rules.unique
        self.shares = {
            at: one.shared_after
            for at, one in enumerate(rules.namespaces)
            if one.shared_after and rules.unique and at != rules.unique[0]
        }
        self.is_timed = not rules.is_current_holder and not (rules.vouch_us is rules.lookback_us is None)
        self.has_walls = _has_walls(rules)
        self.value = same_values(corrections)
        self.forbidden = corrections.forbid
        pairs = [(self.value.get(a, a), self.value.get(b, b)) for a, b in sorted(corrections.forbid)]
        self.forbid = [(a, b) for a, b in pairs if a != b]
        members: dict[int, list[int]] = defaultdict(list)
        for token, value in self.value.items():
            members[value].append(token)
        self.tied = {token: frozenset(members[value]) for token, value in self.value.items()}
        self.corrected = self.tied.keys() | {token for pair in corrections.forbid for token in pair}

    def number_of(self, namespace: str) -> int:
        """Return a namespace's priority number.

        Raises:
            DataError: P350 if there is no such namespace.
        """
        number = self.number.get(namespace)
        return self.rules.number(namespace) if number is None else number


def _has_walls(rules: Rules) -> bool:
    """True if no rule lets a device tell whose another identifier is."""
    devices = [at for at, one in enumerate(rules.namespaces) if not one.is_person]
    people = [at for at, one in enumerate(rules.namespaces) if one.is_person]
    if not devices or not people or rules.is_bridging or rules.max_ids is not None:
        return False
    is_bound = any(rules.namespaces[at].is_unique or rules.namespaces[at].limit for at in devices)
    return max(people) < min(devices) and not is_bound


class Together(msgspec.Struct, frozen=True):
    """Nodes seen together, in order of priority, and when: every instant, in no order."""

    nodes: tuple[int, ...]
    times: Sequence[int]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A component in numbers. Node 0 has the highest priority.

    `tokens`: of each node. `seen`: what counts. `refused`: observation, reason. `shared`: nodes that identify
    nobody. `elsewhere`: node → profile, of people who are settled already.
    """

    tokens: Sequence[int]
    nodes: Nodes
    seen: Sequence[Together]
    refused: Sequence[tuple[str, str]]
    shared: frozenset[int]
    elsewhere: Mapping[int, int] = {}

    def usable(self, seen: Together) -> tuple[int, ...]:
        """Return the nodes that are not shared; the first is the anchor."""
        if not self.shared:
            return seen.nodes
        return tuple(node for node in seen.nodes if node not in self.shared)


def gather(
    observations: Iterable[Observed],
    known: Mapping[int, tuple[Owned, ...]],
    shared: Collection[int],
    terms: Terms,
    elsewhere: Mapping[int, int] | None = None,
) -> Evidence:
    """Number the identifiers of a component and judge what was seen.

    Args:
        observations: all of the component.
        known: spans as they are, to know since when identifiers are known; others may be there too.
        shared: tokens known to be shared, whose other observations are left out.
        terms: rules and corrections.
        elsewhere: token → profile, of identifiers of people who are settled already.

    Raises:
        DataError: P350 for an identifier of an undeclared namespace.
    """
    every = tuple(observations)
    standing, withdrawn = _grouped(every, terms)
    first = _first_times(standing, withdrawn, known, terms)
    names = sorted(first)
    tokens = [token for _, token in names]
    node = {token: at for at, token in enumerate(tokens)}
    value_node = _value_nodes(tokens, terms)
    numbers = [number for number, _ in names]
    nodes = Nodes(
        namespace=numbers,
        same=[value_node[terms.value.get(token, token)] for token in tokens],
        first_us=[first[name] for name in names],
        foes=[(value_node[a], value_node[b]) for a, b in terms.forbid if a in value_node and b in value_node],
    )
    reasons = {ids: _conflict(_nodes_of(ids, node), nodes, terms) for ids in (standing | withdrawn)}
    seen = [
        Together(_nodes_of(ids, node), times) for ids, times in standing.items() if not reasons[ids] and ids
    ]
    return Evidence(
        tokens=tokens,
        nodes=nodes,
        seen=seen,
        refused=[(one.id, reason) for one in every if (reason := reasons[one.ids])],
        shared=_shared(seen, nodes, {node[one] for one in shared if one in node}, terms),
        elsewhere={node[token]: one for token, one in (elsewhere or {}).items() if token in node},
    )


def _grouped(
    observations: Iterable[Observed], terms: Terms
) -> tuple[dict[Ids, list[int]], dict[Ids, list[int]]]:
    """Return ids → instants of what stands, and of what was withdrawn."""
    standing: dict[Ids, list[int]] = defaultdict(list)
    withdrawn: dict[Ids, list[int]] = defaultdict(list)
    for one in observations:
        (withdrawn if one.id in terms.revoked else standing)[one.ids].append(one.at)
    return standing, withdrawn


def _first_times(
    standing: Mapping[Ids, Sequence[int]],
    withdrawn: Mapping[Ids, Sequence[int]],
    known: Mapping[int, tuple[Owned, ...]],
    terms: Terms,
) -> dict[tuple[int, int], int]:
    """Return (number, token) → when it was first seen, with known values that are the same by decision."""
    first: dict[tuple[int, int], int] = {}
    for group in (standing, withdrawn):
        for ids, times in group.items():
            earliest = min(times)
            for namespace, token in ids:
                name = (terms.number_of(namespace), token)
                first[name] = min(earliest, first.get(name, earliest))
    for number, token in list(first):
        for one in (token, *terms.tied.get(token, ())):
            since = known[one][0].valid_from if one in known else None
            if since is not None:
                first[number, one] = min(since, first.get((number, one), since))
    return first


def _value_nodes(tokens: Sequence[int], terms: Terms) -> dict[int, int]:
    """Return value → its first node."""
    first: dict[int, int] = {}
    for at, token in enumerate(tokens):
        first.setdefault(terms.value.get(token, token), at)
    return first


def _nodes_of(ids: Ids, node: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(sorted({node[token] for _, token in ids}))


def _conflict(nodes: tuple[int, ...], all_nodes: Nodes, terms: Terms) -> str:
    """Return the reason to refuse what holds two values of a unique namespace."""
    for number in terms.unique:
        if len({all_nodes.same[node] for node in nodes if all_nodes.namespace[node] == number}) > 1:
            return f"conflicting_ids:{terms.rules.namespaces[number].name}"
    return ""


def _shared(seen: Sequence[Together], nodes: Nodes, known: set[int], terms: Terms) -> frozenset[int]:
    """Return the nodes of values seen with too many customers: values of the first unique namespace."""
    if not terms.shares:
        return frozenset()
    customers: dict[int, set[int]] = defaultdict(set)
    for one in seen:
        values = {nodes.same[node] for node in one.nodes if nodes.namespace[node] == terms.unique[0]}
        for node in one.nodes:
            customers[nodes.same[node]] |= values
    forced = {nodes.same[node] for node in known}
    return frozenset(
        node
        for node, value in enumerate(nodes.same)
        if (after := terms.shares.get(nodes.namespace[node])) is not None
        and (value in forced or len(customers[value]) >= after)
    )
