"""One micro-batch: from messages to everything its transaction writes.

Identity first, for the batch as a whole, since who is who depends on the set of observations only; then what
changed hands moves; then every message is folded into its owner's state; then every profile touched is
brought up to the clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta

import msgspec

from tilltal.core.errors import SupersededError
from tilltal.core.instants import micros
from tilltal.core.operational import (
    Identified,
    Logged,
    Observed,
    Owned,
    State,
    Transaction,
    Writes,
)
from tilltal.customers.identity.online.resolver import Moves, OnlineIdentity, Passage, Settled, owner_at
from tilltal.customers.identity.online.spans import ALWAYS, since
from tilltal.customers.live.profile import Moved, ProfileProgram, ProfileState, stage_of
from tilltal.rules.clock import Clock
from tilltal.runtime.live.history.past import History, rows_of
from tilltal.runtime.live.intake.components import LARGE, Component
from tilltal.runtime.live.intake.facts import FactReader
from tilltal.runtime.live.intake.incoming import Incoming
from tilltal.runtime.live.intake.noting import gone_into, note
from tilltal.runtime.live.places import MADE

_TICK = timedelta(microseconds=1)

Owners = dict[int, tuple[Owned, ...]]


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a batch: the ids that were new, and how many profiles it touched."""

    fresh: frozenset[bytes]
    profiles: int


class Applier:
    """Applies micro-batches under one set of definitions."""

    def __init__(
        self,
        program: ProfileProgram,
        identity: OnlineIdentity,
        reader: FactReader,
        people: frozenset[str],
        history: History,
        made_by: bytes,
        *,
        is_making: bool = False,
    ) -> None:
        """Take definitions.

        Args:
            program: states and values of profiles.
            identity: who is who.
            reader: reads rows of the log.
            people: the namespaces whose identifiers are people's, not devices'.
            history: asked when a device changes hands.
            made_by: what customers must have been made by.
            is_making: whether they are in the making, so that nobody is told of them yet.
        """
        self._program = program
        self._identity = identity
        self._reader = reader
        self._people = people
        self._history = history
        self._made_by = made_by
        self._is_making = is_making
        self.large = 0  # components settled that were large

    async def apply(
        self, tx: Transaction, messages: Sequence[Incoming], identities: Iterable[Identified], clock: Clock
    ) -> Applied:
        """Write what a batch of messages changes; the caller commits."""
        fresh = await _fresh(tx, messages)
        if not fresh:
            return Applied(fresh=frozenset(), profiles=0)
        together = [one for one in fresh if len(one.ids) > 1]
        seen = [observed for one in together if (observed := one.observed) is not None]
        writes = Writes(observations=seen, identities=list(dict.fromkeys(identities)))
        resolved = await self._resolved(tx, fresh, writes)
        writes.log = [one.logged for one in fresh]
        if resolved.moves.passages:  # what moves is made again from the log
            await tx.write(writes)
            writes = Writes()
        touched = await self._fold(tx, fresh, resolved, clock, writes)
        return Applied(fresh=frozenset(one.logged.event_id for one in fresh), profiles=touched)

    async def observe(
        self, tx: Transaction, seen: Sequence[Incoming], identities: Sequence[Identified], clock: Clock
    ) -> None:
        """Take in who was seen with whom, without what they did: `fill_in` adds that; the caller commits."""
        observed = [found for one in seen if (found := one.observed) is not None]
        await tx.write(Writes(observations=observed, identities=list(identities)))
        await self._fold(tx, (), await self._resolved(tx, seen), clock)

    async def fill_in(self, tx: Transaction, rows: Sequence[Logged], clock: Clock) -> None:
        """Add rows that Parquet shows in this transaction, of identifiers observed before.

        The caller commits. What had come as a message counts as Parquet has it.
        """
        known = await tx.known_ids([row.event_id for row in rows])
        fresh = [Incoming(logged=row, ids=(), message_id="") for row in rows if row.event_id not in known]
        owners = await tx.owners({row.token for row in rows})
        again = [
            Passage(span.token, ALWAYS, None, span.profile, span.profile)
            for token in sorted({row.token for row in rows if row.event_id in known})
            for span in owners[token]
        ]
        moves = Moves(owners={}, whole=(), passages=tuple(again), gone=frozenset())
        await self._fold(tx, fresh, _Resolved(owners=owners, before=owners, moves=moves), clock)
        await tx.write(Writes(seen=[one.logged.event_id for one in fresh]))

    async def take_again(
        self, tx: Transaction, messages: Sequence[Incoming], twice: Collection[int], clock: Clock
    ) -> None:
        """Take in messages that the log has; the caller commits.

        What is known under the tokens `twice` is made again: some of it may have come by file as well.
        """
        resolved = await self._resolved(tx, messages)
        again = [
            Passage(token, ALWAYS, None, span.profile, span.profile)
            for token in sorted(twice)
            for span in resolved.owners[token]
        ]
        passages = (*resolved.moves.passages, *again)
        resolved.moves = msgspec.structs.replace(resolved.moves, passages=passages)
        await self._fold(tx, messages, resolved, clock)

    async def correct(self, tx: Transaction, earlier: OnlineIdentity, clock: Clock) -> int:
        """Settle anew whom other corrections than the earlier ones concern; the caller commits.

        Returns:
            How many profiles that touched.
        """
        tokens, names = self._identity.changed_since(earlier)
        revoked = await tx.observations_named(sorted(names))
        seeds = tokens.union(token for one in revoked for _, token in one.ids)
        known = await tx.owners(seeds)
        if not known:
            return 0
        alone = [
            Observed("", since(known[token]), ((one.namespace, token),))
            for token, one in (await tx.identities(known)).items()
        ]
        found = _Resolved(owners=dict(known), before=known)
        component = Component(tx, self._identity, found.owners, found.before, alone)
        self._take_over(found, await component.settle_whole(seeds), component)
        found.moves = self._identity.changes(found.before, found.owners)
        return await self._fold(tx, (), found, clock)

    async def wake(self, tx: Transaction, profiles: Iterable[int], clock: Clock) -> None:
        """Bring profiles up to the clock though nothing came in for them."""
        writes = Writes()
        for profile, stored in (await self._locked(tx, profiles)).items():
            await self._finish(tx, profile, self._program.decode(stored.data), writes, clock)
        await tx.write(writes)

    async def renew(
        self,
        tx: Transaction,
        profiles: Iterable[int],
        lookalikes: Mapping[int, frozenset[str]],
        clock: Clock,
    ) -> None:
        """Bring profiles to these definitions; nobody is a member of an audience that is no more."""
        writes = Writes()
        for profile, stored in (await self._locked(tx, profiles)).items():
            state = self._program.decode(stored.data)
            alike = lookalikes.get(profile, frozenset())
            if state.is_stale or state.is_untold or state.lookalikes != alike:
                state.lookalikes = alike
                await self._finish(tx, profile, state, writes, clock)
            over = (await tx.memberships(profile)).keys() - set(self._program.audience_names)
            over -= {one.audience for one in writes.members if one.profile == profile}
            note(profile, Moved(clock.now, left=tuple(sorted(over))), writes)
        await tx.write(writes)

    async def _resolved(
        self, tx: Transaction, fresh: Sequence[Incoming], seen: Writes | None = None
    ) -> _Resolved:
        """Return whose the batch's tokens are now, and what that moves; what is settled with is written."""
        before = await tx.owners({token for one in fresh for _, token in one.ids})
        found = _Resolved(owners=dict(before), before=before)
        unclear = [one for one in fresh if not self._is_clear(one, found)]
        if unclear:
            if seen is not None:
                await tx.write(seen)
                seen.observations, seen.identities = [], []
            came = [one.observed or Observed("", one.logged.at, one.ids) for one in unclear]
            component = Component(tx, self._identity, found.owners, found.before, came)
            self._take_over(
                found, await component.settle({one for each in unclear for one in each.ids}), component
            )
        found.moves = self._identity.changes(found.before, found.owners)
        return found

    def _is_clear(self, one: Incoming, found: _Resolved) -> bool:
        """True if a message needs no settling; a token seen for the first time, alone, is noted."""
        ids, at = one.ids, one.logged.at
        namespace, token = ids[0]
        if len(ids) == 1 and token not in found.owners:
            span = self._identity.alone(namespace, token, at)
            if span is not None and span.profile is not None:
                found.owners[token] = (span,)
                found.is_known[span.profile] = namespace in self._people
            return span is not None
        if self._identity.plain(found.owners, ids, at) is not None:
            return True
        observed = one.observed
        stretched = None if observed is None else self._identity.stretched(found.owners, observed)
        found.owners.update(stretched or {})
        return stretched is not None

    def _take_over(self, found: _Resolved, settled: Settled, component: Component) -> None:
        """Take over what was settled; what it took is counted."""
        self.large += component.size >= LARGE
        found.owners.update(settled.owners)
        found.is_known = {one: is_one for one, is_one in found.is_known.items() if one not in settled.owners}
        found.is_known.update(settled.is_known)
        found.settled = frozenset(settled.owners)

    async def _fold(
        self,
        tx: Transaction,
        fresh: Sequence[Incoming],
        resolved: _Resolved,
        clock: Clock,
        given: Writes | None = None,
    ) -> int:
        """Move what changed hands, add the messages to their owners, and write all states touched.

        What is given is written with them: last, so that processes wait for each other's log only then.
        """
        moves = resolved.moves
        rows: dict[int, list[Logged]] = defaultdict(list)
        for one in fresh:
            row = one.logged
            owner = owner_at(resolved.owners[row.token], row.at)
            if owner is not None:
                rows[owner].append(row)
        touched = rows.keys() | moves.profiles
        stored = await self._locked(tx, touched | resolved.is_known.keys() | resolved.nobody)
        gone = resolved.nobody & stored.keys()
        touched = (touched | (resolved.is_known.keys() - stored.keys())) - gone
        states = {profile: self._opened(stored, profile) for profile in moves.profiles | gone}
        writes = given or Writes()
        writes.owners, writes.gone = dict(moves.owners), sorted(gone)
        for profile in sorted(touched & moves.profiles & stored.keys()):
            self._catch_up(profile, states[profile], writes, clock)
        remade = await self._move(tx, moves, resolved.owners, states, clock)
        for profile in sorted(gone):
            writes.changes.append(gone_into(profile, moves, clock))
        for profile in sorted(touched):  # one from beginning to end: it stays in the processor's cache
            state = states.pop(profile, None) or self._opened(stored, profile)
            state.is_known = resolved.is_known.get(profile, state.is_known)
            for row in rows.get(profile, ()):
                if not remade or (row.token, profile) not in remade:
                    self._add(state, row, clock)
            if state.is_untold:
                await self._finish(tx, profile, state, writes, clock)
            else:
                self._bring_up(profile, state, writes, clock)
        await tx.write(writes)
        return len(touched)

    async def _locked(self, tx: Transaction, profiles: Iterable[int]) -> dict[int, State]:
        """Return states; from here on to the end of the transaction they stay of these definitions.

        Raises:
            SupersededError: if customers were made anew by other definitions, maybe in this very moment.
        """
        found = await tx.lock_states(profiles)
        if not self._is_making and await tx.mark(MADE) not in (self._made_by, None):
            raise SupersededError.of(
                "E531", "Customers were made anew by other definitions.", hint="Try again."
            )
        return found

    def _opened(self, stored: Mapping[int, State], profile: int) -> ProfileState:
        """Return a profile's state; it may have none of its own, only identifiers."""
        found = stored.get(profile)
        return self._program.new() if found is None else self._program.decode(found.data)

    async def _move(
        self,
        tx: Transaction,
        moves: Moves,
        owners: Mapping[int, tuple[Owned, ...]],
        states: Mapping[int, ProfileState],
        clock: Clock,
    ) -> frozenset[tuple[int, int]]:
        """Move fragments, and make those again that cannot move whole; return (token, profile) of these."""
        taken = [(one, self._program.take(states[one.old], one.token)) for one in moves.whole]
        for one, fragment in taken:
            if one.new is not None and fragment is not None:
                self._program.give(states[one.new], one.token, fragment)
        lasting = [one for one in moves.passages if one.since <= micros(clock.now)]  # nothing is later
        pairs = ((one.token, who) for one in lasting for who in (one.old, one.new))
        remade = frozenset((token, who) for token, who in pairs if who is not None)
        tokens = {token for token, _ in remade}
        if tokens:
            rows = await rows_of(tx, self._history, tokens)
            for token, profile in remade:
                self._program.take(states[profile], token)
            for row in rows:
                owner = owner_at(owners[row.token], row.at)
                if owner is not None and (row.token, owner) in remade:
                    self._add(states[owner], row, clock)
        return remade

    def _add(self, state: ProfileState, row: Logged, clock: Clock) -> None:
        fact = self._reader.read(row)
        if fact is not None:
            at = row.received if row.kind == "holding" else row.at  # as `instants_of` the fact
            self._program.add(state, row.token, fact, clock, (at, row.received))

    def _catch_up(self, profile: int, state: ProfileState, writes: Writes, clock: Clock) -> None:
        """Note what was due before a state changes hands in part."""
        for moved in self._program.advance(state, Clock(clock.now - _TICK, clock.zone)):
            if not state.is_untold:
                note(profile, moved, writes)

    async def _finish(
        self, tx: Transaction, profile: int, state: ProfileState, writes: Writes, clock: Clock
    ) -> None:
        """Bring a state up to the clock and note what that changes."""
        is_told_now = state.is_untold and not self._is_making
        self._bring_up(profile, state, writes, clock)
        if is_told_now:
            note(profile, await self._turned(tx, profile, state, clock), writes)

    def _bring_up(self, profile: int, state: ProfileState, writes: Writes, clock: Clock) -> None:
        """Bring a state up to the clock; note what that changes, if anybody was told of it before."""
        program = self._program
        is_untold, state.is_untold = state.is_untold, self._is_making
        for moved in program.advance(state, clock):
            if not is_untold:
                note(profile, moved, writes)
        writes.states.append(State(profile, program.encode(state), state.due))

    async def _turned(self, tx: Transaction, profile: int, state: ProfileState, clock: Clock) -> Moved:
        """Return what is otherwise with a customer who was made anew."""
        held, now = (await tx.memberships(profile)).keys(), set(self._program.audiences_of(state))
        former = (await tx.former([profile])).get(profile)
        before = None if former is None else stage_of(former)
        return Moved(
            clock.now,
            entered=tuple(sorted(now - held)),
            left=tuple(sorted(held - now)),
            stage=None if state.stage == before else (before, state.stage or ""),
        )


class _Resolved(msgspec.Struct, kw_only=True):
    """Who is who after a batch: spans as they were and are.

    `is_known`: profile → whether it is a person's, of those that may be new or otherwise. `settled`: the
    tokens of the components resolved anew, whose profiles are all in `is_known`.
    """

    owners: Owners
    before: Owners
    is_known: dict[int, bool] = {}
    moves: Moves = Moves(owners={}, whole=(), passages=(), gone=frozenset())
    settled: frozenset[int] = frozenset()

    @property
    def nobody(self) -> frozenset[int]:
        """Tokens that are no profile, though one of them may have been."""
        return self.settled - self.is_known.keys()


async def _fresh(tx: Transaction, messages: Sequence[Incoming]) -> list[Incoming]:
    """Return the messages not taken before, each once."""
    first: dict[bytes, Incoming] = {}
    for one in messages:
        first.setdefault(one.logged.event_id, one)
    known = await tx.known_ids(list(first))
    return [one for event_id, one in first.items() if event_id not in known]
