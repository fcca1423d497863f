"""The contacts of all whom a group of work concerns, in one transaction: read, judged one by one, written.

Nobody else judges contacts of the same customers until the transaction ends. So a cap holds whoever asks, of
whichever server, at whatever moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from tilltal.core.operational import Contacted as Row
from tilltal.core.operational import Owned, Reads, State, Transaction, Writes
from tilltal.customers.identity.online.spans import owner_at
from tilltal.decisions.contacting.permission import answers_of
from tilltal.decisions.contacting.policy import Moment, Past
from tilltal.decisions.contacting.reservations import Commit, Contacted, commit, fail, reserve
from tilltal.rules.clock import Clock
from tilltal.runtime.live.contacts.entries import Entry, entry_of, judged
from tilltal.runtime.live.contacts.pieces import Claim, Step
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.instants import micros, moment

Tokens = tuple[int, ...]


class Wanted(msgspec.Struct, kw_only=True):
    """What a group of work will ask the books for: whom, which contacts by id, and as of which instants."""

    people: list[Tokens] = []
    names: list[str] = []
    instants: list[datetime] = []


class Person:
    """One customer of the books: a profile, or an identifier that is nobody's."""

    def __init__(self, force: InForce, profile: int | None, state: State | None) -> None:
        self._force = force
        self.profile = profile
        self.data = None if state is None else state.data
        self.entries: dict[str, Entry] = {}
        program = force.program
        self._state = program.new() if state is None else program.decode(state.data)
        self._answers = tuple(answers_of(program.answers(self._state)))

    def past(self, now: int) -> Past:
        """Return what the customer had, did and said, as of an instant."""
        contacts = self._force.contacts
        found = contacts.past(self._force.program, self._state, now, reserved_of(self.entries.values(), now))
        return Past(found.made, found.outcomes, self._answers)

    def moment(self, at: datetime) -> Moment:
        """Return when and whom."""
        clock = Clock(at, self._force.workspace.zone)
        values = self._force.program.values(self._state, clock, self._force.living)
        return self._force.contacts.moment(values, clock, self.profile)


def reserved_of(entries: Iterable[Entry], now: int) -> Past:
    """Return contacts that count, and what came of contacts, as what a customer had."""
    kept = list(entries)
    return Past(
        [made for one in kept if (made := one.made(now)) is not None],
        [outcome for one in kept for outcome in one.came()],
    )


async def reserved_for(
    reads: Reads, force: InForce, profile: int | None, tokens: Sequence[int], now: int
) -> Past:
    """Return the contacts that a customer was asked for here, in one read; none where no rule counts any."""
    if not force.contacts.counts:
        return Past()
    since = force.contacts.since(now)
    if profile is not None:
        rows = (await reads.contacts_of((profile,), since)).get(profile, [])
    else:
        rows = (await reads.contacts_under(tokens[:1], since)).get(tokens[0], []) if tokens else []
    return reserved_of(map(entry_of, rows), now)


class Books:
    """Contacts in a transaction; `writes` is what is new when all is judged."""

    def __init__(self, force: InForce, now: int) -> None:
        self._force = force
        self._now = now
        self._spans: Mapping[int, tuple[Owned, ...]] = {}
        self._states: Mapping[int, State] = {}
        self._of: Mapping[int, list[Row]] = {}
        self._under: Mapping[int, list[Row]] = {}
        self._people: dict[tuple[int | None, int], Person] = {}
        self._named: dict[str, Entry] = {}
        self._changed: dict[str, Entry] = {}

    async def open(self, tx: Transaction, wanted: Wanted) -> None:
        """Read what is wanted, and keep others away from it until the transaction ends.

        Raises:
            EngineError: E531 if another process was faster.
        """
        names = [name.encode() for name in dict.fromkeys(wanted.names)]
        known = await tx.contacts_named(names) if names else {}
        tokens = {token for each in wanted.people for token in each} | {one.token for one in known.values()}
        if not tokens:
            return
        self._spans = await tx.owners(tokens)
        owned = {token: owner_at(spans, self._now) for token, spans in self._spans.items()}
        profiles = {profile for profile in owned.values() if profile is not None}
        nobodys = {token for token in tokens if owned.get(token) is None}
        await tx.lock_contacts(profiles, tokens)
        if names:
            known = await tx.contacts_named(names)
        self._named = {one.id: one for one in map(entry_of, known.values())}
        since = self._force.contacts.since(min([self._now, *map(micros, wanted.instants)]))
        if profiles:
            self._states = await tx.states(profiles)
            self._of = await tx.contacts_of(profiles, since)
        if nobodys:
            self._under = await tx.contacts_under(nobodys, since)

    def entry(self, name: str) -> Entry | None:
        """Return a contact that was wanted by name, or was judged here."""
        return self._named.get(name)

    def person(self, tokens: Tokens) -> tuple[int, Person]:
        """Return the customer whom tokens name, and the token under which a contact is kept."""
        for token in tokens:
            profile = owner_at(self._spans.get(token, ()), self._now)
            if profile is not None:
                return token, self._person(profile, profile, self._of)
        return tokens[0], self._person(None, tokens[0], self._under)

    def _person(self, profile: int | None, key: int, rows: Mapping[int, list[Row]]) -> Person:
        found = self._people.get((profile, key))
        if found is None:
            state = None if profile is None else self._states.get(profile)
            found = self._people[profile, key] = Person(self._force, profile, state)
            for row in rows.get(key, ()):
                entry = entry_of(row)
                found.entries[entry.id] = self._named.get(entry.id, entry)
        return found

    def claim(self, claim: Claim, at: datetime) -> Entry:
        """Judge a request and reserve what is allowed; the same id gets its first answer."""
        known = self._named.get(claim.id)
        if known is not None:
            return known
        token, person = self.person(claim.tokens)
        now = micros(at)
        verdict, made = reserve(
            self._force.contacts.policy, claim.id, token, claim.contact, person.past(now), person.moment(at)
        )
        entry = judged(claim.id, token, now, verdict, made)
        self.put(entry, person)
        return entry

    def step(self, step: Step) -> tuple[Entry, str] | None:
        """Take a step; return the contact as it is then, and why a commit was refused. None: unknown."""
        entry = self._named.get(step.id)
        if entry is None:
            return None
        contacted = entry.contacted
        if contacted is None:
            return entry, "denied"
        _, person = self.person((entry.token,))
        now, refused = micros(step.at), ""
        if step.what == "commit":
            done = self._committed(contacted, person, step.at)
            entry, refused = msgspec.structs.replace(entry, contacted=done.contacted), done.refused
        elif step.what == "fail":
            entry = msgspec.structs.replace(entry, contacted=fail(contacted, now))
        else:
            happened = now if step.happened is None else min(micros(step.happened), now)
            entry = entry.with_outcome(step.kind, happened)
        self.put(entry, person)
        return entry, refused

    def _committed(self, contacted: Contacted, person: Person, at: datetime) -> Commit:
        """Commit, no earlier than the customer's latest contact: that may have a slot of one that lapsed.

        It may have been judged first though it was asked for later, by another server or in the same group.
        """
        latest = max((one.at for one in person.entries.values()), default=0)
        since = max(at, moment(latest))
        return commit(
            self._force.contacts.policy, contacted, person.past(micros(since)), person.moment(since)
        )

    def put(self, entry: Entry, person: Person) -> None:
        """Keep a contact as it is now."""
        self._named[entry.id] = self._changed[entry.id] = entry
        if entry.contacted is not None:
            person.entries[entry.id] = entry

    def writes(self) -> Writes:
        """Return what is to be written."""
        return Writes(contacts=[entry.row() for entry in self._changed.values()])
