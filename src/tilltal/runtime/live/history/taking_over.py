"""From history in Parquet to live customers: what a server does once, before it serves a workspace.

Identities come from the same resolution as a refresh, states from the same rows folded one by one. Where it
was done before, for other definitions or not to the end, every state is replaced, profiles that are no more
go, and memberships that go on keep their beginning. A mark says for which definitions it was finished.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa

from tilltal.core.instants import micros
from tilltal.core.names import literal, quote
from tilltal.core.operational import (
    Change,
    Identified,
    Membership,
    Observed,
    OperationalStore,
    Owned,
    State,
    Transaction,
    Writes,
)
from tilltal.core.ports import BatchEngine
from tilltal.customers.identity.online.resolver import OnlineIdentity
from tilltal.customers.identity.online.spans import cut
from tilltal.customers.identity.ownership import Span
from tilltal.customers.identity.thinning import thinned_sql
from tilltal.customers.live.profile import ProfileProgram, ProfileState
from tilltal.rules.clock import Clock
from tilltal.runtime.live.history.hot import IDENTITIES
from tilltal.runtime.live.history.ingested import Files, Shown, files_in, marks_of
from tilltal.runtime.live.history.leisure import Leisurely
from tilltal.runtime.live.history.past import Past
from tilltal.runtime.live.history.rows import fact_maker
from tilltal.runtime.live.intake.correcting import corrected
from tilltal.runtime.live.places import MADE, made_by
from tilltal.runtime.live.serving.sweeping import Place, place_mark
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.identities import resolve_identities
from tilltal.runtime.refresh.views import declared_views, open_history, open_views, view_name
from tilltal.runtime.storage.store import Store
from tilltal.workspace.workspace import Workspace

_PORTION = 5_000  # rows written in one transaction
_ROWS_AT_ONCE = 300_000
_CHUNK = 2_000
_HEAD = frozenset(("profile", "identity", "event_id", "at", "received", "source"))


class TakeOver:
    """Makes owners and states from history, as of an instant."""

    def __init__(
        self,
        engine: BatchEngine,
        workspace: Workspace,
        store: Store,
        program: ProfileProgram,
        identity: OnlineIdentity,
        lookalikes: Mapping[int, frozenset[str]],
        hot: Mapping[str, pa.Table],
        *,
        is_making: bool = False,
        portion: int = _PORTION,
        rest: float = 0.0,
        confirm: Callable[[Transaction], Awaitable[None]] | None = None,
    ) -> None:
        """Take definitions and history.

        Args:
            engine: reads history.
            workspace: the definitions.
            store: history.
            program: states and values of profiles.
            identity: who is who.
            lookalikes: of the last snapshot.
            hot: tables of what the log holds and history does not.
            is_making: whether customers are made beside those in use, so that nobody is told of them yet.
            portion: rows written in one transaction.
            rest: how long others have the machine, for each second of work.
            confirm: asked in each transaction; raises if somebody else does this work.
        """
        self._engine = engine
        self._workspace = workspace
        self._store = store
        self._program = program
        self._identity = identity
        self._lookalikes = lookalikes
        self._hot = hot
        self._is_making = is_making
        self._portion = portion
        self._work = Leisurely(rest)
        self._confirm = confirm

    async def run(self, target: OperationalStore, clock: Clock, progress: Progress) -> int:
        """Write everything; return how many profiles there are."""
        async with self._writing(target) as tx:
            await tx.write(Writes(marks={MADE: b""}))  # until the end they are of several definitions
        progress.start("identity", None)
        known = await self._work.do(self._resolve, clock)
        async for portion in self._work.each(_portions(self._identities(), self._portion)):
            async with self._writing(target) as tx:
                await tx.write(portion)
        parts = max(1, await self._work.do(self._count) // _ROWS_AT_ONCE)
        progress.start("customers", parts)
        for part in range(parts):
            states = await self._work.do(self._states, part, parts, known, clock)
            async for writes in self._work.each(self._written(states, clock)):
                async with self._writing(target) as tx:
                    await tx.write(await _beside(tx, writes, micros(clock.now)))
            progress.advance()
        await _remove_others(target, known.keys(), micros(clock.now))
        swept = Place(self._program.edition, is_done=not self._is_making)
        async with self._writing(target) as tx:
            marks = corrected(self._identity) | marks_of(await self._work.do(self._shown, clock))
            marks[MADE] = made_by(self._program, self._workspace.identity)
            await tx.write(Writes(marks=marks | place_mark(swept)))
        return len(known)

    @asynccontextmanager
    async def _writing(self, target: OperationalStore) -> AsyncIterator[Transaction]:
        async with target.transaction() as tx:
            if self._confirm is not None:
                await self._confirm(tx)
            yield tx

    def _resolve(self, clock: Clock) -> dict[int, bool]:
        """Read history, find who is who, and return profiles, and whether each is a person's."""
        open_history(self._engine, self._workspace, self._store, self._hot)
        resolve_identities(self._engine, self._workspace, clock, "history")
        open_views(self._engine, self._workspace, clock, "taken", with_tokens=True)
        return dict(self._engine.rows("SELECT profile, is_known FROM spine"))

    def _shown(self, clock: Clock) -> Shown:
        """Say that all files count up to the clock; `seen` does not have the ids of their messages."""
        past, now = Past(self._engine, self._workspace, self._store), micros(clock.now)
        manifests = files_in(self._store)
        files = frozenset(one.id for one in manifests)
        ahead = dict.fromkeys(past.ahead(manifests, now), now)
        return Shown(Files(whole=files, unnamed=files, ahead=ahead))

    def _identities(self) -> Iterator[Writes]:
        """Give what is known of each token, its spans, and who was seen together."""
        engine = self._engine
        engine.register("known_identities", self._known_identities())
        engine.run(
            'CREATE OR REPLACE TEMP TABLE first_seen AS SELECT one.token AS token, min("at") AS first FROM '
            '(SELECT unnest(ids) AS one, "at" FROM observed.observations) GROUP BY one.token'
        )
        claims = (
            "SELECT identity AS token, list((valid_from, valid_to, profile) ORDER BY valid_from) AS claims "
            "FROM history.identity_map GROUP BY identity"
        )
        rows = engine.rows(
            "SELECT i.token, any_value(i.namespace), any_value(i.value), any_value(first), "
            "any_value(claims), any_value(s.identity) IS NOT NULL, any_value(p.profile) IS NOT NULL "
            "FROM known_identities AS i LEFT JOIN first_seen USING (token) "
            f"LEFT JOIN ({claims}) AS c USING (token) "
            "LEFT JOIN history.shared_values AS s ON s.identity = i.token "
            "LEFT JOIN history.people_spine AS p ON p.profile = i.token GROUP BY i.token"
        )
        for token, namespace, value, first, claimed, is_shared, is_profile in rows:
            known = [Identified(token, namespace, value)]
            if first is None:  # a file tells of it ahead of its time
                yield Writes(identities=known)
                continue
            spans = _spans(token, _micros(first), claimed or (), is_shared, is_profile)
            yield Writes(identities=known, owners={token: spans})
        yield from self._observations()

    def _known_identities(self) -> pa.Table:
        """Return every token with namespace and value: of files and of the log, some twice."""
        files = self._store.accepted("identities")
        tables = [self._hot.get("identities", IDENTITIES.empty_table())]
        if files:
            listed = ", ".join(literal(str(file)) for file in files)
            tables.append(self._engine.arrow(f"SELECT token, namespace, value FROM read_parquet([{listed}])"))
        return pa.concat_tables([table.cast(IDENTITIES) for table in tables])

    def _observations(self) -> Iterator[Writes]:
        thinned = thinned_sql(self._identity.rules, self._identity.corrections)
        self._engine.run("CREATE OR REPLACE VIEW observations AS SELECT * FROM observed.observations")
        rows = self._engine.rows(f"SELECT * FROM ({thinned}) WHERE len(ids) > 1")
        for name, at, last_at, ids in rows:
            tokens = tuple((one["namespace"], one["token"]) for one in ids)
            own = name or _name_of(at, tokens)
            seen = [Observed(own, _micros(at), tokens)]
            if last_at != at:
                seen.append(Observed(f"{own}#last", _micros(last_at), tokens))
            yield Writes(observations=seen)

    def _count(self) -> int:
        views = [view_name(view) for view in declared_views(self._workspace) if view != "observations"]
        return sum(int(self._engine.rows(f"SELECT count(*) FROM {quote(view)}")[0][0]) for view in views)

    def _states(
        self, part: int, parts: int, known: Mapping[int, bool], clock: Clock
    ) -> dict[int, ProfileState]:
        """Fold the rows of one part of the profiles."""
        states: dict[int, ProfileState] = {}
        for profile, is_known in known.items():
            if profile % parts == part:
                fresh = states[profile] = self._program.new()
                fresh.is_known = is_known
                fresh.is_untold = self._is_making
                fresh.lookalikes = self._lookalikes.get(profile, frozenset())
        for view in declared_views(self._workspace):
            name = view_name(view)
            if name == "observations":
                continue
            made = fact_maker(self._workspace, view)
            table = self._engine.arrow(f"SELECT * FROM {quote(name)} WHERE profile % {parts} = {part}")
            for batch in table.to_batches(max_chunksize=_CHUNK):
                self._work.pause()
                for row in batch.to_pylist():
                    state = states.get(row["profile"])
                    if state is not None:
                        self._program.add(state, row["identity"], made(row), clock)
        return states

    def _written(self, states: Mapping[int, ProfileState], clock: Clock) -> Iterator[Writes]:
        """Bring states up to the clock and give them in portions."""
        writes = Writes()
        for profile, state in states.items():
            self._program.advance(state, clock)
            writes.states.append(State(profile, self._program.encode(state), state.due))
            at = micros(clock.now)
            writes.members += [Membership(name, profile, at, is_member=True) for name in self._held(state)]
            if len(writes.states) >= self._portion:
                yield writes
                writes = Writes()
        yield writes

    def _held(self, state: ProfileState) -> list[str]:
        names = self._program.audience_names
        return [name for bit, name in enumerate(names) if state.audiences >> bit & 1]


async def _beside(tx: Transaction, writes: Writes, at: int) -> Writes:
    """Return what is to be written of states and memberships, given what is there.

    Of a profile that was there, entries and exits are told; of a new one, nobody is told how it came to be.
    """
    there = await tx.states([state.profile for state in writes.states])
    held: dict[int, set[str]] = {profile: set() for profile in there}
    for one in writes.members:
        if one.profile in held:
            held[one.profile].add(one.audience)
    members = [one for one in writes.members if one.profile not in held]
    turns = [
        Membership(name, profile, at, is_member=name in after)
        for profile, after in held.items()
        for name in sorted((await tx.memberships(profile)).keys() ^ after)
    ]
    return Writes(states=writes.states, members=members + turns, changes=[_told(one) for one in turns])


async def _remove_others(target: OperationalStore, known: Collection[int], at: int) -> None:
    """Remove profiles that are none any more."""
    after: int | None = None
    while found := await target.profiles_after(after, _PORTION):
        after = found[-1]
        gone = [profile for profile in found if profile not in known]
        async with target.transaction() as tx:
            left = [
                Membership(name, profile, at, is_member=False)
                for profile in gone
                for name in await tx.memberships(profile)
            ]
            await tx.write(Writes(gone=gone, changes=[_told(one) for one in left]))


def _name_of(at: object, tokens: Sequence[tuple[str, int]]) -> str:
    """Return a name for who was seen with whom where files give none: the same for the same, whenever."""
    return f"history:{hashlib.sha256(repr((_micros(at), tokens)).encode()).hexdigest()[:20]}"


def _told(turn: Membership) -> Change:
    kind: Literal["entered", "left"] = "entered" if turn.is_member else "left"
    return Change(at=turn.at, profile=turn.profile, kind=kind, name=turn.audience)


def _spans(
    token: int, since: int, claimed: Sequence[Any], is_shared: bool, is_profile: bool
) -> tuple[Owned, ...]:
    """Return a token's spans as a refresh sees them; not plain, so that whoever comes first is looked at."""
    if is_shared:
        return (Owned(token, since, None, None, is_plain=True),)
    claims = [
        Span(_micros(start), None if end is None else _micros(end), owner)
        for start, end, owner in (tuple(one.values()) if isinstance(one, dict) else one for one in claimed)
    ]
    return cut(token, since, claims, otherwise=token if is_profile else None, is_plain=False)


def _portions(pieces: Iterator[Writes], size: int) -> Iterator[Writes]:
    """Put small writes together."""
    whole = Writes()
    for count, piece in enumerate(pieces, start=1):
        whole.identities += piece.identities
        whole.owners.update(piece.owners)
        whole.observations += piece.observations
        if count % size == 0:
            yield whole
            whole = Writes()
    yield whole


def _micros(instant: object) -> int:
    assert isinstance(instant, datetime), "history keeps instants as timestamps"
    return micros(instant.replace(tzinfo=UTC))
