"""The online resolver, fed line by line as a server is: each message the cheapest way there is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tilltal.core.operational import Observed, Owned
from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.online.resolver import OnlineIdentity, Settled, is_shared, owner_at
from tilltal.customers.identity.resolution import REJECTED, UNCLAIMED
from tilltal.customers.identity.rules import Rules
from tilltal.customers.identity.values import Identifier, Observation, accepted

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Line = tuple[Observation | None, Corrections[Identifier]]
"""An observation, or None where the line is a correction; and the corrections in force after it."""


class LiveAnswer:
    """What a server knows after some lines, written as cases write it."""

    def __init__(self, lines: Sequence[Line], rules: Rules) -> None:
        self._rules = rules
        ids = {one for seen, _ in lines if seen is not None for one in accepted(seen.ids, rules)}
        for _, corrections in lines:
            ids |= {one for pair in corrections.forbid | corrections.same_as for one in pair}
        self._names = sorted(ids, key=lambda one: (rules.number(one.namespace), one.value))
        self._token = {one: at for at, one in enumerate(self._names)}
        self._is_person = [rules.namespaces[rules.number(one.namespace)].is_person for one in self._names]
        self._identity = OnlineIdentity(rules)
        self._log: list[Observed] = []
        self._owners: dict[int, tuple[Owned, ...]] = {}
        self._known: dict[int, bool] = {}
        for seen, corrections in lines:
            if seen is None:
                self._correct(corrections)
            else:
                self._take(seen)

    def stated(self) -> dict[str, Any]:
        """Return what the server says of people's identifiers, links, refusals and each anonymous message."""
        judged = self._identity.settle(self._log, self._owners)  # nothing but owners is kept
        return {
            "people": list(self._people().values()),
            "dropped_links": [
                {"link": [str(self._names[one.a]), str(self._names[one.b])], "reason": one.reason}
                for one in judged.dropped_links
            ],
            "refused_observations": [
                {"observation": name, "reason": reason} for name, reason in judged.refused
            ],
            "shared_values": [
                str(self._names[one]) for one, spans in self._owners.items() if is_shared(spans)
            ],
            "anonymous_owner": {
                one.id: owner for one in self._log if (owner := self._owner(one)) is not None
            },
        }

    def people_of(self, people: Iterable[Sequence[str]]) -> list[list[str]]:
        """Return what of a case's people the server keeps: whose a device is depends on the instant."""
        devices = {str(name) for name, is_one in zip(self._names, self._is_person, strict=True) if not is_one}
        persons = ([one for one in person if one not in devices] for person in people)
        return [person for person in persons if person]

    def _take(self, seen: Observation) -> None:
        held = sorted(self._token[one] for one in accepted(seen.ids, self._rules))
        ids = tuple((self._names[token].namespace, token) for token in held)
        message = Observed(seen.id, (seen.at - _EPOCH) // timedelta(microseconds=1), ids)
        self._log.append(message)
        if not ids:
            return
        spans = {token: self._owners[token] for token in held if token in self._owners}
        if self._identity.plain(spans, ids, message.at) is not None:
            return
        alone = self._identity.alone(*ids[0], message.at) if len(ids) == 1 and not spans else None
        if alone is not None:
            self._owners[alone.token] = (alone,)
            self._known[alone.token] = self._is_person[alone.token]
            return
        stretched = self._identity.stretched(spans, message)
        if stretched is not None:
            self._owners.update(stretched)
        else:
            self._settle(held)

    def _correct(self, corrections: Corrections[Identifier]) -> None:
        earlier = self._identity
        self._identity = OnlineIdentity(self._rules, corrections.translated(self._token.__getitem__))
        tokens, names = self._identity.changed_since(earlier)
        self._settle(
            token
            for one in self._log
            for _, token in one.ids
            if one.id in names or any(each in tokens for _, each in one.ids)
        )

    def _settle(self, seeds: Iterable[int]) -> None:
        """Resolve all that is reachable from some identifiers."""
        reached: set[int] = set()
        pending = set(seeds)
        while pending:
            reached |= pending
            near = (one for one in self._log if any(token in reached for _, token in one.ids))
            pending = {token for one in near for _, token in one.ids} | self._identity.tied(reached)
            pending -= reached
        seen = [one for one in self._log if any(token in reached for _, token in one.ids)]
        self._settled(self._identity.settle(seen, self._owners))

    def _settled(self, settled: Settled) -> None:
        inside = settled.owners.keys()
        self._owners.update(settled.owners)
        self._known = {one: known for one, known in self._known.items() if one not in inside}
        self._known.update(settled.is_known)

    def _people(self) -> Mapping[int, list[str]]:
        people: dict[int, list[str]] = defaultdict(list)
        for token in sorted(self._owners):
            profile = self._owners[token][-1].profile
            if profile is not None and self._is_person[token]:
                people[profile].append(str(self._names[token]))
        return people

    def _owner(self, message: Observed) -> str | None:
        usable = [token for _, token in message.ids if not is_shared(self._owners[token])]
        if any(self._is_person[token] for token in usable):
            return None
        if not message.ids:
            return REJECTED
        profile = owner_at(self._owners[usable[0]], message.at) if usable else None
        if profile is None or not self._known[profile]:
            return UNCLAIMED
        return self._people()[profile][0]
