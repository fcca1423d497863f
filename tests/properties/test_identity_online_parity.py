"""Identity message by message: after each one, every identifier is whose a refresh would say it is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties.test_identity_resolution import EPOCH, NAMES, World, identifier, token, worlds

from tilltal.core.instants import micros
from tilltal.core.operational import Identified, Observed, Owned
from tilltal.customers.identity.bulk import OBSERVATIONS, resolve_table
from tilltal.customers.identity.corrections import Correction, Corrections, in_force
from tilltal.customers.identity.evidence import within_calendar
from tilltal.customers.identity.online.resolver import (
    Moves,
    OnlineIdentity,
    Passage,
    Settled,
    is_shared,
    owner_at,
)
from tilltal.customers.identity.rules import NamespaceRule, Rules
from tilltal.customers.identity.values import Observation
from tilltal.runtime.live.intake.components import Component


@given(worlds(), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_online_is_as_a_refresh_after_every_message(world: World, seed: int) -> None:
    live_through(world, Random(seed))


@pytest.mark.slow
@given(worlds(), st.integers(0, 2**32))
@settings(max_examples=2000, deadline=None)
def test_online_is_as_a_refresh_over_many_worlds(world: World, seed: int) -> None:
    live_through(world, Random(seed))


def live_through(world: World, random: Random) -> Live:
    """Let observations and corrections arrive; compare with a refresh after each."""
    rules = varied(world.rules, random)
    live = Live(rules, random)
    decided: list[Correction] = []
    for one in calm(world, rules, random) if random.random() < 0.5 else wild(world, rules, random):
        if isinstance(one, Correction):
            decided.append(one)
            live.correct(in_force(decided, rules).translated(token))
        else:
            live.take(one)
        live.compare()
    return live


def wild(world: World, rules: Rules, random: Random) -> list[Observed | Correction]:
    """Everything in any order."""
    messages = [seen for one in world.observations if (seen := observed(one, rules)).ids]
    arrivals: list[Observed | Correction] = [*messages, *world.corrections]
    random.shuffle(arrivals)
    return arrivals


def calm(world: World, rules: Rules, random: Random) -> list[Observed | Correction]:
    """Two people who come again and again, mostly in order of time and under their own identifiers."""
    own = [[1, 1001, 2001, 3001, 4001], [2, 1002, 2002, 3002, 4002]]
    arrivals: list[Observed | Correction] = []
    for n in range(16):
        pool = own[random.random() < 0.3]
        ids = random.sample(pool, random.choice([1, 2, 2, 3]))
        if random.random() < 0.08:
            ids.append(random.choice(own[0] + own[1]))
        at = EPOCH + timedelta(hours=n if random.random() < 0.85 else random.randrange(16))
        arrivals.append(
            observed(Observation(id=f"o{n}", at=at, ids=tuple(identifier(one) for one in ids)), rules)
        )
    for correction in world.corrections:
        if random.random() < 0.2:
            arrivals.insert(random.randrange(len(arrivals)), correction)
    return arrivals


def varied(rules: Rules, random: Random) -> Rules:
    """Now and then: values shared at once, and devices that stand above people."""
    namespaces = list(rules.namespaces)
    if random.random() < 0.15:
        at = random.randrange(len(namespaces))
        namespaces[at] = msgspec.structs.replace(namespaces[at], shared_after=1)
    if random.random() < 0.15:
        random.shuffle(namespaces)
    elif random.random() < 0.6:
        return with_walls(rules, namespaces)
    return msgspec.structs.replace(rules, namespaces=tuple(namespaces))


def with_walls(rules: Rules, namespaces: Sequence[NamespaceRule]) -> Rules:
    """Return rules under which a device says nothing of other identifiers."""
    loose = [
        one if one.is_person else msgspec.structs.replace(one, is_unique=False, limit=None)
        for one in namespaces
    ]
    return msgspec.structs.replace(rules, namespaces=tuple(loose), max_ids=None, is_bridging=False)


def observed(one: Observation, rules: Rules) -> Observed:
    """Take an observation as a message of tokens at one instant, the leading one first."""
    ids = sorted({(rules.number(each.namespace), each.namespace, token(each)) for each in one.ids})
    return Observed(one.id, micros(one.at), tuple((name, number) for _, name, number in ids))


class Live:
    """A server of few lines: a log, what was seen together, owners, and the fragments of state."""

    def __init__(self, rules: Rules, random: Random) -> None:
        self.rules, self.random = rules, random
        self.corrections: Corrections[int] = Corrections()
        self.identity = OnlineIdentity(rules)
        self.log: list[Observed] = []
        self.together: list[Observed] = []
        self.owners: dict[int, tuple[Owned, ...]] = {}
        self.known: dict[int, bool] = {}
        self.fragments: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
        self.ways: Counter[str] = Counter()

    def take(self, message: Observed) -> None:
        """Take a message the cheapest way there is."""
        spans = {one: self.owners[one] for _, one in message.ids if one in self.owners}
        leading = message.ids[0][1]
        plain = self.identity.plain(spans, message.ids, message.at)
        way = "plain"
        if plain is None:
            way = self.changed_by(message, spans)
        self.ways[way] += 1
        self.log.append(message)
        if len(message.ids) > 1:
            self.together.append(message)
        profile = owner_at(self.owners[leading], message.at)
        assert plain is None or plain.profile == profile
        if profile is not None:
            self.fragments[leading, profile][message.id] += 1

    def changed_by(self, message: Observed, spans: Mapping[int, tuple[Owned, ...]]) -> str:
        namespace, first = message.ids[0]
        if len(message.ids) == 1 and not spans:
            own = self.identity.alone(namespace, first, message.at)
            if own is not None:
                self.owners[first] = (own,)
                self.known[first] = self.rules.namespaces[self.rules.number(namespace)].is_person
                return "alone"
        stretched = self.identity.stretched(spans, message)
        if stretched is not None:
            self.move(stretched)
            return "stretched"
        if self.random.random() < 0.6:
            self.settled(self.read_no_more_than_must_be(message))
            return "settled within walls" if self.identity.walls else "settled"
        seen, shared = self.component((one for _, one in message.ids), is_cut=self.random.random() < 0.7)
        self.settled(self.identity.settle([*seen, message], self.owners, shared))
        return "settled"

    def read_no_more_than_must_be(self, message: Observed) -> Settled:
        """Settle a message as the server does."""
        known: dict[int, tuple[Owned, ...]] = {}
        together = [*self.together, *([message] if len(message.ids) > 1 else [])]
        reads: Any = Written(together, self.owners)
        component = Component(reads, self.identity, known, {}, [message])
        return done(component.settle(message.ids))

    def correct(self, corrections: Corrections[int]) -> None:
        """Settle anew whatever other corrections touch."""
        earlier, self.identity = self.identity, OnlineIdentity(self.rules, corrections)
        self.corrections = corrections
        tokens, ids = self.identity.changed_since(earlier)
        named = [one for one in self.log if one.id in ids or any(each in tokens for _, each in one.ids)]
        if named:
            seen, _ = self.component((each for one in named for _, each in one.ids), is_cut=False)
            self.settled(self.identity.settle([*seen, *named], self.owners))

    def component(self, seeds: Iterable[int], *, is_cut: bool) -> tuple[list[Observed], set[int]]:
        """Return what was seen of the identifiers reached from some, and the shared ones not passed."""
        reached, shared, pending = set[int](), set[int](), set(seeds)
        while pending:
            reached |= pending
            shared |= {
                one for one in pending if is_cut and one in self.owners and is_shared(self.owners[one])
            }
            inside = reached - shared
            seen = [one for one in self.together if any(each in inside for _, each in one.ids)]
            pending = {each for one in seen for _, each in one.ids} | self.identity.tied(reached)
            pending -= reached
        return seen, shared

    def settled(self, settled: Settled) -> None:
        self.move(settled.owners)
        others = {one: known for one, known in self.known.items() if one not in settled.owners}
        self.known = others | settled.is_known

    def move(self, after: Mapping[int, tuple[Owned, ...]]) -> None:
        """Let fragments follow their owners, as little as `changes` asks for."""
        moves: Moves = self.identity.changes(self.owners, after)
        parts = [(one, self.fragments.pop((one.token, one.old), Counter())) for one in moves.whole]
        for move, part in parts:
            if move.new is not None:
                self.fragments[move.token, move.new] += part
        for one in moves.passages:
            rows = Counter(row.id for row in self.log if is_within(row, one))
            if one.old is not None:
                self.fragments[one.token, one.old] -= rows
            if one.new is not None:
                self.fragments[one.token, one.new] += rows
        self.owners.update(moves.owners)
        owning = {span.profile for spans in self.owners.values() for span in spans}
        assert not moves.gone & owning

    def compare(self) -> None:
        """Compare with a refresh of everything that arrived."""
        refresh = Refresh(self.log, self.rules, self.corrections)
        assert self.owners.keys() == refresh.first.keys()
        for one, spans in self.owners.items():
            assert spans[0].valid_from == refresh.first[one]
            assert spans[-1].valid_to is None
            assert all(a.valid_to == b.valid_from for a, b in pairwise(spans))
            for at in refresh.instants(one, spans):
                assert owner_at(spans, at) == refresh.owner(one, at), (one, at)
        assert self.known == refresh.known
        fragments: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
        for row in self.log:
            profile = refresh.owner(row.ids[0][1], row.at)
            if profile is not None:
                fragments[row.ids[0][1], profile][row.id] += 1
        assert {key: rows for key, rows in self.fragments.items() if rows} == fragments


def done(work: Coroutine[Any, Any, Settled]) -> Settled:
    """Run work that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        settled: Settled = end.value
        return settled
    raise AssertionError("it waited")


class Written:
    """What a store answers."""

    def __init__(self, together: Sequence[Observed], spans: Mapping[int, tuple[Owned, ...]]) -> None:
        self._together, self._spans = together, spans

    async def owners(self, tokens: Iterable[int]) -> dict[int, tuple[Owned, ...]]:
        return {one: self._spans[one] for one in tokens if one in self._spans}

    async def identities(self, tokens: Iterable[int]) -> dict[int, Identified]:
        return {one: Identified(one, NAMES[one // 1000], None) for one in tokens}

    async def tokens_of(self, profile: int) -> list[Owned]:
        return [span for spans in self._spans.values() for span in spans if span.profile == profile]

    async def component(self, tokens: Iterable[int], through: Sequence[str] | None) -> list[Observed]:
        reached, pending = set[int](), set(tokens)
        while pending:
            reached |= pending
            seen = [one for one in self._together if any(each in reached for _, each in one.ids)]
            pending = {each for one in seen for name, each in one.ids if self._leads(name, each, through)}
            pending -= reached
        return [one for one in self._together if any(each in reached for _, each in one.ids)]

    def _leads(self, name: str, token: int, through: Sequence[str] | None) -> bool:
        is_free = token not in self._spans or not is_shared(self._spans[token])
        return through is None or (name in through and is_free)


def is_within(row: Observed, span: Passage) -> bool:
    is_before_end = span.until is None or row.at < span.until
    return row.ids[0][1] == span.token and span.since <= row.at and is_before_end


class Refresh:
    """The batch: tables of identity from all observations, asked as the views of history ask them."""

    def __init__(self, log: Iterable[Observed], rules: Rules, corrections: Corrections[int]) -> None:
        self.first: dict[int, int] = {}
        rows = []
        for one in log:
            at = within_calendar(one.at).replace(tzinfo=None)
            ids = [{"namespace": namespace, "token": each} for namespace, each in one.ids]
            rows.append({"observation": one.id, "at": at, "last_at": at, "ids": ids})
            for _, each in one.ids:
                self.first[each] = min(one.at, self.first.get(each, one.at))
        tables = resolve_table(pa.Table.from_pylist(rows, OBSERVATIONS), rules, corrections) if rows else None
        self.spans: dict[int, list[tuple[int, int | None, int]]] = defaultdict(list)
        self.known: dict[int, bool] = {}
        if tables is not None:
            for row in tables.identity_map.to_pylist():
                end = None if row["valid_to"] is None else stamp(row["valid_to"])
                self.spans[row["identity"]].append((stamp(row["valid_from"]), end, row["profile"]))
            self.known = {row["profile"]: row["is_known"] for row in tables.spine.to_pylist()}

    def owner(self, one: int, at: int) -> int | None:
        """Return the profile of an identifier's row at an instant; None where views leave it out."""
        rows = [span for span in self.spans[one] if span[0] <= at and (span[1] is None or at < span[1])]
        profile = rows[0][2] if rows else one
        return profile if profile in self.known else None

    def instants(self, one: int, spans: Iterable[Owned]) -> set[int]:
        """Return every instant at which an owner may change, the one before, and the first."""
        edges = {edge for start, end, _ in self.spans[one] for edge in (start, end) if edge is not None}
        edges |= {span.valid_from for span in spans if span.valid_from is not None}
        near = {at for edge in edges for at in (edge - 1, edge)}
        return {at for at in near if at >= self.first[one]} | {self.first[one]}


def stamp(instant: datetime) -> int:
    return micros(instant.replace(tzinfo=UTC))
