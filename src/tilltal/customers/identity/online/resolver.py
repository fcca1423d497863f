"""Who is who, message by message: the owners of identifiers as a refresh would find them.

Spans of an identifier begin with the instant it was first seen: no row of it is older, and a message that is
older changes when it was first seen, which rules and profile ids may ask for. They leave no gap: where nobody
owns it, a span says so.

A value that is shared has one span, nobody's and plain. It stays shared whatever comes, as long as the
corrections stay, so the observations that reach a component only through it need not be read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from tilltal.core.operational import Observed, Owned
from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.links import KEPT
from tilltal.customers.identity.online.component import Component, resolve_component
from tilltal.customers.identity.online.evidence import Terms, gather
from tilltal.customers.identity.online.moves import Move, Moves, Passage, changes
from tilltal.customers.identity.online.regions import Walls
from tilltal.customers.identity.online.spans import cut, is_shared, owner_at, since, span_at, vouched
from tilltal.customers.identity.ownership import Span
from tilltal.customers.identity.rules import Rules

__all__ = ["Dropped", "Move", "Moves", "OnlineIdentity", "Passage", "Settled", "is_shared", "owner_at"]

Spans = Mapping[int, tuple[Owned, ...]]


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """A link not taken: tokens `a` (of higher priority) and `b`, and the instants it was seen."""

    a: int
    b: int
    reason: str
    first_seen: int
    last_seen: int


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """A component, resolved.

    `owners`: each token's spans. `is_known`: the component's profiles, all of them, and whether an identifier
    of a person is among theirs; no other token of it is a profile. `refused`: observation, reason.
    """

    owners: dict[int, tuple[Owned, ...]]
    is_known: dict[int, bool]
    dropped_links: tuple[Dropped, ...]
    refused: tuple[tuple[str, str], ...]


class OnlineIdentity:
    """The rules and corrections of one workspace, ready for one message or one component at a time."""

    def __init__(self, rules: Rules, corrections: Corrections[int] | None = None) -> None:
        """Take rules, and corrections over tokens."""
        self.rules = rules
        self.corrections: Corrections[int] = corrections or Corrections()
        self._terms = Terms(rules, self.corrections)

    def tied(self, tokens: Iterable[int]) -> frozenset[int]:
        """Return other tokens declared the same value as one of these: a component holds them too."""
        asked = frozenset(tokens)
        return frozenset(one for token in asked for one in self._terms.tied.get(token, ())) - asked

    def changed_since(self, earlier: OnlineIdentity) -> tuple[frozenset[int], frozenset[str]]:
        """Return what to settle anew after other corrections (the rules being the same).

        Returns:
            Tokens, and ids of observations, whose components to settle, all in one, since what was one
            component may have become two: read them past shared values too.
        """
        mine, theirs = self._terms, earlier._terms
        tokens = {
            one for one in mine.tied.keys() | theirs.tied.keys() if mine.tied.get(one) != theirs.tied.get(one)
        }
        tokens |= {token for pair in mine.forbidden ^ theirs.forbidden for token in pair}
        return frozenset(tokens), mine.revoked ^ theirs.revoked

    def plain(self, spans: Spans, tokens: Sequence[tuple[str, int]], at: int) -> Owned | None:
        """Return the span a message falls into, if it changes nothing about anybody's identifiers.

        That is so for a single identifier seen before, and for several that are one person's at all times
        while no rule could bite among all that was ever seen near them (`is_plain`): more of the same adds
        no value, no customer and no owner. Shared values among them count for nothing.

        Args:
            spans: of the message's identifiers, those that are known.
            tokens: (namespace, token), the leading one first.
            at: its instant in microseconds.

        Returns:
            The leading identifier's span; its profile may be None, nobody. None: settle the component.
        """
        usable = 0
        profile = None
        is_one = True
        for _, token in tokens:
            own = spans.get(token)
            if not own or own[0].valid_from is None or at < own[0].valid_from:
                return None
            first = own[0]
            if first.profile is None and first.is_plain:
                continue
            if len(own) > 1 or not first.is_plain or (usable and first.profile != profile):
                is_one = False
            profile = first.profile
            usable += 1
        if usable > 1 and not is_one:
            return None
        return span_at(spans[tokens[0][1]], at)

    def stretched(self, spans: Spans, seen: Observed) -> dict[int, tuple[Owned, ...]] | None:
        """Return the new spans of the devices of a login that does no more than vouch for its time.

        For messages that are not plain only because logins vouch for a while. None: settle the component.
        """
        numbers = [self._terms.number_of(namespace) for namespace, _ in seen.ids]
        devices = [n for n, number in enumerate(numbers) if not self._terms.is_person[number]]
        is_led_by_person = self._terms.is_person[min(numbers)]
        if not self._terms.is_timed or not devices or len(devices) == len(seen.ids):
            return None
        if seen.id in self._terms.revoked or not (is_led_by_person or len(devices) == 1):
            return None
        if not self._is_one_plainly(spans, seen):
            return None
        tokens = [seen.ids[n][1] for n in devices]
        return {token: vouched(spans[token], seen.at, self._terms.rules) for token in tokens}

    def _is_one_plainly(self, spans: Spans, seen: Observed) -> bool:
        """True if all identifiers are known by then, plain, and one person's or, for a while, nobody's."""
        if not all(token in spans and since(spans[token]) <= seen.at for _, token in seen.ids):
            return False
        profile = next(
            (one.profile for _, token in seen.ids for one in spans[token] if one.profile is not None), None
        )
        return profile is not None and all(_is_of_one(spans[token], profile) for _, token in seen.ids)

    def alone(self, namespace: str, token: int, at: int) -> Owned | None:
        """Return the span of an identifier never seen before, seen alone: it is a profile of its own.

        None if a correction names it: settle it.

        Raises:
            DataError: P350 for an undeclared namespace.
        """
        self._terms.number_of(namespace)
        if token in self._terms.tied:
            return None
        return Owned(token, at, None, token)

    def settle(
        self,
        observations: Iterable[Observed],
        known: Spans | None = None,
        shared: Collection[int] = (),
        elsewhere: Mapping[int, int] | None = None,
    ) -> Settled:
        """Resolve a component, or several together, exactly as a refresh does.

        Args:
            observations: all that was seen of the component's identifiers and of those `tied` to them, in
                any order; what holds a single identifier says only when it was seen.
            known: the spans of its identifiers as they are, of those that have any; others do no harm.
            shared: tokens that `is_shared` tells of, whose other observations were left out.
            elsewhere: token → profile, of identifiers of people beyond a wall (see `regions`), which stay as
                they are and are left out of the answer.

        Raises:
            DataError: P350 for an identifier of an undeclared namespace.
        """
        evidence = gather(observations, known or {}, shared, self._terms, elsewhere)
        component = resolve_component(evidence, self._terms)
        profile = _profiles(component)
        return Settled(
            owners=_owners(component, profile),
            is_known=self._known(component, profile),
            dropped_links=_dropped_links(component),
            refused=tuple(evidence.refused),
        )

    @property
    def walls(self) -> Walls | None:
        """What a component need not be read past, where the rules allow any: see `regions`."""
        return Walls(self._terms) if self._terms.has_walls else None

    def changes(self, before: Spans, after: Spans) -> Moves:
        """Return what must move: see `moves.changes`."""
        return changes(before, after)

    def _known(self, component: Component, profile: Sequence[int]) -> dict[int, bool]:
        known: dict[int, bool] = {}
        others = {component.group[node] for node in component.evidence.elsewhere}
        for node, one in enumerate(profile):
            if node not in component.evidence.shared and component.group[node] not in others:
                is_person = self._terms.is_person[component.evidence.nodes.namespace[node]]
                known[one] = known.get(one, False) or is_person
        return known


def _is_of_one(spans: Sequence[Owned], profile: int) -> bool:
    """True if only that profile ever owned it, plainly."""
    owned = [span for span in spans if span.profile is not None]
    return bool(owned) and all(span.profile == profile and span.is_plain for span in owned)


def _profiles(component: Component) -> list[int]:
    """Return each node's profile: the token of its group's highest namespace that was seen first."""
    nodes, tokens = component.evidence.nodes, component.evidence.tokens
    leader: dict[int, tuple[int, int]] = {}  # group → first seen, token
    for node, group in enumerate(component.group):
        if nodes.namespace[node] == nodes.namespace[group]:
            mine = (nodes.first_us[node], tokens[node])
            leader[group] = min(mine, leader.get(group, mine))
    known = {component.group[node]: one for node, one in component.evidence.elsewhere.items()}
    return [known.get(group, leader[group][1]) for group in component.group]


def _owners(component: Component, profile: Sequence[int]) -> dict[int, tuple[Owned, ...]]:
    evidence = component.evidence
    profiles = {one for node, one in enumerate(profile) if node not in evidence.shared}
    owners: dict[int, tuple[Owned, ...]] = {}
    for node, token in enumerate(evidence.tokens):
        if node in evidence.elsewhere:
            continue
        first, is_plain = evidence.nodes.first_us[node], component.is_plain[node]
        if node in evidence.shared:
            owners[token] = (Owned(token, first, None, None, is_plain=True),)
        elif node in component.spans:
            claims = [Span(one.start, one.end, profile[one.owner]) for one in component.spans[node]]
            otherwise = token if token in profiles else None
            owners[token] = cut(token, first, claims, otherwise=otherwise, is_plain=is_plain)
        else:
            owners[token] = (Owned(token, first, None, profile[node], is_plain),)
    return owners


def _dropped_links(component: Component) -> tuple[Dropped, ...]:
    tokens = component.evidence.tokens
    dropped = [
        Dropped(
            a=tokens[link.a], b=tokens[link.b], reason=link.reason, first_seen=link.first, last_seen=link.last
        )
        for link in sorted(component.links, key=lambda link: (link.a, link.b))
        if link.reason != KEPT
    ]
    return tuple(dropped)
