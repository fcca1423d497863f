"""Answers about one customer, one audience, one decision: read, never written.

The present is read from the state. A past instant is computed from the log and Parquet: the same facts,
those that had happened and arrived by then, folded again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tilltal.core.errors import TilltalError, nearest
from tilltal.core.ids import parse_profile, profile_text
from tilltal.core.instants import instant_of, micros
from tilltal.core.money import minor_per_major
from tilltal.core.operational import Logged, OperationalStore, Owned
from tilltal.customers.identity.online.resolver import owner_at
from tilltal.customers.live.facts.consent_answers import ConsentFact
from tilltal.customers.live.facts.holding_facts import HoldingFact
from tilltal.customers.live.profile import ProfileState
from tilltal.rules.clock import Clock
from tilltal.runtime.live.answers.account import scores_of
from tilltal.runtime.live.contacts.entries import Entry
from tilltal.runtime.live.contacts.told import contacts_of, counted, line
from tilltal.runtime.live.contract import (
    ConsentAnswer,
    HoldingAnswer,
    KnownBy,
    Member,
    MemberPage,
    ProfileAnswer,
    Timeline,
    TimelineEntry,
)
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.history.past import Past, rows_of
from tilltal.runtime.live.intake.facts import message_of
from tilltal.workspace.names import event_fields, expanded_traits, kept_fields, record_attributes

PROFILE = "profile"  # the namespace of pseudonyms
_SEGMENTS = ("lifecycle", "value", "persona", "leading_product", "holdings")


async def find(
    store: OperationalStore, force: InForce, namespace: str, value: str, now: datetime
) -> int | None:
    """Return the profile that an identifier belongs to now, or None.

    Raises:
        TilltalError: C110 for an unknown namespace.
    """
    if namespace == PROFILE:
        try:
            profile = parse_profile(value)
        except ValueError:
            return None
        return profile if await store.states([profile]) else None
    token = force.token(namespace, value)
    spans = {} if token is None else await store.owners([token])
    return owner_at(spans[token], micros(now)) if token in spans else None


async def members(
    store: OperationalStore, force: InForce, audience: str, after: str | None, limit: int
) -> MemberPage | None:
    """Return a page of an audience's members, or None if there is no such audience."""
    if audience not in force.workspace.audiences:
        return None
    place = None if after is None else _profile(after)
    rows = await store.members(audience, after=place, limit=limit)
    return MemberPage(
        audience=audience,
        members=tuple(Member(profile=profile_text(one), since=instant_of(since)) for one, since in rows),
        next_after=profile_text(rows[-1][0]) if len(rows) == limit else None,
    )


class Reader:
    """Reads customers."""

    def __init__(self, store: OperationalStore, force: InForce, past: Past) -> None:
        self._store = store
        self._force = force
        self._past = past

    async def profile(
        self, profile: int, as_of: datetime, names: Sequence[str], *, with_identity: bool
    ) -> ProfileAnswer:
        """Return all that is known of a customer as of an instant.

        Raises:
            TilltalError: C115 for a name that the workspace does not have.
        """
        program, clock = self._force.program, Clock(as_of, self._force.workspace.zone)
        for name in names:
            if name not in program.names:
                valid = nearest(name, program.names)
                raise TilltalError.of("C115", f"A profile has no {name!r}.", valid=valid)
        spans = await self._store.tokens_of(profile)
        state = await self._state(profile, spans, clock)
        values = program.values(state, clock, names or None)
        traits, attributes = expanded_traits(self._force.workspace), record_attributes(self._force.workspace)
        is_whole = not names
        rows = await self._rows(profile, spans) if is_whole else []
        return ProfileAnswer(
            profile=profile_text(profile),
            as_of=as_of,
            definitions=self._force.version,
            attributes=_part(values, attributes),
            traits=_part(values, traits),
            segments={name: value for name, value in values.items() if name.split(".", 1)[0] in _SEGMENTS},
            scores=scores_of(values),
            consents=_consents(self._facts(rows, clock)),
            holdings=_holdings(self._facts(rows, clock)),
            audiences=await self._audiences(profile, values, as_of),
            identities=await self._identities(spans, with_identity=with_identity) if is_whole else (),
            contacts=counted(await contacts_of(self._store, profile), micros(as_of)) if is_whole else {},
        )

    async def timeline(self, profile: int, before: datetime, limit: int, now: datetime) -> Timeline:
        """Return what happened before an instant, latest first; contacts as they stand now."""
        spans = await self._store.tokens_of(profile)
        found: list[Logged | Entry] = [
            *await self._rows(profile, spans),
            *await contacts_of(self._store, profile),
        ]
        rows = [row for row in found if row.at < micros(before)]
        rows.sort(key=_when, reverse=True)
        page = rows[:limit]
        if len(rows) > limit:  # no instant is on two pages
            page += [row for row in rows[limit:] if row.at == page[-1].at]
        return Timeline(
            profile=profile_text(profile),
            entries=tuple(
                line(row, micros(now)) if isinstance(row, Entry) else self._line(row) for row in page
            ),
            next_before=instant_of(page[-1].at) if len(rows) > len(page) else None,
        )

    def _line(self, row: Logged) -> TimelineEntry:
        divisor = minor_per_major(self._force.workspace.currency)
        return TimelineEntry(
            at=instant_of(row.at),
            kind=row.kind,
            name=row.name,
            source=row.source,
            fields=_in_major(message_of(row.body)[1], self._money_of(row), divisor),
        )

    def _money_of(self, row: Logged) -> frozenset[str]:
        """Return the fields of a row that hold money."""
        workspace = self._force.workspace
        if row.kind == "event":
            fields = event_fields(workspace).get(row.name, {})
        else:
            source = workspace.sources.get(row.source)
            fields = {} if source is None else kept_fields(source)
        return frozenset(name for name, kind in fields.items() if kind == "money")

    async def _state(self, profile: int, spans: Sequence[Owned], clock: Clock) -> ProfileState:
        """Return a customer's state: the stored one, or for a past instant one made anew."""
        program = self._force.program
        stored = (await self._store.states([profile])).get(profile)
        state = program.new() if stored is None else program.decode(stored.data)
        if stored is not None and (state.until is None or micros(clock.now) >= state.until):
            return state
        again = program.new()
        again.is_known, again.lookalikes = state.is_known, state.lookalikes
        for row in await self._rows(profile, spans):
            fact = self._force.reader.read(row)
            if fact is not None and max(row.at, row.received) <= micros(clock.now):
                program.add(again, row.token, fact, clock)
        return again

    async def _rows(self, profile: int, spans: Sequence[Owned]) -> list[Logged]:
        """Return every row of a customer: from the log and from Parquet."""
        tokens = {span.token for span in spans}
        owners = await self._store.owners(tokens)
        rows = await rows_of(self._store, self._past.rows_of, tokens)
        return [row for row in rows if owner_at(owners[row.token], row.at) == profile]

    def _facts(self, rows: Iterable[Logged], clock: Clock) -> list[Any]:
        now = micros(clock.now)
        known = (row for row in rows if max(row.at, row.received) <= now)
        return [fact for row in known if (fact := self._force.reader.read(row)) is not None]

    async def _audiences(
        self, profile: int, values: Mapping[str, object], as_of: datetime
    ) -> dict[str, datetime | None]:
        """Return the audiences that held a customer then; since when, if that membership still lasts."""
        since = await self._store.memberships(profile)
        held = (name for name, value in values.items() if name.startswith("audience.") and value is True)
        names = sorted(name.removeprefix("audience.") for name in held)
        lasting = {name: instant_of(at) for name, at in since.items() if at <= micros(as_of)}
        return {name: lasting.get(name) for name in names}

    async def _identities(self, spans: Sequence[Owned], *, with_identity: bool) -> tuple[KnownBy, ...]:
        known = await self._store.identities({span.token for span in spans})
        by_namespace: dict[str, list[int]] = {}
        for one in known.values():
            by_namespace.setdefault(one.namespace, []).append(one.token)
        return tuple(
            KnownBy(
                namespace=namespace,
                count=len(tokens),
                values=self._values(known, tokens) if with_identity else None,
            )
            for namespace, tokens in sorted(by_namespace.items())
        )

    def _values(self, known: Mapping[int, Any], tokens: Iterable[int]) -> tuple[str, ...]:
        plain = [known[token].value for token in tokens if known[token].value is not None]
        direct = [token for token in tokens if known[token].value is None]
        return tuple(sorted([*plain, *self._force.desk.direct(direct)]))


def _when(row: Logged | Entry) -> tuple[int, int]:
    return row.at, row.position if isinstance(row, Logged) else -1


def _in_major(fields: Mapping[str, object], money: Collection[str], divisor: int) -> dict[str, object]:
    """Return fields with their money, which is kept in whole minor units, as numbers of the currency."""
    return {
        name: value / divisor if name in money and isinstance(value, int) else value
        for name, value in fields.items()
    }


def _part(values: Mapping[str, object], names: Iterable[str]) -> dict[str, object]:
    return {name: values[name] for name in names if name in values}


def _consents(facts: Iterable[Any]) -> tuple[ConsentAnswer, ...]:
    """Return the latest answer of each purpose and channel; of answers at the same instant a refusal."""
    latest: dict[tuple[str, str], ConsentFact] = {}
    for fact in facts:
        if isinstance(fact, ConsentFact):
            key = (fact.purpose, fact.channel)
            if key not in latest or (fact.at, not fact.granted) >= (latest[key].at, not latest[key].granted):
                latest[key] = fact
    return tuple(
        ConsentAnswer(
            purpose=purpose,
            channel=None if channel == "*" else channel,
            is_granted=fact.granted,
            since=fact.at,
        )
        for (purpose, channel), fact in sorted(latest.items())
    )


def _holdings(facts: Iterable[Any]) -> tuple[HoldingAnswer, ...]:
    latest: dict[tuple[str, str], HoldingFact] = {}
    for fact in facts:
        if isinstance(fact, HoldingFact):
            key = (fact.product, fact.opened.isoformat())
            if key not in latest or fact.received >= latest[key].received:
                latest[key] = fact
    return tuple(
        HoldingAnswer(product=fact.product, opened=fact.opened, closed=fact.closed)
        for _, fact in sorted(latest.items())
    )


def _profile(text: str) -> int:
    try:
        return parse_profile(text)
    except ValueError as error:
        raise TilltalError.of("C116", f"{text!r} is no profile.") from error
