"""One suite for both operational stores: what the port promises, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.postgres_server import PostgresServer, postgres

from tilltal.core.errors import EngineError
from tilltal.core.operational import (
    Answered,
    ApiKey,
    Change,
    Contacted,
    Decided,
    Identified,
    Logged,
    Membership,
    Observed,
    OperationalStore,
    Owned,
    State,
    Waiting,
    Writes,
    is_retryable,
)
from tilltal.customers.identity.online.spans import owner_at
from tilltal.engines.operational import postgres_writes, sqlite_connection, sqlite_writes
from tilltal.engines.operational.opening import open_store
from tilltal.engines.operational.steps import VERSION_TABLE, Kind, steps
from tilltal.engines.sqlite import open_sqlite

__all__ = ["postgres"]
pytestmark = pytest.mark.anyio
LARGEST = 2**63 - 1


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def place(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Where a new store goes."""
    if kind == "sqlite":
        return str(tmp_path / "store.db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_dsn()


@pytest.fixture
async def store(place: str) -> AsyncIterator[OperationalStore]:
    opened = await open_store(place)
    yield opened
    await opened.close()


def event(number: int, token: int = 7, at: int | None = None, **changes: Any) -> Logged:
    values: dict[str, Any] = {
        "event_id": number.to_bytes(16, "big"),
        "token": token,
        "ids": (token,),
        "kind": "event",
        "name": "page",
        "source": "web",
        "at": number if at is None else at,
        "received": number + 5,
        "body": b"\x81\xa1a\x01",
    }
    return Logged(**values | changes)


def observed(name: str, *tokens: int, at: int = 0) -> Observed:
    return Observed(name, at, tuple((f"n{token % 3}", token) for token in tokens))


def change(at: int, name: str = "buyers") -> Change:
    return Change(at=at, profile=at * 10, kind="entered", name=name, body=b"x")


def response(number: int, decision: bytes, at: int) -> Answered:
    return Answered(
        id=number.to_bytes(16, "big"),
        decision=decision,
        action="card",
        channel="app",
        kind="click",
        at=at,
        received=at + 1,
    )


async def write(store: OperationalStore, **parts: Any) -> None:
    async with store.transaction() as tx:
        await tx.write(Writes(**parts))


async def positions(store: OperationalStore) -> list[int]:
    return [item.position for item in await store.log_after(0, 1000)]


def same(left: Iterable[Logged], right: Iterable[Logged]) -> bool:
    """Equal but for positions."""
    return [item.event_id for item in left] == [item.event_id for item in right]


# The log


async def test_a_log_row_comes_back_as_it_was_written(store: OperationalStore) -> None:
    item = event(
        1,
        token=LARGEST,
        ids=(LARGEST, 0, 12),
        kind="record",
        name="crm_customers",
        source="crm",
        at=-62_135_596_800_000_000,
        received=253_402_300_799_999_999,
        body=bytes(range(256)) * 40,
    )
    await write(store, log=[item])
    (found,) = await store.log_after(0, 10)
    assert found.position == 1
    assert found == event(
        1,
        **{
            name: getattr(item, name)
            for name in item.__struct_fields__
            if name not in ("event_id", "position")
        },
        position=1,
    )


async def test_positions_go_up_by_one_in_the_order_of_writing(store: OperationalStore) -> None:
    async with store.transaction() as tx:
        await tx.write(Writes(log=[event(3), event(1)]))
        await tx.write(Writes(log=[event(2)]))
    await write(store, log=[event(4)])
    found = await store.log_after(0, 10)
    assert [(item.position, item.at) for item in found] == [(1, 3), (2, 1), (3, 2), (4, 4)]
    assert [item.position for item in await store.log_after(2, 1)] == [3]
    assert await store.log_after(4, 10) == []


async def test_the_ends_of_the_log_are_told(store: OperationalStore) -> None:
    assert await store.log_ends(10) is None
    await write(store, log=[event(number) for number in range(5)])
    assert await store.log_ends(10) == (1, 5)
    assert await store.log_ends(3) == (1, 3)
    async with store.transaction() as tx:
        await tx.drop_log(2)
    assert await store.log_ends(2) == (3, 4)


async def test_known_ids_are_told_among_many(store: OperationalStore) -> None:
    await write(store, log=[event(number) for number in range(0, 3000, 3)])
    asked = [number.to_bytes(16, "big") for number in range(1500)]
    assert await store.known_ids(asked) == {number.to_bytes(16, "big") for number in range(0, 1500, 3)}
    assert await store.known_ids([]) == set()


async def test_an_id_is_accepted_once(store: OperationalStore) -> None:
    await write(store, log=[event(1)])
    with pytest.raises(EngineError) as raised:
        await write(store, log=[event(2), event(1)], marks={"a": b"1"})
    assert raised.value.faults[0].code == "E531"
    assert is_retryable(raised.value)
    assert await positions(store) == [1]
    assert await store.mark("a") is None
    assert await store.known_ids([event(2).event_id]) == set()


async def test_an_id_twice_in_one_batch_is_refused(store: OperationalStore) -> None:
    with pytest.raises(EngineError, match="E531"):
        await write(store, log=[event(1), event(1)])
    assert await positions(store) == []


async def test_events_of_tokens_are_the_latest_in_order_of_time(store: OperationalStore) -> None:
    rows = [event(1, 7, 50), event(2, 8, 20), event(3, 9, 30), event(4, 7, 10), event(5, 8, 50)]
    await write(store, log=rows)
    found = await store.events_of([7, 8])
    assert [item.event_id[-1] for item in found] == [4, 2, 1, 5]
    assert [item.event_id[-1] for item in await store.events_of([7, 8], limit=2)] == [1, 5]
    assert [item.event_id[-1] for item in await store.events_of([7, 8, 8], since=20, until=50)] == [2]
    assert await store.events_of([6]) == await store.events_of([]) == []


async def test_a_dropped_log_keeps_its_ids_and_its_positions(store: OperationalStore) -> None:
    await write(store, log=[event(number) for number in range(1, 6)])
    async with store.transaction() as tx:
        assert await tx.drop_log(3) == 3
    assert await positions(store) == [4, 5]
    assert (await store.sizes())["log"] == 2
    assert await store.known_ids([event(2).event_id]) == {event(2).event_id}
    async with store.transaction() as tx:
        assert await tx.drop_log(100) == 2
        assert await tx.drop_log(100) == 0
    await write(store, log=[event(9)])
    assert await positions(store) == [6]
    with pytest.raises(EngineError, match="E531"):
        await write(store, log=[event(2)])


async def test_the_log_is_dropped_in_portions(
    store: OperationalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writes, "PORTION", 3)
    monkeypatch.setattr(postgres_writes, "PORTION", 3)
    await write(store, log=[event(number) for number in range(1, 9)])
    portions = []
    for _ in range(4):
        async with store.transaction() as tx:
            portions.append(await tx.drop_log(7))
    assert portions == [3, 3, 1, 0]
    assert await positions(store) == [8]


# Identities


async def test_owners_replace_all_spans_of_a_token(store: OperationalStore) -> None:
    first = (Owned(1, None, 50, 100), Owned(1, 50, 80, None, is_plain=False), Owned(1, 80, None, 200))
    await write(store, owners={1: first, LARGEST: (Owned(LARGEST, None, None, 100),)})
    assert await store.owners([1, 2, LARGEST, 1]) == {1: first, LARGEST: (Owned(LARGEST, None, None, 100),)}
    assert await store.tokens_of(100) == [first[0], Owned(LARGEST, None, None, 100)]
    await write(store, owners={1: (Owned(1, None, None, 300),), LARGEST: ()})
    assert await store.owners([1, LARGEST]) == {1: (Owned(1, None, None, 300),)}
    assert await store.tokens_of(200) == []
    assert await store.owners([]) == {}


async def test_whose_is_the_owner_at_the_instant_as_the_spans_say(store: OperationalStore) -> None:
    seeded = random.Random(6)
    spans: dict[int, tuple[Owned, ...]] = {}
    for token in range(40):
        cuts = sorted(seeded.sample(range(100), seeded.choice([0, 0, 1, 2, 3])))
        starts = [seeded.choice([None, -5]), *cuts]
        ends = [*cuts, None]
        spans[token] = tuple(
            Owned(token, start, end, seeded.choice([None, 1000 + seeded.randrange(9)]))
            for start, end in zip(starts, ends, strict=True)
        )
    kept = [State(1000 + number, b"state", number) for number in range(0, 9, 2)]
    await write(store, owners=spans, states=kept)
    by_profile = {state.profile: state for state in kept}
    for _ in range(200):
        tokens = seeded.sample(range(50), seeded.choice([0, 1, 1, 2, 4]))
        at = seeded.randrange(-20, 120)
        owners = (owner_at(spans[token], at) for token in tokens if token in spans)
        expected = next((owner for owner in owners if owner is not None), None)
        state = None if expected is None else by_profile.get(expected)
        assert await store.whose(tokens, at) == (expected, state)


async def test_identities_stay_as_they_came_first(store: OperationalStore) -> None:
    first = [Identified(1, "cookie", "a\0ö"), Identified(2, "email", None), Identified(3, "cookie", "")]
    await write(store, identities=first)
    await write(store, identities=[Identified(1, "device", "other"), Identified(4, "cookie", "d")])
    found = await store.identities([1, 2, 3, 4, 5])
    assert found == {item.token: item for item in [*first, Identified(4, "cookie", "d")]}


async def test_a_component_is_everything_reachable(store: OperationalStore) -> None:
    chain = [observed(f"web:{number}", number, number + 1, at=number) for number in range(40)]
    apart = [observed("web:x\0y", 100, 101, 102), observed("app:1", 102, 103)]
    await write(store, observations=[*chain, *apart])
    assert sorted(await store.component([20]), key=lambda item: item.at) == chain
    assert {item.id for item in await store.component([103])} == {"web:x\0y", "app:1"}
    assert {item.id: item for item in await store.component([101])}["web:x\0y"] == apart[0]
    assert len(await store.component([0, 100])) == 42
    assert await store.component([999]) == await store.component([]) == []


async def test_a_component_is_cut_at_shared_values_and_other_namespaces(store: OperationalStore) -> None:
    """`observed` gives token t the namespace n0, n1 or n2 by its remainder."""
    chain = [observed("a:1", 1, 3), observed("a:2", 3, 6), observed("a:3", 6, 9), observed("a:4", 9, 2)]
    await write(store, observations=chain)
    shared, nobody = Owned(6, 0, None, None), Owned(3, 0, None, None, is_plain=False)
    await write(store, owners={3: (nobody, Owned(3, 5, None, 1)), 9: (Owned(9, 0, None, 9),)})

    async def names(*tokens: int, through: Sequence[str]) -> set[str]:
        return {one.id for one in await store.component(tokens, through)}

    assert await names(1, through=["n0", "n1", "n2"]) == {"a:1", "a:2", "a:3", "a:4"}
    assert await names(1, through=["n1"]) == {"a:1"}
    assert await names(1, through=["n0"]) == {"a:1", "a:2", "a:3", "a:4"}
    assert await names(2, through=[]) == {"a:4"}
    await write(store, owners={6: (shared,)})
    assert await names(1, through=["n0", "n1"]) == {"a:1", "a:2"}
    assert await names(6, through=["n0"]) == {"a:1", "a:2", "a:3", "a:4"}  # what is asked for leads on


@asynccontextmanager
async def servers(place: str, count: int) -> AsyncIterator[list[OperationalStore]]:
    """Open one store as several servers do."""
    stores = [await open_store(place) for _ in range(count)]
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()


async def take(store: OperationalStore, owner: str, seconds: float, name: str = "work") -> bool:
    async with store.transaction() as tx:
        return await tx.lease(name, owner, seconds)


async def test_a_lease_has_one_owner_until_it_ends(place: str) -> None:
    async with servers(place, 2) as (one, other):
        assert await take(one, "one", 60)
        assert not await take(other, "other", 60)
        assert await take(other, "other", 60, name="other work")
        assert await take(one, "one", 0)
        assert await take(other, "other", 0.2)
        assert not await take(one, "one", 60)
        await asyncio.sleep(0.25)
        assert await take(one, "one", 60)


async def test_of_many_that_ask_at_once_one_has_the_lease(place: str) -> None:
    async with servers(place, 4) as stores:
        asked = (take(stores[number % 4], f"{number}", 60) for number in range(16))
        assert sum(await asyncio.gather(*asked)) == 1


async def test_keys_put_at_the_same_moment_both_stay(store: OperationalStore) -> None:
    """Each reads the keys and puts a stricter one, as rotating and revoking do."""
    key = ApiKey(id="k", name="k", hash=b"h", scopes=("read",), created=1)
    async with store.transaction() as tx:
        await tx.put_api_key(key)

    async def change(**values: int) -> None:
        async with store.transaction() as tx:
            (found,) = await tx.api_keys()
            await asyncio.sleep(0.05)
            await tx.put_api_key(msgspec.structs.replace(found, **values))

    await asyncio.gather(change(revoked=5), change(expires=9))
    assert await store.api_keys() == [msgspec.structs.replace(key, revoked=5, expires=9)]


async def test_old_decisions_are_found_with_what_came_of_them(store: OperationalStore) -> None:
    made = [Decided(id=bytes([number]) * 16, at=9 - number, profile=None, body=b"") for number in range(5)]
    answers = [response(number, made[number % 3].id, 20) for number in range(7)]
    await write(store, decisions=made, responses=answers)
    assert await store.decisions_before(8, 2) == [made[4], made[3]]
    assert await store.decisions_before(8, 9) == [made[4], made[3], made[2]]
    asked = [made[1].id, made[2].id, made[4].id, b"?" * 16]
    found = await store.responses_to(asked)
    assert sorted(one.id for one in found) == [answers[number].id for number in (1, 2, 4, 5)]
    assert await store.responses_to([]) == []


async def test_changes_and_decisions_are_forgotten_apart(store: OperationalStore) -> None:
    made = [Decided(id=bytes([number]) * 16, at=number, profile=None, body=b"") for number in range(4)]
    await write(store, decisions=made, changes=[change(number) for number in range(4)])
    async with store.transaction() as tx:
        await tx.drop_decisions([one.id for one in made[:2]])
    assert len(await store.changes_after(0, 9)) == 4
    async with store.transaction() as tx:
        assert await tx.forget(3) == 3
    assert [one.at for one in await store.changes_after(0, 9)] == [3]
    assert await store.decisions_before(9, 9) == made[2:]


async def test_a_component_equals_a_search_by_hand(store: OperationalStore) -> None:
    seeded = random.Random(5)
    links = [observed(f"s:{n}", *seeded.sample(range(120), seeded.choice([2, 2, 2, 3]))) for n in range(70)]
    await write(store, observations=links)
    for start in range(0, 120, 7):
        reached, before = {start}, set[int]()
        while reached != before:
            before = set(reached)
            reached |= {t for link in links for _, t in link.ids if reached & {u for _, u in link.ids}}
        expected = {link.id for link in links if reached & {token for _, token in link.ids}}
        assert {item.id for item in await store.component([start])} == expected


async def test_observations_are_found_by_their_ids(store: OperationalStore) -> None:
    seen = [observed("a:1", 3, 1, 2), observed("å:\0#last", 1, 5, at=7), observed("b:1", 8, 9)]
    await write(store, observations=seen)
    assert await store.observations_named(["å:\0#last", "a:1", "nobody", "a:1"]) == seen[:2]
    assert await store.observations_named([]) == []
    many = [observed(f"m:{number}", number, number + 1) for number in range(2000)]
    await write(store, observations=many)
    found = await store.observations_named([each.id for each in many])
    assert found == sorted(many, key=lambda each: each.id)


async def test_an_observation_counts_once(store: OperationalStore) -> None:
    await write(store, observations=[observed("a:1", 1, 2), observed("a:1", 3, 4)])
    await write(store, observations=[observed("a:1", 5, 6)])
    assert await store.component([2]) == [observed("a:1", 1, 2)]
    assert await store.component([3, 5]) == []


# Profiles, what is due, members


async def test_states_are_put_replaced_and_removed(store: OperationalStore) -> None:
    data = random.Random(1).randbytes(6000)
    await write(store, states=[State(1, b"", None), State(LARGEST, data, 5), State(3, b"\0", 9)])
    assert await store.states([1, LARGEST, 2]) == {1: State(1, b"", None), LARGEST: State(LARGEST, data, 5)}
    await write(store, states=[State(1, b"old", 3), State(1, b"new", 4)], gone=[3])
    assert await store.states([1, 3]) == {1: State(1, b"new", 4)}
    assert await store.states([]) == {}
    assert (await store.sizes())["profiles"] == 2


async def test_profiles_are_told_page_by_page(store: OperationalStore) -> None:
    numbers = [5, -LARGEST, 0, LARGEST, -3]
    await write(store, states=[State(number, b"a") for number in numbers])
    assert await store.profiles_after(None, 9) == sorted(numbers)
    assert await store.profiles_after(None, 2) == [-LARGEST, -3]
    assert await store.profiles_after(-3, 2) == [0, 5]
    assert await store.profiles_after(LARGEST, 2) == []
    async with store.transaction() as tx:
        await tx.write(Writes(gone=[0]))
        assert await tx.profiles_after(-3, 2) == [5, LARGEST]


async def test_due_is_inclusive_in_order_and_limited(store: OperationalStore) -> None:
    dues = {1: 30, 2: 10, 3: None, 4: 20, 5: 31, 6: 10}
    await write(store, states=[State(profile, b"s", due) for profile, due in dues.items()])
    assert await store.due(30, 10) == [2, 6, 4, 1]
    assert await store.due(30, 3) == [2, 6, 4]
    assert await store.due(9, 10) == []


async def test_due_follows_every_rewrite(store: OperationalStore) -> None:
    await write(store, states=[State(1, b"a", 10), State(2, b"a", 10), State(3, b"a", None)])
    async with store.transaction() as tx:
        await tx.lock_states([1, 2, 3, 4])
        await tx.write(
            Writes(states=[State(1, b"b", 10), State(2, b"b", None), State(3, b"b", 7), State(4, b"b")])
        )
        await tx.write(Writes(states=[State(1, b"c", 9), State(3, b"c", 7)], gone=[2]))
        await tx.write(Writes(states=[State(2, b"d", 10)]))
        assert await tx.due(99, 9) == [3, 1, 2]
    assert await store.states([1, 2, 3, 4]) == {
        1: State(1, b"c", 9),
        2: State(2, b"d", 10),
        3: State(3, b"c", 7),
        4: State(4, b"b", None),
    }
    assert await store.due(99, 9) == [3, 1, 2]
    assert (await store.sizes())["profiles"] == 4


async def test_members_enter_leave_and_are_paged(store: OperationalStore) -> None:
    entered = [Membership("buyers", profile, profile + 9, True) for profile in (5, 1, -3)]
    last = Membership("buyers", LARGEST, 0, True)
    await write(store, members=[*entered, last, Membership("idle", 1, 4, True)])
    assert await store.members("buyers") == [(-3, 6), (1, 10), (5, 14), (LARGEST, 0)]
    assert await store.members("buyers", after=-3, limit=2) == [(1, 10), (5, 14)]
    assert await store.members("nobody") == []
    assert await store.memberships(1) == {"buyers": 10, "idle": 4}
    await write(store, members=[Membership("buyers", 5, 60, False), Membership("nobody", 5, 60, False)])
    assert await store.memberships(5) == {}
    await write(store, members=[Membership("idle", 1, 8, False), Membership("idle", 1, 9, True)])
    assert await store.memberships(1) == {"buyers": 10, "idle": 9}


async def test_who_is_gone_is_no_member_either(store: OperationalStore) -> None:
    await write(store, states=[State(1, b"a")], members=[Membership("buyers", 1, 4, True)])
    await write(store, gone=[1, 2])
    assert await store.members("buyers") == []
    assert await store.states([1]) == {}
    await write(store, gone=[1], states=[State(1, b"b")], members=[Membership("idle", 1, 5, True)])
    assert await store.memberships(1) == {"idle": 5}


# Changes, decisions, responses, the rest


async def test_changes_have_positions_of_their_own(store: OperationalStore) -> None:
    await write(store, changes=[change(3), change(1)], log=[event(1)])
    await write(store, changes=[change(2)])
    found = await store.changes_after(0, 10)
    assert [(item.position, item.at, item.profile, item.kind, item.name, item.body) for item in found] == [
        (1, 3, 30, "entered", "buyers", b"x"),
        (2, 1, 10, "entered", "buyers", b"x"),
        (3, 2, 20, "entered", "buyers", b"x"),
    ]
    assert [item.position for item in await store.changes_after(1, 1)] == [2]
    assert (await store.sizes())["changes"] == 3


async def test_decisions_and_responses(store: OperationalStore) -> None:
    known, unknown = Decided(id=b"d" * 16, at=5, profile=None, body=b"{}"), b"u" * 16
    await write(store, decisions=[known, Decided(id=b"e" * 16, at=6, profile=9, body=b"[]")])
    await write(store, decisions=[Decided(id=b"d" * 16, at=7, profile=1, body=b"other")])
    assert await store.decision(b"d" * 16) == known
    assert await store.decision(unknown) is None
    answers = [response(2, known.id, 9), response(1, known.id, 20), response(3, unknown, 1)]
    await write(store, responses=answers)
    assert await store.responses(known.id) == answers[:2]
    assert await store.responses(b"e" * 16) == []
    assert await store.known_responses([answers[0].id, b"0" * 16]) == {answers[0].id}
    with pytest.raises(EngineError, match="E531"):
        await write(store, responses=[response(2, known.id, 30)])


async def test_decisions_are_read_in_order_of_their_ids(store: OperationalStore) -> None:
    profiles = (4, None, 4, 7, 4)
    made = [
        Decided(id=bytes([number]) * 16, at=9 - number, profile=profile, body=b"")
        for number, profile in enumerate(profiles)
    ]
    await write(store, decisions=made[::-1])
    assert await store.decisions_after(b"", 99) == made
    assert await store.decisions_after(made[1].id, 2) == made[2:4]
    assert await store.decisions_after(b"", 2, 4) == [made[0], made[2]]
    assert await store.decisions_after(made[2].id, 2, 4) == [made[4]]
    assert await store.decisions_after(b"", 9, 5) == []


async def test_what_waits_is_put_replaced_and_removed(store: OperationalStore) -> None:
    one, two = b"d" * 16, b"e" * 16
    await write(store, waiting=[Waiting(one, "card", 9), Waiting(one, "Loan", 7), Waiting(two, "card", 7)])
    assert await store.waiting(6, 9) == []
    assert await store.waiting(7, 9) == [Waiting(one, "Loan", 7), Waiting(two, "card", 7)]
    assert await store.waiting(9, 2) == [Waiting(one, "Loan", 7), Waiting(two, "card", 7)]
    assert [await store.waits(each) for each in (one, two, b"f")] == [{"card", "Loan"}, {"card"}, set()]
    later = [Waiting(one, "card", None), Waiting(one, "card", 3), Waiting(two, "card", None)]
    async with store.transaction() as tx:
        await tx.write(Writes(waiting=[*later, Waiting(two, "never", None)]))
        assert await tx.waits(two) == set()
    assert await store.waiting(99, 9) == [Waiting(one, "card", 3), Waiting(one, "Loan", 7)]


async def forget_all(store: OperationalStore, changes: int, told: int | None = None) -> list[int]:
    """Forget until nothing is left to; returns the portions."""
    portions: list[int] = []
    while not portions or portions[-1]:
        async with store.transaction() as tx:
            portions.append(await tx.forget(changes, told=told))
    return portions


async def test_messages_are_known_without_rows_of_the_log(store: OperationalStore) -> None:
    ids = [event(number).event_id for number in (3, 1, 2)]
    await write(store, seen=ids[:2], log=[event(2)])
    assert await store.known_ids([*ids, event(4).event_id]) == set(ids)
    assert await positions(store) == [1]
    with pytest.raises(EngineError, match="E531"):
        await write(store, seen=ids[:1])


async def test_who_locks_a_mark_reads_what_the_one_before_wrote(place: str) -> None:
    one = await open_store(place)
    two = one if place.endswith(".db") else await open_store(place)

    async def count(store: OperationalStore) -> None:
        for _ in range(20):
            async with store.transaction() as tx:
                found = await tx.lock_mark("m")
                await asyncio.sleep(0)
                await tx.write(Writes(marks={"m": bytes([(found or b"\0")[0] + 1])}))

    await asyncio.gather(count(one), count(two))
    assert await one.mark("m") == bytes([40])
    for store in {one, two}:
        await store.close()


async def test_decisions_are_dropped_with_all_that_came_of_them(store: OperationalStore) -> None:
    ids = [bytes([9 - at]) * 16 for at in range(6)]
    decisions = [Decided(id=ids[at], at=at, profile=at % 2 or None, body=b"{}") for at in range(6)]
    answers = [response(at, ids[at], at + 50) for at in range(6)]
    waits = [Waiting(each, "card", 70) for each in ids]
    await write(store, decisions=decisions, responses=answers, waiting=waits)
    for _ in range(2):  # whoever is gone may go again
        async with store.transaction() as tx:
            await tx.drop_decisions([*ids[:3], b"?" * 16])
    assert [one.at for one in await store.decisions_after(b"", 9, profile=1)] == [5, 3]
    assert [await store.decision(each) is not None for each in ids] == [False] * 3 + [True] * 3
    assert await store.known_responses([each.id for each in answers]) == {each.id for each in answers[3:]}
    assert {each.decision for each in await store.waiting(99, 99)} == set(ids[3:])


@pytest.mark.parametrize("is_first", [True, False])
async def test_who_locks_decisions_waits_for_who_answers_them(place: str, *, is_first: bool) -> None:
    """And the other way round: who answers one that is being dropped finds it gone."""
    one, two = await open_store(place), await open_store(place)
    made = Decided(id=b"d" * 16, at=1, profile=None, body=b"{}")
    await write(one, decisions=[made])
    begun = asyncio.Event()

    async def answer() -> Decided | None:
        if not is_first:
            await begun.wait()
        async with one.transaction() as tx:
            found = await tx.decision(made.id)
            begun.set()
            await asyncio.sleep(0.1)
            if found is not None:
                await tx.write(Writes(responses=[response(1, made.id, 5)]))
        return found

    async def leave() -> list[Answered]:
        if is_first:
            await begun.wait()
        async with two.transaction() as tx:
            await tx.lock_decisions([made.id])
            begun.set()
            await asyncio.sleep(0.1)
            answers = await tx.responses_to([made.id])
            if not answers:
                await tx.drop_decisions([made.id])
        return answers

    found, answers = await asyncio.gather(answer(), leave())
    assert (found, answers) == ((made, [response(1, made.id, 5)]) if is_first else (None, []))
    for store in (one, two):
        await store.close()


async def test_changes_are_forgotten_from_the_first_on(
    store: OperationalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sqlite_writes, postgres_writes):
        monkeypatch.setattr(module, "PORTION", 2)
    await write(store, changes=[change(at) for at in (1, 3, 2, 8, 4, 9)])
    assert await forget_all(store, 5, told=1) == [1, 0]
    assert [item.at for item in await store.changes_after(0, 99)] == [3, 2, 8, 4, 9]
    assert await forget_all(store, 5) == [2, 0]
    assert [item.at for item in await store.changes_after(0, 99)] == [8, 4, 9]
    assert await forget_all(store, 99) == [2, 1, 0]
    await write(store, changes=[change(5)])
    assert [item.position for item in await store.changes_after(0, 99)] == [7]


async def test_adaptive_states_and_marks_are_replaced(store: OperationalStore) -> None:
    await write(store, adaptive={"a": b"1", "b": b"2"}, marks={"m": b"", "n": b"x"})
    await write(store, adaptive={"b": b"3"}, marks={"n": b"y"})
    assert await store.adaptive() == {"a": b"1", "b": b"3"}
    assert [await store.mark(name) for name in "mno"] == [b"", b"y", None]


async def test_api_keys_are_kept_and_replaced(store: OperationalStore) -> None:
    first = ApiKey(id="b", name="Web", hash=b"h", scopes=("collect", "decide"), created=2)
    second = ApiKey(id="a", name="Desk", hash=b"i", scopes=(), created=1, expires=9)
    revoked = ApiKey(id="b", name="Web", hash=b"h", scopes=("collect",), created=2, revoked=7)
    for key in (first, second, revoked):
        async with store.transaction() as tx:
            await tx.put_api_key(key)
    assert await store.api_keys() == [second, revoked]


# Transactions


async def test_nothing_stays_of_a_block_that_fails(store: OperationalStore) -> None:
    await write(store, log=[event(1)], states=[State(1, b"a")], marks={"m": b"1"})
    everything = Writes(
        log=[event(2)],
        observations=[observed("a:1", 1, 2)],
        identities=[Identified(1, "cookie", "c")],
        owners={1: (Owned(1, None, None, 1),)},
        states=[State(1, b"b"), State(2, b"b")],
        members=[Membership("buyers", 1, 1, True)],
        changes=[change(1)],
        decisions=[Decided(id=b"d", at=1, profile=1, body=b"")],
        responses=[response(1, b"d", 1)],
        adaptive={"a": b"1"},
        marks={"m": b"2"},
    )

    async def failing() -> None:
        async with store.transaction() as tx:
            await tx.write(everything)
            assert await tx.mark("m") == b"2"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    assert [await store.mark("m"), await store.adaptive(), await store.decision(b"d")] == [b"1", {}, None]
    assert [await store.owners([1]), await store.identities([1]), await store.component([1])] == [{}, {}, []]
    assert [await store.states([1, 2]), await store.memberships(1)] == [{1: State(1, b"a")}, {}]
    assert [await store.changes_after(0, 9), await store.responses(b"d")] == [[], []]
    assert await positions(store) == [1]
    await write(store, log=[event(2)], changes=[change(5)])
    assert await positions(store) == [1, 2]
    assert [item.position for item in await store.changes_after(0, 9)] == [1]


async def test_an_error_of_the_block_itself_passes_unchanged(store: OperationalStore) -> None:
    with pytest.raises(ConnectionResetError, match="another service"):
        async with store.transaction():
            raise ConnectionResetError("another service")


async def test_a_cancelled_block_leaves_nothing_and_blocks_nobody(store: OperationalStore) -> None:
    begun = asyncio.Event()

    async def endless() -> None:
        async with store.transaction() as tx:
            await tx.write(Writes(marks={"m": b"1"}))
            begun.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(endless())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await write(store, marks={"n": b"1"})
    assert [await store.mark("m"), await store.mark("n")] == [None, b"1"]


async def test_cancelling_at_any_moment_leaves_all_or_nothing(store: OperationalStore) -> None:
    seeded = random.Random(3)

    async def batch(number: int) -> None:
        async with store.transaction() as tx:
            await tx.lock_states([number])
            await tx.write(Writes(states=[State(number, b"s")], log=[event(number)]))

    for number in range(1, 40):
        task = asyncio.create_task(batch(number))
        await asyncio.sleep(seeded.random() * 0.004)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await write(store, marks={"end": b"1"})
    logged = {item.at for item in await store.log_after(0, 1000)}
    assert set(await store.states(range(100))) == logged


async def test_a_transaction_sees_its_own_writes_and_others_do_not(store: OperationalStore) -> None:
    await write(store, states=[State(1, b"a")])
    async with store.transaction() as tx:
        await tx.write(
            Writes(log=[event(1)], states=[State(1, b"b", 5)], owners={4: (Owned(4, None, None, 1),)})
        )
        assert await tx.states([1]) == {1: State(1, b"b", 5)}
        assert await tx.known_ids([event(1).event_id]) == {event(1).event_id}
        assert await tx.due(9, 9) == await store.due(9, 9) + [1]
        assert list(await tx.owners([4])) == [4]
        assert [item.position for item in await tx.log_after(0, 9)] == [1]
        assert await store.states([1]) == {1: State(1, b"a")}
        assert await store.known_ids([event(1).event_id]) == set()
        assert await positions(store) == []
    assert await store.states([1]) == {1: State(1, b"b", 5)}


async def test_transactions_on_the_same_profiles_follow_one_another(place: str) -> None:
    """Fifty increments by each of two tasks (PostgreSQL: of two processes' stores), in opposite order."""
    one = await open_store(place)
    two = one if place.endswith(".db") else await open_store(place)
    profiles = list(range(20))
    await write(one, states=[State(profile, b"\0") for profile in profiles])

    async def count(store: OperationalStore, asked: list[int]) -> None:
        for _ in range(50):
            async with store.transaction() as tx:
                found = await tx.lock_states(asked)
                await asyncio.sleep(0)
                states = [State(profile, bytes([found[profile].data[0] + 1])) for profile in asked]
                await tx.write(Writes(states=states))

    await asyncio.gather(count(one, profiles), count(two, profiles[::-1]))
    assert {state.data for state in (await one.states(profiles)).values()} == {bytes([100])}
    for store in {one, two}:
        await store.close()


async def test_a_reader_of_the_log_skips_nothing(place: str) -> None:
    """Several writers commit at random moments while one reader follows the positions."""
    stores = [await open_store(place) for _ in range(1 if place.endswith(".db") else 3)]
    seeded = random.Random(4)
    seen: list[int] = []
    is_over = False

    async def append(lane: int, store: OperationalStore) -> None:
        for number in range(15):
            async with store.transaction() as tx:
                await tx.write(Writes(log=[event(1000 * lane + number)], changes=[change(number)]))
                await asyncio.sleep(seeded.random() * 0.002)

    async def follow() -> None:
        while True:
            last = is_over
            found = await stores[0].log_after(seen[-1] if seen else 0, 7)
            seen.extend(item.position for item in found)
            if last and not found:
                return

    reading = asyncio.create_task(follow())
    await asyncio.gather(*(append(lane, stores[lane % len(stores)]) for lane in range(6)))
    is_over = True
    await reading
    assert seen == list(range(1, 91))
    for store in stores:
        await store.close()


async def test_a_big_batch(store: OperationalStore) -> None:
    seeded = random.Random(2)
    logs = [event(number, token=seeded.getrandbits(63), body=seeded.randbytes(150)) for number in range(5000)]
    states = [
        State(seeded.getrandbits(63), seeded.randbytes(2048), seeded.getrandbits(50)) for _ in range(1000)
    ]
    owners: dict[int, tuple[Owned, ...]] = {
        item.token: (Owned(item.token, None, None, item.token),) for item in logs
    }
    async with store.transaction() as tx:
        assert await tx.known_ids([item.event_id for item in logs]) == set()
        assert await tx.lock_states(state.profile for state in states) == {}
        await tx.write(Writes(log=logs, states=states, owners=owners))
    assert same(await store.log_after(0, 10_000), logs)
    assert await store.states(state.profile for state in states) == {state.profile: state for state in states}
    assert await store.owners(owners) == owners
    assert await store.sizes() == {"log": 5000, "profiles": 1000, "changes": 0}


async def test_an_empty_batch_is_no_fault(store: OperationalStore) -> None:
    await write(store)
    assert await store.sizes() == {"log": 0, "profiles": 0, "changes": 0}


# Opening, closing, steps


async def test_a_restart_keeps_all(place: str) -> None:
    first = await open_store(place)
    await write(
        first,
        log=[event(1)],
        observations=[observed("a:1", 1, 2)],
        owners={1: (Owned(1, None, None, 1),)},
        states=[State(1, b"a", 5)],
        members=[Membership("buyers", 1, 1, True)],
        changes=[change(1)],
        marks={"m": b"1"},
    )
    await first.close()
    second = await open_store(place)
    assert await positions(second) == [1]
    assert await second.component([2]) == [observed("a:1", 1, 2)]
    assert await second.states([1]) == {1: State(1, b"a", 5)}
    assert await second.memberships(1) == {"buyers": 1}
    assert await second.mark("m") == b"1"
    assert await second.is_ready()
    await write(second, log=[event(2)], changes=[change(2)])
    assert await positions(second) == [1, 2]
    assert await second.sizes() == {"log": 2, "profiles": 1, "changes": 2}
    await second.close()


OLD = """
    INSERT INTO profiles (profile, state, due) VALUES (1, 'a', 5), (2, 'b', NULL);
    INSERT INTO members VALUES ('buyers', 1, 3);
    INSERT INTO marks VALUES ('m', 'x');
"""


def run_raw(kind: Kind, place: str, script: str, server: PostgresServer | None) -> None:
    """Run statements past the store."""
    if kind == "sqlite":
        connection = sqlite3.connect(place)
        connection.executescript(
            script.replace("'a'", "x'61'").replace("'b'", "x'62'").replace("'x'", "x'78'")
        )
        connection.close()
    elif server:
        schema = place.rpartition("search_path=")[2]
        server.run(f"SET search_path = {schema}; {script}")


@pytest.fixture
def server(kind: Kind, request: pytest.FixtureRequest) -> PostgresServer | None:
    found: PostgresServer | None = request.getfixturevalue("postgres") if kind == "postgres" else None
    return found


async def test_a_store_of_version_1_is_brought_up_to_date(
    kind: Kind, place: str, server: PostgresServer | None
) -> None:
    first = steps(kind)[0]
    assert first.version == 1
    assert len(steps(kind)) >= 2
    run_raw(kind, place, f"{VERSION_TABLE};{first.script};{first.note};{OLD}", server)
    store = await open_store(place)
    assert await store.states([1, 2]) == {1: State(1, b"a", 5), 2: State(2, b"b", None)}
    assert await store.memberships(1) == {"buyers": 3}
    assert await store.mark("m") == b"x"
    await write(store, states=[State(3, b"c")], gone=[1])
    assert (await store.sizes())["profiles"] == 2
    await store.close()
    again = await open_store(place)
    assert await again.due(9, 9) == []
    await again.close()


async def test_a_store_of_a_newer_version_is_refused(
    kind: Kind, place: str, server: PostgresServer | None
) -> None:
    await (await open_store(place)).close()
    run_raw(kind, place, "INSERT INTO schema_version VALUES (99);", server)
    with pytest.raises(EngineError) as raised:
        await open_store(place)
    assert raised.value.faults[0].code == "E532"
    assert "schema version 99" in str(raised.value)
    assert not is_retryable(raised.value)


async def test_opening_at_once_does_not_race(place: str) -> None:
    stores = await asyncio.gather(*(open_store(place) for _ in range(4)))
    await write(stores[3], marks={"m": b"1"})
    assert await stores[0].mark("m") == b"1"
    for store in stores:
        await store.close()


async def test_a_closed_store_is_not_ready(place: str) -> None:
    store = await open_store(place)
    await store.close()
    assert not await store.is_ready()


async def test_a_backup_is_one_whole_file(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "store.db")
    await write(store, log=[event(1)], states=[State(1, b"a")])
    async with store.transaction() as tx:
        await tx.write(Writes(log=[event(2)]))
        await store.backup(str(tmp_path / "copy.db"))
    await store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "store.db"]
    copy = await open_sqlite(tmp_path / "copy.db")
    assert await positions(copy) == [1]
    assert await copy.states([1]) == {1: State(1, b"a")}
    await copy.close()


async def test_a_backup_of_postgres_is_pg_dump(postgres: PostgresServer, tmp_path: Path) -> None:
    store = await open_store(postgres.new_dsn())
    with pytest.raises(EngineError, match=r"E535.*pg_dump"):
        await store.backup(str(tmp_path / "copy"))
    await store.close()


# Several processes on PostgreSQL


async def test_a_token_that_changed_hands_is_told_to_who_waited(postgres: PostgresServer) -> None:
    place = postgres.new_dsn()
    slow, fast = await open_store(place), await open_store(place)
    await write(fast, owners={1: (Owned(1, None, None, 10),)}, states=[State(10, b"a"), State(20, b"b")])

    async def merge() -> None:
        async with fast.transaction() as tx:
            await tx.lock_states([10, 20])
            await asyncio.sleep(0.1)
            await tx.write(
                Writes(owners={1: (Owned(1, None, None, 20),)}, gone=[10], states=[State(20, b"ab")])
            )

    async def count() -> None:
        async with slow.transaction() as tx:
            assert (await tx.owners([1, 2]))[1][0].profile == 10
            await tx.lock_states([10])

    merging = asyncio.create_task(merge())
    await asyncio.sleep(0.05)
    with pytest.raises(EngineError, match=r"E531.*changed hands"):
        await count()
    await merging
    await slow.close()
    await fast.close()


@pytest.mark.parametrize("part", ["owners", "states", "log", "responses"])
async def test_of_two_that_make_the_same_row_one_begins_again(postgres: PostgresServer, part: str) -> None:
    place = postgres.new_dsn()
    one, two = await open_store(place), await open_store(place)
    parts: dict[str, Any] = {
        "owners": {1: (Owned(1, None, None, 10),)},
        "states": [State(10, b"a")],
        "log": [event(1)],
        "responses": [response(1, b"d", 1)],
    }

    async def make(store: OperationalStore) -> None:
        async with store.transaction() as tx:
            assert [await tx.owners([1]), await tx.lock_states([10])] == [{}, {}]
            assert await tx.known_ids([event(1).event_id]) == await tx.known_responses([b"d"]) == set()
            await asyncio.sleep(0.05)
            await tx.write(Writes(**{part: parts[part]}))

    results = await asyncio.gather(make(one), make(two), return_exceptions=True)
    (fault,) = [result for result in results if result is not None]
    assert isinstance(fault, EngineError)
    assert is_retryable(fault)
    assert fault.faults[0].code == "E531"
    await one.close()
    await two.close()


async def test_a_deadlock_may_be_tried_again(postgres: PostgresServer) -> None:
    place = postgres.new_dsn()
    one, two = await open_store(place), await open_store(place)
    await write(one, states=[State(1, b"a"), State(2, b"a")])

    async def cross(store: OperationalStore, first: int, then: int) -> None:
        async with store.transaction() as tx:
            await tx.lock_states([first])
            await asyncio.sleep(0.05)
            await tx.lock_states([then])

    results = await asyncio.gather(cross(one, 1, 2), cross(two, 2, 1), return_exceptions=True)
    (fault,) = [result for result in results if result is not None]
    assert isinstance(fault, EngineError)
    assert fault.faults[0].code == "E531"
    await one.close()
    await two.close()


async def test_who_learns_from_responses_waits_for_who_learned_before(postgres: PostgresServer) -> None:
    place = postgres.new_dsn()
    stores = [await open_store(place) for _ in range(3)]

    async def learn(store: OperationalStore) -> None:
        for _ in range(10):
            async with store.transaction() as tx:
                count = int.from_bytes((await tx.adaptive()).get("card", b"\0"))
                await asyncio.sleep(0)
                await tx.write(Writes(adaptive={"card": bytes([count + 1])}))

    await asyncio.gather(*map(learn, stores))
    assert await stores[0].adaptive() == {"card": bytes([30])}
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    ("dsn", "code"),
    [
        ("postgresql://127.0.0.1:1/none", "E530"),
        ("postgresql:///none?host=/nowhere", "E530"),
        ("postgresql://127.0.0.1:port/none", "E533"),
    ],
)
async def test_a_server_that_is_not_there_is_told(dsn: str, code: str) -> None:
    with pytest.raises(EngineError) as raised:
        await open_store(dsn)
    assert raised.value.faults[0].code == code


async def test_a_database_that_is_not_there_is_told(postgres: PostgresServer) -> None:
    with pytest.raises(EngineError, match=r"E533.*does not exist"):
        await open_store(postgres.dsn().replace("/postgres?", "/nobodys?"))


async def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(EngineError, match=r"E534.*tilltal\[postgres\]"):
        await open_store("postgresql://127.0.0.1/bank")


# What SQLite refuses


async def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no database at all, but long enough to have a header" * 50)
    with pytest.raises(EngineError, match="E503"):
        await open_sqlite(tmp_path / "store.db")


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="E505"):
        await open_sqlite(tmp_path / "nowhere" / "store.db")


async def test_another_process_that_writes_for_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_connection, "BUSY_MS", 50)
    store = await open_sqlite(tmp_path / "store.db")
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EngineError, match="E531"):
        await write(store, marks={"m": b"1"})
    other.execute("ROLLBACK")
    other.close()
    await write(store, marks={"m": b"1"})
    assert await store.mark("m") == b"1"
    await store.close()


# Contacts


def contact(number: int, token: int, at: int, last: int | None) -> Contacted:
    return Contacted(id=b"c%d" % number, token=token, at=at, last=last, body=b"x%d" % number)


async def test_contacts_are_those_of_the_tokens_a_profile_owned_at_the_time(store: OperationalStore) -> None:
    first = Owned(1, 10, 20, 100)
    await write(store, owners={1: (first, Owned(1, 20, None, 200)), 2: (Owned(2, None, None, 200),)})
    found = [contact(1, 1, 5, 5), contact(2, 1, 20, 50), contact(3, 2, 7, 8), contact(4, 3, 9, 9)]
    await write(store, contacts=[*found, contact(5, 2, 9, None)])
    assert await store.contacts_of([100], 0) == {100: found[:1]}
    assert await store.contacts_of([100, 200, 300], 0) == {100: found[:1], 200: [found[2], found[1]]}
    assert await store.contacts_of([200], 9) == {200: [found[1]]}
    assert await store.contacts_under([3, 1, 4], 6) == {1: [found[1]], 3: [found[3]]}
    many = list(range(100, 400))
    assert await store.contacts_of(many, 0) == {100: found[:1], 200: [found[2], found[1]]}


async def test_of_a_contact_the_last_row_counts(store: OperationalStore) -> None:
    await write(store, contacts=[contact(1, 1, 5, None), contact(2, 1, 6, 6), contact(2, 1, 6, 7)])
    await write(store, contacts=[msgspec.structs.replace(contact(1, 1, 5, 9), body=b"now")])
    found = await store.contacts_named([b"c1", b"c2", b"c3"])
    assert found == {
        b"c1": Contacted(id=b"c1", token=1, at=5, last=9, body=b"now"),
        b"c2": contact(2, 1, 6, 7),
    }


async def test_contacts_are_forgotten_when_nothing_of_them_is_young(store: OperationalStore) -> None:
    rows = [contact(1, 1, 5, None), contact(2, 1, 6, 30), contact(3, 1, 7, 8), contact(4, 1, 40, None)]
    await write(store, contacts=rows)
    async with store.transaction() as tx:
        assert await tx.forget(0, contacts=20) == 2
    assert sorted(await store.contacts_named([one.id for one in rows])) == [b"c2", b"c4"]


async def test_who_locks_contacts_reads_what_the_one_before_wrote(place: str) -> None:
    stores = [await open_store(place) for _ in range(3)]
    await write(stores[0], owners={7: (Owned(7, None, None, 100),)})

    async def count(one: OperationalStore) -> None:
        for _ in range(20):
            async with one.transaction() as tx:
                await tx.lock_contacts([100], [-3, 2**62])
                held = (await tx.contacts_under([7], 0)).get(7, [])
                await tx.write(Writes(contacts=[contact(len(held), 7, len(held), 1)]))

    await asyncio.gather(*map(count, stores if place.startswith("postgres") else stores[:1]))
    counted = 60 if place.startswith("postgres") else 20
    assert len((await stores[0].contacts_under([7], 0))[7]) == counted
    for one in stores:
        await one.close()
