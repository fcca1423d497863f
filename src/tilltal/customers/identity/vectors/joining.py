"""Links and groups over arrays: what no rule can touch is joined whole, the rest link by link.

All candidate links together give components. A component in which no rule could bite, whatever the order of
its links, is one person. Only the contested ones (two customer numbers, two people on a device, a limit in
reach) are taken link by link, as the exact resolver does.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from tilltal.customers.identity.links import Nodes, join_all
from tilltal.customers.identity.rules import Rules
from tilltal.customers.identity.vectors.sightings import Bools, Ints, Sightings, starts

SHARED_VALUE = "shared_value"


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """Each pair of linked nodes once, `a` < `b`, with its times in microseconds."""

    a: Ints
    b: Ints
    first: Ints
    last: Ints


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """`group`: the first node of each node's person. `reason`: per link, empty if kept."""

    group: Ints
    links: Links
    reason: npt.NDArray[np.object_]


def seen_links(seen: Sightings) -> Links:
    """Return the star of each observation of evidence: from its anchor to each other node."""
    used = seen.is_evidence[seen.row]
    row, node = seen.row[used], seen.node[used]
    anchor = np.full(len(seen.at), -1)
    for usable in (np.ones(len(node), dtype=np.bool_), ~seen.is_shared[node]):  # the latter prevails
        first = starts(row[usable])
        anchor[row[usable][first]] = node[usable][first]
    other = node != anchor[row]
    row, node = row[other], node[other]
    a, b = np.minimum(anchor[row], node), np.maximum(anchor[row], node)
    key = a * max(seen.count, 1) + b
    order = np.argsort(key, kind="stable")
    begin = starts(key[order])
    if not len(begin):
        return Links(a=a, b=b, first=a, last=b)
    return Links(
        a=a[order][begin],
        b=b[order][begin],
        first=np.minimum.reduceat(seen.at[row][order], begin),
        last=np.maximum.reduceat(seen.last_at[row][order], begin),
    )


def components(count: int, a: Ints, b: Ints) -> Ints:
    """Return for each of `count` nodes the first node of its connected component."""
    if not count:
        return np.empty(0, np.int64)
    ones = np.ones(len(a), dtype=np.int8)
    _, label = connected_components(coo_matrix((ones, (a, b)), shape=(count, count)), directed=False)
    first = np.full(count, count)
    np.minimum.at(first, label, np.arange(count))
    return np.asarray(first[label], dtype=np.int64)


def join(seen: Sightings, rules: Rules) -> Joined:
    """Join all identifiers to people."""
    links = seen_links(seen)
    shared = seen.is_shared[links.a] | seen.is_shared[links.b]
    usable = np.flatnonzero(~shared)
    a, b = links.a[usable], links.b[usable]
    group = components(seen.count, *_with_same(a, b, seen))
    contested = _contested(seen, rules, group, a, b)
    reason = np.where(shared, SHARED_VALUE, "").astype(np.object_)
    disputed = usable[contested[links.a[usable]]]
    order = disputed[_order(links, disputed, seen, rules)]
    nodes = np.flatnonzero(contested)
    group[nodes], reason[order] = _one_by_one(seen, rules, nodes, links.a[order], links.b[order])
    return Joined(group=group, links=links, reason=reason)


def _with_same(a: Ints, b: Ints, seen: Sightings) -> tuple[Ints, Ints]:
    """Add the pairs of nodes that are one value by decision."""
    nodes = np.flatnonzero(seen.same != np.arange(seen.count))
    return np.concatenate([a, nodes]), np.concatenate([b, seen.same[nodes]])


def _contested(seen: Sightings, rules: Rules, component: Ints, a: Ints, b: Ints) -> Bools:
    """Return which nodes lie in a component where some rule could bite."""
    values = np.flatnonzero(seen.same == np.arange(seen.count))
    contested = np.zeros(seen.count, dtype=np.bool_)  # by first node of a component
    for number, namespace in enumerate(rules.namespaces):
        held = np.bincount(component[values[seen.number[values] == number]], minlength=seen.count)
        if namespace.is_unique:
            contested |= held > 1
        if namespace.limit:
            contested |= held > namespace.limit.count
    if rules.max_ids is not None:
        contested |= np.bincount(component[values], minlength=seen.count) > rules.max_ids
    if not rules.is_bridging:
        contested |= np.bincount(component[_person_groups(seen, a, b)], minlength=seen.count) > 1
    foes = component[seen.foes]
    contested[foes[foes[:, 0] == foes[:, 1], 0]] = True
    return contested[component]


def _person_groups(seen: Sightings, a: Ints, b: Ints) -> Ints:
    """Return the first node of each group that links between people alone would make."""
    personal = seen.is_person[a] & seen.is_person[b]
    group = components(seen.count, *_with_same(a[personal], b[personal], seen))
    return np.flatnonzero((group == np.arange(seen.count)) & seen.is_person)


def _order(links: Links, chosen: Ints, seen: Sightings, rules: Rules) -> Ints:
    """Return the order in which links are taken: see docs/explanation/identity.md."""
    a, b = links.a[chosen], links.b[chosen]
    is_device = ~(seen.is_person[a] & seen.is_person[b])
    newest_first = is_device | rules.is_latest_wins
    time = np.where(newest_first, -links.last[chosen], links.first[chosen])
    return np.lexsort((*tie_keys(a, b, seen, rules), time, is_device))


def tie_keys(a: Ints, b: Ints, seen: Sightings, rules: Rules) -> tuple[Ints, ...]:
    """Return sort keys, most significant last, that order pairs by priority, then by the text `a|b`.

    As texts, identifiers are `namespace:token` with tokens of one width, so a namespace's name and colon
    decide before the token, and a node's number orders the tokens of one namespace.
    """
    names = [f"{one.name}:" for one in rules.namespaces]
    rank = np.array([sorted(names).index(name) for name in names])
    number = seen.number
    return b, rank[number[b]], a, rank[number[a]], number[a] + number[b]


def _one_by_one(
    seen: Sightings, rules: Rules, nodes: Ints, a: Ints, b: Ints
) -> tuple[Ints, npt.NDArray[np.object_]]:
    """Take the links of contested nodes in order; return their groups and each link's reason."""
    foes = seen.foes[np.isin(seen.foes, nodes).all(axis=1)]
    local = Nodes(
        namespace=seen.number[nodes].tolist(),
        same=np.searchsorted(nodes, seen.same[nodes]).tolist(),
        first_us=seen.first_us[nodes].tolist(),
        foes=[(left, right) for left, right in np.searchsorted(nodes, foes).tolist()],
    )
    ends = zip(np.searchsorted(nodes, a).tolist(), np.searchsorted(nodes, b).tolist(), strict=True)
    group, reasons = join_all(local, ends, rules)
    return nodes[np.array(group, dtype=np.int64)], np.array(reasons, dtype=np.object_)
