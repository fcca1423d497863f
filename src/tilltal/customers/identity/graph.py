"""The exact resolver: from all known observations to people, in plain Python.

It is the definition of what identity means; `bulk` must give the same and is tested against it. The semantics
are told in docs/explanation/identity.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.evidence import Evidence, Seen, gather, instant, within_calendar
from tilltal.customers.identity.links import KEPT, join_all
from tilltal.customers.identity.ownership import Span, spans_of
from tilltal.customers.identity.resolution import (
    REJECTED,
    UNCLAIMED,
    Claim,
    DroppedId,
    DroppedLink,
    Login,
    Refused,
    Resolution,
)
from tilltal.customers.identity.rules import Rules
from tilltal.customers.identity.values import Identifier, Observation, is_blocked

SHARED_VALUE, BLOCKED_VALUE = "shared_value", "blocked_value"


class _Link(msgspec.Struct, frozen=True):
    """Two nodes seen together, `a` of higher priority, in microseconds."""

    a: int
    b: int
    first: int
    last: int


class _Judged(msgspec.Struct, frozen=True, kw_only=True):
    """Links with the reason each was dropped for, or KEPT; `group`: the leading node of each node's group."""

    reasons: Mapping[_Link, str]
    group: Sequence[int]


class _Login(msgspec.Struct, frozen=True, kw_only=True):
    """A person (`anchor`) seen on a device at a time."""

    observation: str
    at: int
    anchor: int
    device: int


def resolve(
    observations: Sequence[Observation], rules: Rules, corrections: Corrections[Identifier] | None = None
) -> Resolution:
    """Resolve all known observations.

    The outcome depends on the set of observations only, never on their order.

    Raises:
        DataError: P350 for an identifier of an undeclared namespace.
    """
    evidence = gather(observations, rules, corrections or Corrections())
    judged = _judged(_links(evidence), evidence, rules)
    logins = _logins(evidence, rules)
    spans = _device_spans(evidence, judged, logins, rules)
    names = [str(name) for name in evidence.names]
    return Resolution(
        people=_people(evidence, judged),
        dropped_links=_dropped_links(judged, names),
        dropped_ids=_dropped_ids(observations, rules),
        refused=tuple(
            Refused(observation=one.id, reason=one.reason)
            for one in sorted(evidence.seen, key=lambda one: one.id)
            if one.reason
        ),
        shared_values=tuple(sorted(names[node] for node in evidence.shared)),
        owners={one.id: owner for one in evidence.seen if (owner := _owner(one, evidence, spans, rules))},
        claims=_claims(spans, names),
        logins=_written_logins(logins, judged, names),
    )


def _links(evidence: Evidence) -> list[_Link]:
    """Return each pair of linked nodes once: from an observation's anchor to each other node."""
    times: dict[tuple[int, int], tuple[int, int]] = {}
    for one in evidence.seen:
        if one.is_evidence:
            anchor = next(iter(evidence.usable(one) or one.nodes), None)
            for node in one.nodes:
                if anchor is not None and node != anchor:
                    pair = min(anchor, node), max(anchor, node)
                    first, last = times.get(pair, (one.at, one.last_at))
                    times[pair] = min(first, one.at), max(last, one.last_at)
    return [_Link(a, b, first, last) for (a, b), (first, last) in times.items()]


def _judged(links: Sequence[_Link], evidence: Evidence, rules: Rules) -> _Judged:
    usable = [link for link in links if not {link.a, link.b} & evidence.shared]
    ordered = sorted(usable, key=lambda link: _order(link, evidence, rules))
    group, reasons = join_all(evidence.nodes, [(link.a, link.b) for link in ordered], rules)
    judged = dict.fromkeys(links, SHARED_VALUE) | dict(zip(ordered, reasons, strict=True))
    return _Judged(reasons=judged, group=group)


def _order(link: _Link, evidence: Evidence, rules: Rules) -> tuple[bool, int, int, str]:
    """Person links before device links, by time, then by priority, then by text."""
    is_device = not (evidence.is_person(link.a, rules) and evidence.is_person(link.b, rules))
    is_newest_first = is_device or rules.is_latest_wins
    return is_device, -link.last if is_newest_first else link.first, *_tie(link.a, link.b, evidence)


def _tie(a: int, b: int, evidence: Evidence) -> tuple[int, str]:
    numbers = evidence.nodes.namespace
    return numbers[a] + numbers[b], f"{evidence.names[a]}|{evidence.names[b]}"


def _logins(evidence: Evidence, rules: Rules) -> list[_Login]:
    """Return who was seen on which device: evidence with a person and a device that are not shared."""
    logins = []
    for one in evidence.seen:
        people, devices = _split(evidence.usable(one) if one.is_evidence else (), evidence, rules)
        logins += [
            _Login(observation=one.id, at=at, anchor=people[0], device=device)
            for device in devices
            for at in sorted({one.at, one.last_at})
            if people
        ]
    return logins


def _split(nodes: Sequence[int], evidence: Evidence, rules: Rules) -> tuple[list[int], list[int]]:
    """Return the identifiers of people and those of devices."""
    people = [node for node in nodes if evidence.is_person(node, rules)]
    return people, [node for node in nodes if node not in people]


def _device_spans(
    evidence: Evidence, judged: _Judged, logins: Sequence[_Login], rules: Rules
) -> dict[int, list[Span]]:
    """Return the spans of owners of each device that anybody ever owned."""
    if rules.is_current_holder:
        people = {
            judged.group[node] for node in range(len(evidence.names)) if evidence.is_person(node, rules)
        }
        return {
            node: [Span(None, None, group)]
            for node, group in enumerate(judged.group)
            if group in people and not evidence.is_person(node, rules)
        }
    cluster = _clusters(evidence, judged, rules)
    points: dict[int, dict[int, _Login]] = defaultdict(dict)
    for login in sorted(logins, key=lambda login: _tie(login.anchor, login.device, evidence)):
        points[cluster[login.device]].setdefault(login.at, login)
    spans = {
        one: spans_of([(at, judged.group[login.anchor]) for at, login in sorted(first.items())], rules)
        for one, first in points.items()
    }
    return {node: spans[one] for node, one in cluster.items() if one in spans}


def _clusters(evidence: Evidence, judged: _Judged, rules: Rules) -> dict[int, int]:
    """Return the first device of each device's cluster: devices joined by kept links between devices."""
    devices = [
        node
        for node in range(len(evidence.names))
        if not evidence.is_person(node, rules) and node not in evidence.shared
    ]
    members = {node: [node] for node in devices}
    kept = [(link.a, link.b) for link, reason in judged.reasons.items() if reason == KEPT]
    for a, b in [*kept, *enumerate(evidence.nodes.same)]:
        if a in members and b in members and members[a] is not members[b]:
            members[a] += members[b]
            members.update(dict.fromkeys(members[b], members[a]))
    return {node: min(members[node]) for node in devices}


def _owner(one: Seen, evidence: Evidence, spans: Mapping[int, Sequence[Span]], rules: Rules) -> str | None:
    """Return the owner of an observation without a usable identifier of a person; None for others."""
    if not one.nodes:
        return REJECTED
    usable = evidence.usable(one)
    if any(evidence.is_person(node, rules) for node in usable):
        return None
    owners = [span.owner for node in usable[:1] for span in spans.get(node, ()) if span.holds(one.at)]
    return str(evidence.names[owners[0]]) if owners else UNCLAIMED


def _people(evidence: Evidence, judged: _Judged) -> tuple[tuple[str, ...], ...]:
    groups: dict[int, list[str]] = defaultdict(list)
    for node, group in enumerate(judged.group):
        if node not in evidence.shared:
            groups[group].append(str(evidence.names[node]))
    return tuple(sorted(tuple(members) for members in groups.values()))


def _dropped_links(judged: _Judged, names: Sequence[str]) -> tuple[DroppedLink, ...]:
    dropped = [
        DroppedLink(
            a=names[link.a],
            b=names[link.b],
            reason=reason,
            first_seen=within_calendar(link.first),
            last_seen=within_calendar(link.last),
        )
        for link, reason in judged.reasons.items()
        if reason != KEPT
    ]
    return tuple(sorted(dropped, key=lambda one: (one.a, one.b)))


def _dropped_ids(observations: Sequence[Observation], rules: Rules) -> tuple[DroppedId, ...]:
    dropped = {
        DroppedId(observation=one.id, id=str(name), reason=BLOCKED_VALUE)
        for one in observations
        for name in one.ids
        if is_blocked(name.value, rules)
    }
    return tuple(sorted(dropped, key=lambda one: (one.observation, one.id)))


def _claims(spans: Mapping[int, Sequence[Span]], names: Sequence[str]) -> tuple[Claim, ...]:
    claims = [
        Claim(
            device=names[node],
            owner=names[span.owner],
            valid_from=instant(span.start),
            valid_to=instant(span.end),
        )
        for node in sorted(spans)
        for span in spans[node]
    ]
    return tuple(claims)


def _written_logins(logins: Sequence[_Login], judged: _Judged, names: Sequence[str]) -> tuple[Login, ...]:
    written = {
        Login(
            observation=one.observation,
            at=within_calendar(one.at),
            device=names[one.device],
            person=names[judged.group[one.anchor]],
        )
        for one in logins
    }
    return tuple(sorted(written, key=lambda one: (one.at, one.observation, one.device)))
