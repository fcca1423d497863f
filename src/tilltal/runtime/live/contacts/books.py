"""The contacts of all whom a group of work concerns, in one transaction: read, judged one by one, written.

Nobody else judges contacts of the same customers until the transaction ends. So a cap holds whoever asks, of
whichever server, at whatever moment.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from tilltal.core.instants import instant_of, micros
from tilltal.core.operational import Contacted as Row
from tilltal.core.operational import Owned, Reads, State, Transaction, Writes
from tilltal.customers.identity.online.spans import is_shared, owner_at
from tilltal.decisions.contacting.parts import Contact
from tilltal.decisions.contacting.permission import answers_of
from tilltal.decisions.contacting.policy import Moment, Past, Verdict
from tilltal.decisions.contacting.reservations import Commit, Contacted, commit, fail, reserve
from tilltal.decisions.live.reasons import Pair
from tilltal.rules.clock import Clock
from tilltal.runtime.live.contacts.entries import Entry, entry_of, judged
from tilltal.runtime.live.contacts.pieces import Claim, Step
from tilltal.runtime.live.contacts.rations import MARK, Ration
from tilltal.runtime.live.definitions import InForce

Tokens = tuple[int, ...]
Shelf = dict[str, Entry]


class Wanted(msgspec.Struct, kw_only=True):
    """What a group of work will ask the books for: whom, which contacts by id, and as of which instants.

    `is_rationed`: anything may be handed out of which there is so much only.
    """

    people: list[Tokens] = []
    names: list[str] = []
    instants: list[datetime] = []
    is_rationed: bool = False


class Person:
    """One customer of the books: a profile, or identifiers that are nobody's; `entries` are by id."""

    def __init__(
        self, force: InForce, profile: int | None, state: State | None, shelves: Sequence[Shelf]
    ) -> None:
        self._force = force
        self.profile = profile
        self.data = None if state is None else state.data
        self.entries: Mapping[str, Entry] = ChainMap(*shelves)
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

    def sends(self, at: datetime) -> Callable[[Pair], int | None]:
        """Return what tells when an action would be sent by a channel; None where that is not chosen."""
        pacing, moment_of = self._force.contacts.pacing, self.moment(at)
        clock = Clock(at, self._force.workspace.zone)
        habit = pacing.habit(self._force.program, self._state, clock, moment_of)

        def sent(pair: Pair) -> int | None:
            planned = pacing.plan(pair, moment_of, habit)
            return None if planned is None else planned.at

        return sent


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
    """Return the contacts that a customer was asked for here; none where no rule counts any."""
    if not force.contacts.counts:
        return Past()
    since = force.contacts.since(now)
    if profile is not None:
        found = await reads.contacts_of((profile,), since)
    else:
        own = tokens if len(tokens) < 2 else _telling(tokens, await reads.owners(tokens))
        found = await reads.contacts_under(own, since) if own else {}
    return reserved_of(each_once(row for rows in found.values() for row in rows), now)


def each_once(rows: Iterable[Row]) -> list[Entry]:
    """Return the contacts of rows; one that is kept under several tokens once."""
    return list({entry.id: entry for entry in map(entry_of, rows)}.values())


def _telling(tokens: Sequence[int], spans: Mapping[int, Sequence[Owned]]) -> tuple[int, ...]:
    """Return the tokens of somebody unknown, without those that many share, unless there are no others."""
    own = tuple(token for token in tokens if not (token in spans and is_shared(spans[token])))
    return own or tuple(tokens)


class Books:
    """Contacts in a transaction; `writes` is what is new when all is judged."""

    def __init__(self, force: InForce, now: int) -> None:
        self._force = force
        self._now = now
        self._spans: Mapping[int, tuple[Owned, ...]] = {}
        self._states: Mapping[int, State] = {}
        self._of: Mapping[int, list[Row]] = {}
        self._under: Mapping[int, list[Row]] = {}
        self._people: dict[tuple[int | None, Tokens], Person] = {}
        self._shelves: dict[tuple[int | None, int], Shelf] = {}
        self._named: dict[str, Entry] = {}
        self._changed: dict[str, Entry] = {}
        self.ration = Ration(force.contacts.rations, now)

    async def open(self, tx: Transaction, wanted: Wanted) -> None:
        """Read what is wanted, and keep others away from it until the transaction ends.

        Raises:
            EngineError: E531 if another process was faster.
        """
        names = [name.encode() for name in dict.fromkeys(wanted.names)]
        known = await tx.contacts_named(names) if names else {}
        tokens = {token for each in wanted.people for token in each}
        tokens |= {token for one in known.values() for token in entry_of(one).tokens}
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
        if wanted.is_rationed or any(map(self._is_rationed, self._named.values())):
            await self.ration.open(tx)

    def _is_rationed(self, entry: Entry) -> bool:
        one = entry.contacted
        return one is not None and self._force.contacts.rations.has(one.contact.action)

    def entry(self, name: str) -> Entry | None:
        """Return a contact that was wanted by name, or was judged here."""
        return self._named.get(name)

    def person(self, tokens: Tokens) -> tuple[Tokens, Person]:
        """Return the customer whom tokens name, and the tokens under which a contact is kept.

        That is the first that is somebody's; of somebody unknown all, as any of them may be named alone next.
        """
        for token in tokens:
            profile = self._owner(token)
            if profile is not None:
                return (token,), self._person(profile, (token,))
        own = _telling(tokens, self._spans)
        return own, self._person(None, own)

    def _owner(self, token: int) -> int | None:
        return owner_at(self._spans.get(token, ()), self._now)

    def _person(self, profile: int | None, tokens: Tokens) -> Person:
        key = (profile, () if profile is not None else tokens)
        found = self._people.get(key)
        if found is None:
            state = None if profile is None else self._states.get(profile)
            shelves = [self._shelf(token) for token in tokens]
            found = self._people[key] = Person(self._force, profile, state, shelves)
        return found

    def _shelf(self, token: int) -> Shelf:
        """Return the contacts that count for whom a token names."""
        profile = self._owner(token)
        key = (profile, token if profile is None else 0)
        found = self._shelves.get(key)
        if found is None:
            rows = self._under.get(token, ()) if profile is None else self._of.get(profile, ())
            found = self._shelves[key] = {
                entry.id: self._named.get(entry.id, entry) for entry in map(entry_of, rows)
            }
        return found

    def claim(self, claim: Claim, at: datetime) -> Entry:
        """Judge a request and reserve what is allowed; the same id gets its first answer."""
        known = self._named.get(claim.id)
        if known is not None:
            return known
        tokens, person = self.person(claim.tokens)
        now, contact = micros(at), claim.contact
        verdict, made = self.reserve(claim.id, tokens[0], contact, person.past(now), person.moment(at))
        entry = judged(claim.id, tokens, now, contact, verdict, made)
        self.put(entry)
        return entry

    def is_of(self, entry: Entry, claim: Claim) -> bool:
        """True if a contact is what is asked for: the same customer, channel and action."""
        asked = entry.asked
        if asked is None:  # kept by a version that did not note it
            return True
        owner = next((found for token in claim.tokens if (found := self._owner(token)) is not None), None)
        is_theirs = not {*entry.tokens}.isdisjoint(claim.tokens) or (
            owner is not None and owner == self._owner(entry.token)
        )
        return is_theirs and (asked.channel, asked.action) == (claim.contact.channel, claim.contact.action)

    def reserve(
        self,
        name: str,
        token: int,
        contact: Contact,
        past: Past,
        moment_of: Moment,
        sends: int | None = None,
    ) -> tuple[Verdict, Contacted | None]:
        """Judge a contact by the contact policy and its action's capacity; it counts once it is put."""
        policy = self._force.contacts.policy
        verdict, made = reserve(policy, name, token, contact, past, moment_of, sends)
        refused = None if made is None else self.ration.refuses(made)
        if refused is None:
            return verdict, made
        return msgspec.structs.replace(verdict, reasons=(refused,)), None

    def step(self, step: Step) -> tuple[Entry, str] | None:
        """Take a step; return the contact as it is then, and why a commit was refused. None: unknown."""
        entry = self._named.get(step.id)
        if entry is None:
            return None
        contacted = entry.contacted
        if contacted is None:
            return entry, "denied"
        if step.what == "look":
            return entry, ""
        _, person = self.person(entry.tokens)
        now, refused = micros(step.at), ""
        if step.what == "commit":
            done = self._committed(contacted, person, step.at)
            entry, refused = msgspec.structs.replace(entry, contacted=done.contacted), done.refused
        elif step.what == "fail":
            entry = msgspec.structs.replace(entry, contacted=fail(contacted, now))
        else:
            happened = now if step.happened is None else min(micros(step.happened), now)
            entry = entry.with_outcome(step.kind, happened)
        self.put(entry)
        return entry, refused

    def _committed(self, contacted: Contacted, person: Person, at: datetime) -> Commit:
        """Commit, no earlier than the customer's latest contact: that may have a slot of one that lapsed.

        It may have been judged first though it was asked for later, by another server or in the same group.
        """
        latest = max((one.at for one in person.entries.values()), default=0)
        since = max(at, instant_of(max(latest, self.ration.since(contacted))))
        return commit(
            self._force.contacts.policy, contacted, person.past(micros(since)), person.moment(since)
        )

    def put(self, entry: Entry) -> None:
        """Keep a contact as it is now."""
        known = self._named.get(entry.id)
        self.ration.move(None if known is None else known.contacted, entry.contacted)
        self._named[entry.id] = self._changed[entry.id] = entry
        if entry.contacted is not None:
            for token in entry.tokens:
                self._shelf(token)[entry.id] = entry

    def writes(self) -> Writes:
        """Return what is to be written."""
        data = self.ration.data
        return Writes(
            contacts=[row for entry in self._changed.values() for row in entry.rows()],
            marks={} if data is None else {MARK: data},
        )
