"""One component resolved exactly, over tokens: groups, reasons, the owners of devices, and what is plain.

The same links, in the same order, taken by the same code as in `graph` and `bulk`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from tilltal.customers.identity.links import KEPT, Nodes, join_all
from tilltal.customers.identity.online.evidence import Evidence, Terms, Together
from tilltal.customers.identity.ownership import Span, spans_end, spans_of
from tilltal.customers.identity.rules import Rules

SHARED_VALUE = "shared_value"


class Link(msgspec.Struct, frozen=True):
    """Two nodes seen together, `a` of higher priority, in microseconds; `reason` if it was dropped."""

    a: int
    b: int
    first: int
    last: int
    reason: str = KEPT


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A component, resolved.

    Per node: `group` (first node of its person), `is_plain`. `spans`: device node → spans of its owners'
    groups, for devices that anybody ever owned.
    """

    evidence: Evidence
    group: Sequence[int]
    links: Sequence[Link]
    spans: Mapping[int, Sequence[Span]]
    is_plain: Sequence[bool]


class _Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What all links would join if no rule forbade it, by first node of each component.

    `people`: by links between people alone. `disputed`, `disputed_people`: components of either kind in which
    some rule could bite, whatever the order of links.
    """

    whole: Sequence[int]
    people: Sequence[int]
    disputed: frozenset[int]
    disputed_people: frozenset[int]


def resolve_component(evidence: Evidence, terms: Terms) -> Component:
    """Take the links of a component in order, and tell whose its devices were when."""
    links = [*_links(evidence), *_known_links(evidence)]
    usable = [link for link in links if link.a not in evidence.shared and link.b not in evidence.shared]
    dropped = [link for link in links if link.a in evidence.shared or link.b in evidence.shared]
    reach = _reach(evidence.nodes, usable, terms)
    group, judged = _joined(evidence.nodes, usable, reach, terms)
    cluster = _clusters(evidence, judged, terms)
    return Component(
        evidence=evidence,
        group=group,
        links=[*judged, *(msgspec.structs.replace(link, reason=SHARED_VALUE) for link in dropped)],
        spans={} if terms.rules.is_current_holder else _device_spans(evidence, group, cluster, terms),
        is_plain=_plain(evidence, reach, group, cluster, terms),
    )


def _links(evidence: Evidence) -> list[Link]:
    """Return each pair of linked nodes once: from the anchor of what was seen together to each other node."""
    times: dict[tuple[int, int], tuple[int, int]] = {}
    for one in evidence.seen:
        first, last = min(one.times), max(one.times)
        anchor = (evidence.usable(one) or one.nodes)[0]
        for node in one.nodes:
            if node != anchor and not (anchor in evidence.elsewhere and node in evidence.elsewhere):
                pair = (anchor, node) if anchor < node else (node, anchor)
                known = times.get(pair, (first, last))
                times[pair] = min(first, known[0]), max(last, known[1])
    return [Link(a, b, first, last) for (a, b), (first, last) in times.items()]


def _known_links(evidence: Evidence) -> list[Link]:
    """Return links that join people who are settled already as they are known to be joined."""
    first: dict[int, int] = {}  # profile → node
    pairs = [
        (first.setdefault(profile, node), node)
        for node, profile in sorted(evidence.elsewhere.items())
        if node not in evidence.shared
    ]
    return [Link(a, b, 0, 0) for a, b in pairs if a != b]


def _reach(nodes: Nodes, links: Sequence[Link], terms: Terms) -> _Reach:
    is_person = [terms.is_person[number] for number in nodes.namespace]
    pairs = [(link.a, link.b) for link in links]
    whole = _first_of_each(nodes.same, pairs)
    people = _first_of_each(nodes.same, [(a, b) for a, b in pairs if is_person[a] and is_person[b]])
    return _Reach(
        whole=whole,
        people=people,
        disputed=_disputed(whole, people, nodes, terms),
        disputed_people=_disputed(people, people, nodes, terms),
    )


def _first_of_each(same: Sequence[int], pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return each node's component by its first node, all pairs taken."""
    members = _merged(range(len(same)), same, pairs)
    first: dict[int, int] = {}
    for node, one in members.items():  # in order: the first to come is the least
        first.setdefault(id(one), node)
    return [first[id(one)] for one in members.values()]


def _merged(
    nodes: Iterable[int], same: Sequence[int], pairs: Iterable[tuple[int, int]]
) -> dict[int, list[int]]:
    """Return node → the nodes it is joined with, one list for all of them; other nodes do not count."""
    members = {node: [node] for node in nodes}
    for a, b in chain(pairs, enumerate(same)):
        left, right = members.get(a), members.get(b)
        if left is not None and right is not None and left is not right:
            if len(left) < len(right):
                left, right = right, left
            left += right
            members.update(dict.fromkeys(right, left))
    return members


def _joined(
    nodes: Nodes, links: list[Link], reach: _Reach, terms: Terms
) -> tuple[Sequence[int], Sequence[Link]]:
    """Return each node's group and the links with their reasons. Where no rule could bite all are taken."""
    if not reach.disputed:
        return reach.whole, links
    ordered = sorted(links, key=lambda link: _order(link, nodes, terms))
    group, reasons = join_all(nodes, [(link.a, link.b) for link in ordered], terms.rules)
    return group, [
        msgspec.structs.replace(link, reason=reason) if reason else link
        for link, reason in zip(ordered, reasons, strict=True)
    ]


def _order(link: Link, nodes: Nodes, terms: Terms) -> tuple[bool, int, tuple[int, ...]]:
    """Person links before device links, by time, then by priority, then by text."""
    is_device = not (terms.is_person[nodes.namespace[link.a]] and terms.is_person[nodes.namespace[link.b]])
    is_newest_first = is_device or terms.rules.is_latest_wins
    return is_device, -link.last if is_newest_first else link.first, _tie(link.a, link.b, nodes, terms)


def _tie(a: int, b: int, nodes: Nodes, terms: Terms) -> tuple[int, ...]:
    """Order pairs by priority, then as the texts `a|b` of tokens of one width would stand."""
    one, other = nodes.namespace[a], nodes.namespace[b]
    return one + other, terms.rank[one], a, terms.rank[other], b


def _clusters(evidence: Evidence, links: Iterable[Link], terms: Terms) -> dict[int, list[int]]:
    """Return device → its cluster: devices that are one value, or joined by kept links between devices."""
    numbers = evidence.nodes.namespace
    devices = [
        node
        for node, number in enumerate(numbers)
        if not terms.is_person[number] and node not in evidence.shared
    ]
    kept = [(link.a, link.b) for link in links if link.reason == KEPT]
    return _merged(devices, evidence.nodes.same, kept)


def _device_spans(
    evidence: Evidence, group: Sequence[int], cluster: Mapping[int, list[int]], terms: Terms
) -> dict[int, Sequence[Span]]:
    """Return the spans of each device that anybody ever owned."""
    logins: list[tuple[tuple[int, ...], int, int, Together]] = []
    for one in evidence.seen:
        usable = evidence.usable(one)
        anchor = next((node for node in usable if node not in cluster), None)
        if anchor is not None:
            logins += [
                (_tie(anchor, node, evidence.nodes, terms), anchor, node, one)
                for node in usable
                if node in cluster
            ]
    points: dict[int, dict[int, int]] = defaultdict(dict)  # cluster → instant → group
    for _, anchor, device, one in sorted(logins, key=lambda login: login[0]):
        own = points[id(cluster[device])]
        for at in one.times:
            own.setdefault(at, group[anchor])
    spans = {
        key: spans_of(_fewer(sorted(own.items()), terms.rules), terms.rules) for key, own in points.items()
    }
    return {node: spans[id(members)] for node, members in cluster.items() if id(members) in spans}


def _fewer(logins: Sequence[tuple[int, int]], rules: Rules) -> list[tuple[int, int]]:
    """Leave out logins between two of the same owner that vouch for each other without them."""
    kept: list[tuple[int, int]] = []
    for at, owner in logins:
        if len(kept) > 1 and kept[-1][1] == kept[-2][1] == owner:
            end = spans_end(kept[-2][0], rules)
            if end is None or at <= end:
                kept.pop()
        kept.append((at, owner))
    return kept


def _plain(
    evidence: Evidence,
    reach: _Reach,
    group: Sequence[int],
    cluster: Mapping[int, list[int]],
    terms: Terms,
) -> list[bool]:
    """Return for each node whether more of the same changes nothing: see `online.OnlineIdentity.plain`.

    A link within a group changes no group, wherever it comes in the order: what a rule forbade for the parts,
    it forbids for the whole. It might still make a value shared, or change whose a device was; but not where
    no rule could bite, whatever the order. For identifiers of people it is enough that none could bite among
    people alone, where a value has seen one customer at most.
    """
    is_person = [terms.is_person[number] for number in evidence.nodes.namespace]
    of_people: dict[int, set[int]] = defaultdict(set)  # group → what links between people alone join in it
    for node, is_one in enumerate(is_person):
        of_people[group[node]] |= {reach.people[node]} if is_one else set()

    def is_plain(node: int) -> bool:
        people = of_people[group[node]]
        if node in evidence.shared:
            return True
        if is_person[node] and reach.people[node] not in reach.disputed_people:
            return True
        vouches_for_others = terms.is_timed and people and len(cluster.get(node, ())) > 1
        return reach.whole[node] not in reach.disputed and not vouches_for_others

    return [is_plain(node) for node in range(len(group))]


def _disputed(component: Sequence[int], people: Sequence[int], nodes: Nodes, terms: Terms) -> frozenset[int]:
    held: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    persons: dict[int, set[int]] = defaultdict(set)
    for node, one in enumerate(component):
        number = nodes.namespace[node]
        held[one][number] += nodes.same[node] == node
        if terms.is_person[number]:
            persons[one].add(people[node])
    disputed = {one for one, counts in held.items() if _could_bite(counts, terms)}
    if not terms.rules.is_bridging:
        disputed |= {one for one, groups in persons.items() if len(groups) > 1}
    return frozenset(disputed | {component[a] for a, b in nodes.foes if component[a] == component[b]})


def _could_bite(held: Mapping[int, int], terms: Terms) -> bool:
    """True if a person of that many values per namespace would break a rule, or could become shared."""
    if terms.rules.max_ids is not None and sum(held.values()) > terms.rules.max_ids:
        return True
    for number, count in held.items():
        namespace = terms.rules.namespaces[number]
        if (namespace.is_unique and count > 1) or terms.shares.get(number, 2) < 2:
            return True
        if namespace.limit and count > namespace.limit.count:
            return True
    return False
