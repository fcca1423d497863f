"""The contacts of many customers in memory, with reservations, merges and splits: for simulation and tests.

Everything is kept under the customer a request named; who counts as one customer is decided when it is asked.
So a merge copies nothing, and a split has nothing to take apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from zoneinfo import ZoneInfo

import msgspec

from tilltal.core.time import known_zone
from tilltal.decisions.contacting.parts import Contact
from tilltal.decisions.contacting.permission import Answer
from tilltal.decisions.contacting.policy import ContactPolicy, Made, Moment, Outcome, Past, Verdict
from tilltal.decisions.contacting.reservations import Commit, Contacted, commit, fail, reserve


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """May this customer be contacted so? The same `id` always gets its first answer."""

    id: str
    token: int
    contact: Contact


class Ledger:
    """Contacts, outcomes and answers of customers, who are numbers. Instants: microseconds since 1970 UTC."""

    def __init__(
        self,
        policy: ContactPolicy,
        zone: ZoneInfo,
        zones: Mapping[int, str] | None = None,
        places: Mapping[int, str] | None = None,
    ) -> None:
        """Begin without contacts.

        Args:
            policy: the rules.
            zone: the time zone of customers of whom none is known.
            zones: customer → time zone as data hold it; what is no zone counts as missing.
            places: customer → jurisdiction.
        """
        self._policy = policy
        self._zone = zone
        self._zones = dict(zones or {})
        self._places = dict(places or {})
        self._verdicts: dict[str, Verdict] = {}
        self._contacts: dict[str, Contacted] = {}
        self._of: defaultdict[int, list[str]] = defaultdict(list)
        self._outcomes: defaultdict[int, dict[Outcome, None]] = defaultdict(dict)
        self._answers: defaultdict[int, list[Answer]] = defaultdict(list)
        self._into: dict[int, int] = {}  # customer → whom it was merged into, in order of the merges

    def request(self, request: Request, now: int) -> Verdict:
        """Judge a request and, if it is allowed, reserve it."""
        known = self._verdicts.get(request.id)
        if known is not None:
            return known
        past, moment = self._past(request.token, now), self._moment(request.token, now)
        verdict, made = reserve(self._policy, request.id, request.token, request.contact, past, moment)
        self._verdicts[request.id] = verdict
        if made is not None:
            self._contacts[made.id] = made
            self._of[made.token].append(made.id)
        return verdict

    def batch(self, requests: Iterable[Request], now: int) -> dict[str, Verdict]:
        """Judge requests of the same instant: by priority, highest first, then by id."""
        ordered = sorted(requests, key=lambda one: (-one.contact.priority, one.id))
        return {one.id: self.request(one, now) for one in ordered}

    def commit(self, name: str, now: int) -> Commit | None:
        """Commit a reservation; None if no such request was allowed."""
        one = self._contacts.get(name)
        if one is None:
            return None
        done = commit(self._policy, one, self._past(one.token, now), self._moment(one.token, now))
        self._contacts[name] = done.contacted
        return done

    def fail(self, name: str, now: int) -> None:
        """Release a contact; a request that was denied has nothing to release."""
        one = self._contacts.get(name)
        if one is not None:
            self._contacts[name] = fail(one, now)

    def outcome(self, name: str, kind: str, now: int) -> None:
        """Note what came of a contact; the same of the same instant is noted once."""
        one = self._contacts.get(name)
        if one is not None:
            self._outcomes[one.token][Outcome(now, kind, one.contact)] = None

    def answer(self, token: int, answer: Answer) -> None:
        """Note what a customer answered about consent."""
        self._answers[token].append(answer)

    def merge(self, gone: int, into: int) -> None:
        """Count two customers as one from now on."""
        root = self._root(gone)
        if root != self._root(into):
            self._into[root] = into

    def split(self, tokens: Collection[int]) -> None:
        """Take customers apart again: those named, or all who were merged into one that is named alone."""
        named = {token for token in tokens if self._into.get(token) in tokens}
        named = named or {token for token in tokens if token in self._into}
        named = named or {one for one in self._into if self._root(one) in tokens}
        for token in named:
            del self._into[token]

    def contacts(self, token: int) -> list[Contacted]:
        """Return all contacts of a customer, by time."""
        held = (self._contacts[name] for each in self._family(token) for name in self._of[each])
        return sorted(held, key=lambda one: (one.at, one.id))

    def _past(self, token: int, now: int) -> Past:
        family = self._family(token)
        return Past(
            [Made(one.at, one.contact, one.sends) for one in self.contacts(token) if one.counts(now)],
            [one for each in family for one in self._outcomes[each]],
            [one for each in family for one in self._answers[each]],
        )

    def _moment(self, token: int, now: int) -> Moment:
        """Return the moment of a customer: what the one it was merged into lacks, a merged one gives."""
        family = self._family(token)
        zones = (known_zone(self._zones[each]) for each in family if each in self._zones)
        place = next((self._places[each] for each in family if each in self._places), None)
        zone = next((one for one in zones if one is not None), self._zone)
        return Moment(now, zone, place, family[0])

    def _family(self, token: int) -> list[int]:
        """Return all who count as one customer, who was merged into first."""
        root = self._root(token)
        return [root, *(one for one in self._into if self._root(one) == root)]

    def _root(self, token: int) -> int:
        while token in self._into:
            token = self._into[token]
        return token
