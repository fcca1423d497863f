"""From history in Parquet to live customers: what a server does once, before it serves a workspace.

Identities come from the same resolution as a refresh, states from the same rows folded one by one. Where it
was done before, for other definitions or not to the end, every state is replaced, profiles that are no more
go, and memberships that go on keep their beginning. A mark says for which definitions it was finished.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa

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
from tilltal.customers.live.facts.consent_answers import ConsentFact
from tilltal.customers.live.facts.holding_facts import HoldingFact
from tilltal.customers.live.facts.pending import Fact
from tilltal.customers.live.facts.records import RecordFact
from tilltal.customers.live.profile import ProfileProgram, ProfileState
from tilltal.customers.traits.online import Event
from tilltal.rules.clock import Clock
from tilltal.runtime.live.history.hot import IDENTITIES
from tilltal.runtime.live.instants import micros
from tilltal.runtime.live.intake.correcting import corrected
from tilltal.runtime.live.places import FILES, MADE, made_by, sealed
from tilltal.runtime.live.serving.reloading import Place, place_mark
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.identities import resolve_identities
from tilltal.runtime.refresh.views import declared_views, open_history, open_views, view_name
from tilltal.runtime.storage.store import Store
from tilltal.workspace.definitions.sources import FieldType
from tilltal.workspace.names import event_fields, kept_fields
from tilltal.workspace.workspace import Workspace

_PORTION = 5_000  # rows written in one transaction
_ROWS_AT_ONCE = 300_000
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
    ) -> None:
        self._engine = engine
        self._workspace = workspace
        self._store = store
        self._program = program
        self._identity = identity
        self._lookalikes = lookalikes
        self._hot = hot

    async def run(self, target: OperationalStore, clock: Clock, progress: Progress) -> int:
        """Write everything; return how many profiles there are."""
        engine = self._engine
        open_history(engine, self._workspace, self._store, self._hot)
        progress.start("identity", None)
        resolve_identities(engine, self._workspace, clock, "history")
        open_views(engine, self._workspace, clock, "taken", with_tokens=True)
        for portion in _portions(self._identities(), _PORTION):
            async with target.transaction() as tx:
                await tx.write(portion)
        known: dict[int, bool] = dict(engine.rows("SELECT profile, is_known FROM spine"))
        parts = max(1, self._count() // _ROWS_AT_ONCE)
        progress.start("customers", parts)
        for part in range(parts):
            states = self._states(part, parts, known, clock)
            for writes in self._written(states, clock):
                async with target.transaction() as tx:
                    await tx.write(await _beside(tx, writes, micros(clock.now)))
            progress.advance()
        await _remove_others(target, known.keys(), micros(clock.now))
        swept = Place(self._program.edition, is_done=True)
        async with target.transaction() as tx:
            own = {
                MADE: made_by(self._program, self._workspace.identity),
                FILES: sealed(self._store),
            }
            marks = own | corrected(self._identity)
            await tx.write(Writes(marks=marks | place_mark(swept)))
        return len(known)

    def _identities(self) -> Iterator[Writes]:
        """Give what is known of each token, its spans, and who was seen together."""
        engine = self._engine
        engine.register("known_identities", self._known_identities())
        engine.run(
            'CREATE OR REPLACE TEMP TABLE first_seen AS SELECT one.token AS token, min("at") AS first FROM '
            '(SELECT unnest(ids) AS one, "at" FROM history.observations) GROUP BY one.token'
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
            since = _micros(first)
            yield Writes(
                identities=[Identified(token, namespace, value)],
                owners={token: _spans(token, since, claimed or (), is_shared, is_profile)},
            )
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
        self._engine.run("CREATE OR REPLACE VIEW observations AS SELECT * FROM history.observations")
        rows = self._engine.rows(f"SELECT * FROM ({thinned}) WHERE len(ids) > 1")
        for number, (name, at, last_at, ids) in enumerate(rows):
            tokens = tuple((one["namespace"], one["token"]) for one in ids)
            own = name or f"history:{number}"
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
                fresh.lookalikes = self._lookalikes.get(profile, frozenset())
        for view in declared_views(self._workspace):
            name = view_name(view)
            if name == "observations":
                continue
            made = self._fact_maker(view)
            table = self._engine.arrow(f"SELECT * FROM {quote(name)} WHERE profile % {parts} = {part}")
            for batch in table.to_batches(max_chunksize=50_000):
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
            if len(writes.states) >= _PORTION:
                yield writes
                writes = Writes()
        yield writes

    def _held(self, state: ProfileState) -> list[str]:
        names = self._program.audience_names
        return [name for bit, name in enumerate(names) if state.audiences >> bit & 1]

    def _fact_maker(self, view: str) -> Callable[[Mapping[str, Any]], Fact]:
        kind, _, name = view.partition("/")
        if kind == "events":
            fields = event_fields(self._workspace)[name]
            return lambda row: _event(name, row, fields)
        if kind == "records":
            kept = kept_fields(self._workspace.sources[name])
            return lambda row: _record(name, row, kept)
        return _holding if kind == "holdings" else _consent


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


def _aware(row: Mapping[str, Any], name: str) -> datetime:
    instant: datetime = row[name]
    return instant.replace(tzinfo=UTC)


def _fields(row: Mapping[str, Any], fields: Mapping[str, FieldType]) -> dict[str, object]:
    return {
        name: json.loads(row[name]) if kind == "any" else row[name]
        for name, kind in fields.items()
        if row.get(name) is not None
    }


def _event(name: str, row: Mapping[str, Any], fields: Mapping[str, FieldType]) -> Event:
    return Event(
        type=name,
        at=_aware(row, "at"),
        received=_aware(row, "received"),
        event_id=str(row["event_id"]),
        fields=_fields(row, fields),
    )


def _record(name: str, row: Mapping[str, Any], fields: Mapping[str, FieldType]) -> RecordFact:
    return RecordFact(
        source=name,
        at=_aware(row, "at"),
        received=_aware(row, "received"),
        event_id=str(row["event_id"]),
        fields=_fields(row, fields),
    )


def _holding(row: Mapping[str, Any]) -> HoldingFact:
    return HoldingFact(
        source=row["source"],
        product=row["product"],
        opened=row["opened"],
        closed=row["closed"],
        received=_aware(row, "received"),
    )


def _consent(row: Mapping[str, Any]) -> ConsentFact:
    return ConsentFact(
        purpose=row["purpose"],
        channel=row["channel"],
        granted=row["granted"],
        at=_aware(row, "at"),
        received=_aware(row, "received"),
    )
