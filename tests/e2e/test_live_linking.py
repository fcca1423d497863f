"""Linking while customers live: records without a common key become one person behind the log and stay so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.e2e import serving
from tests.e2e.serving import Server, Shop

from tilltal.customers.identity.linking.levels import level_names
from tilltal.customers.identity.linking.weights import FieldWeights, Weights
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.engines.operational.opening import open_store
from tilltal.rules.clock import Clock
from tilltal.runtime.linking import review
from tilltal.runtime.linking.queue import Case, Proposal, add_to_queue, cases, read_queue, write_queue
from tilltal.runtime.linking.records import plan_of
from tilltal.runtime.linking.run import link
from tilltal.runtime.linking.verdicts import evidence
from tilltal.runtime.live.contract import Message
from tilltal.runtime.live.history import catching_up
from tilltal.runtime.live.history.compaction import compact_now, hot_of
from tilltal.runtime.live.linking import linking, verdicts
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.identities import resolve_identities
from tilltal.runtime.refresh.views import open_history
from tilltal.runtime.storage.still import StillStore
from tilltal.runtime.storage.store import Store
from tilltal.workspace.load import load

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
IDENTITY = """
    namespaces:
      - {name: crm, unique: true}
      - {name: account, unique: true}
      - {name: device, kind: device}
    linking:
      compare: {given_name: name, family_name: name, birth_date: date, postcode: postcode}
      blocking: [[birth_date], [family_name, postcode]]
      auto_link: 0.99
      review: 0.8
    """
SOURCE = """
    kind: record
    read: {collector: [%s]}
    identities: {%s}
    fields:
      given_name: {type: text, column: traits.given_name, labels: [identity]}
      family_name: {type: text, column: traits.family_name, labels: [identity]}
      birth_date: {type: text, column: traits.birth_date, labels: [identity]}
      postcode: {type: text, column: traits.postcode}
    """
ANN = {"given_name": "Ann", "family_name": "Lindqvist", "birth_date": "1980-02-03", "postcode": "41101"}
ALIKE = {**ANN, "given_name": "Berit"}  # to be looked at
OTHER = {"given_name": "Bo", "family_name": "Ek", "birth_date": "1990-12-24", "postcode": "90210"}


class Bank:
    """A shop with two registers, served in this process on a clock of our own."""

    def __init__(self, root: Path) -> None:
        self.now = START
        self.shop = Shop(root)
        for file in ("people", "groups"):
            (root / f"sources/{file}.yaml").unlink()
        self.shop.write("identity.yaml", IDENTITY)
        self.shop.write("sources/customers.yaml", SOURCE % ("identify", "crm: userId"))
        self.shop.write("sources/broker.yaml", SOURCE % ("group", "account: traits.account"))
        self.files = Store(root / ".tilltal")
        self.train()

    def train(self) -> None:
        """Write weights as a run would have learned them: same is worth 8 bits, different -6."""
        plan = plan_of(load(self.shop.root))
        fields = []
        for one in plan.fields:
            steps = len(level_names(one.kind)) - 1
            bits = [8 - 14 * number / steps for number in range(steps + 1)]
            m = (0.5,) * (steps + 1)
            fields.append(FieldWeights(field=one.name, m=m, u=tuple(0.5 / 2**bit for bit in bits)))
        made = Weights(content=plan.content, trained="", records=900, prior=2**-14, fields=tuple(fields))
        place = self.files.root / "links/weights.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(msgspec.json.encode(made))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[LiveServer]:
        """Serve until the block ends."""
        async with open_server(self.shop.root, lambda: self.now, Silent(), {}) as server:
            yield server

    async def say(self, server: LiveServer, *records: tuple[str, str, dict[str, str]]) -> None:
        """Let registers tell: crm or account, the number, the fields; the clock goes on a second."""
        self.now += timedelta(seconds=1)
        made = [self._message(place, *one) for place, one in enumerate(records)]
        assert (await server.collect(made, self.now)).accepted == len(made)

    def _message(self, index: int, register: str, number: str, fields: dict[str, str]) -> Message:
        is_crm = register == "crm"
        document: dict[str, Any] = {
            "type": "identify" if is_crm else "group",
            "userId": number if is_crm else "nobody",
            "groupId": "g",
            "traits": {**fields, "account": number},
        }
        return Message(
            index=index,
            type=document["type"],
            message_id=f"{number}-{self.now:%H%M%S}-{index}",
            user_id=document["userId"],
            anonymous_id=None,
            timestamp=self.now,
            document=document,
        )

    async def linked(self, server: LiveServer, crm: str, account: str) -> bool:
        """True once both numbers are of one profile."""
        one = await server.profile("crm", crm)
        other = await server.profile("account", account)
        return one is not None and other is not None and one.profile == other.profile

    async def position(self) -> tuple[int, int]:
        """Return how far linking is, and the log."""
        store = await open_store(str(self.shop.root / ".tilltal/live.sqlite"))
        try:
            mark, rows = await store.mark(linking.MARK), await store.log_after(0, 10_000)
        finally:
            await store.close()
        return int(mark or 0), rows[-1].position if rows else 0

    async def caught_up(self) -> bool:
        """True once every record was looked at."""
        mark, last = await self.position()
        return mark >= last

    def cases(self, state: str) -> list[Case]:
        """Return the pairs in a state, as `tilltal link list` shows them."""
        return [one for one in cases(self.files) if one.state == state]


async def until(condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Wait until something is so."""
    for _ in range(400):
        if await condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
    monkeypatch.setattr(linking, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(linking, "_LATER_SECONDS", 0.1)
    monkeypatch.setattr(verdicts, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(catching_up, "_LOOK_SECONDS", 0.05)
    return Bank(tmp_path / "shop")


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_a_record_that_fits_somebody_is_theirs_at_once_and_after_a_restart(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.say(server, ("crm", "c1", ANN), ("crm", "c2", OTHER))
            await bank.say(server, ("account", "a1", ANN))
            await until(lambda: bank.linked(server, "c1", "a1"))
            assert not await bank.linked(server, "c2", "a1")
            await until(bank.caught_up)
        (link,) = evidence(bank.files)
        assert [one.id for one in bank.cases("linked")] == [link.link]
        async with bank.serving() as server:
            assert await bank.linked(server, "c1", "a1")
            await bank.say(server, ("account", "a1", ANN), ("crm", "c1", ANN))
            await until(bank.caught_up)
        assert len(evidence(bank.files)) == 1

    run(story())


def test_a_change_of_a_record_can_make_it_somebodys(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.say(server, ("crm", "c1", ANN), ("account", "a1", OTHER))
            await until(bank.caught_up)
            assert not await bank.linked(server, "c1", "a1")
            await bank.say(server, ("account", "a1", ANN))
            await until(lambda: bank.linked(server, "c1", "a1"))

    run(story())


def test_a_doubtful_pair_waits_and_counts_once_accepted(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.say(server, ("crm", "c1", ANN), ("account", "a1", ALIKE))
            await until(bank.caught_up)
            (pair,) = bank.cases("waiting")
            assert not await bank.linked(server, "c1", "a1")
            assert 0.8 <= (pair.probability or 0) < 0.99
            review.accept(load(bank.shop.root), [pair.id], now=bank.now)
            await until(lambda: bank.linked(server, "c1", "a1"))
            review.reject(load(bank.shop.root), [pair.id], now=bank.now)
            await until(lambda: _not(bank.linked(server, "c1", "a1")))
            await bank.say(server, ("account", "a1", ALIKE))
            await until(bank.caught_up)
            assert not await bank.linked(server, "c1", "a1")
            assert [one.id for one in bank.cases("rejected")] == [pair.id]
        async with bank.serving() as server:
            assert not await bank.linked(server, "c1", "a1")

    run(story())


def test_what_a_person_took_back_is_not_linked_again(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.say(server, ("crm", "c1", ANN), ("account", "a1", ANN))
            await until(lambda: bank.linked(server, "c1", "a1"))
            (link,) = evidence(bank.files)
            review.undo(load(bank.shop.root), [link.link], now=bank.now)
            await until(lambda: _not(bank.linked(server, "c1", "a1")))
            await bank.say(server, ("account", "a1", ANN))
            await until(bank.caught_up)
            assert not await bank.linked(server, "c1", "a1")
            assert [one.objection for one in bank.cases("waiting")] == ["undone"]

    run(story())


def test_two_numbers_of_one_register_are_refused(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.say(server, ("crm", "c1", ANN), ("crm", "c2", ANN))
            await until(bank.caught_up)
        assert [one.objection for one in bank.cases("refused")] == ["unique_namespace:crm"]
        assert evidence(bank.files) == ()

    run(story())


@pytest.mark.parametrize("is_moved", [False, True])
def test_what_arrived_before_a_crash_is_looked_at_afterwards(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, *, is_moved: bool
) -> None:
    """The server ends between commit and linking; meanwhile the log may move to Parquet."""

    async def never(*_: object) -> float:
        return 60.0

    async def first() -> None:
        async with bank.serving() as server:
            await bank.say(server, ("crm", "c1", ANN))
            await until(bank.caught_up)
        with monkeypatch.context() as patched:
            patched.setattr(linking.Linking, "_pause", never)
            async with bank.serving() as server:
                await bank.say(server, ("account", "a1", ANN))

    async def then() -> None:
        mark, last = await bank.position()
        assert mark < last or is_moved
        async with bank.serving() as server:
            await until(lambda: bank.linked(server, "c1", "a1"))
        assert len(evidence(bank.files)) == 1

    run(first())
    if is_moved:
        assert compact_now(load(bank.shop.root), bank.now) == 2
    run(then())


def test_a_crash_between_a_link_and_customers_is_made_up_for(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise OSError("the power went")

    async def story() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(linking.Linking, "_apply", broken)
            patched.setattr(catching_up.CatchUp, "portion", _nothing)
            async with bank.serving() as server:
                await bank.say(server, ("crm", "c1", ANN), ("account", "a1", ANN))
                await until(_given(lambda: len(evidence(bank.files)) > 0))
                assert not await bank.linked(server, "c1", "a1")
        made = len(evidence(bank.files))
        async with bank.serving() as server:
            await until(lambda: bank.linked(server, "c1", "a1"))
            await until(bank.caught_up)
        names = {one.observation for one in evidence(bank.files)}
        assert len(names) == 1
        assert len(evidence(bank.files)) <= made + 1

    run(story())


def profiles(root: Path) -> dict[str, int]:
    """Namespace → profile of its one identifier, as a refresh resolves from Parquet and the log."""
    workspace, store = load(root), StillStore(root / ".tilltal")
    with DuckDBEngine() as engine:
        open_history(engine, workspace, store, hot_of(workspace, store))
        resolve_identities(
            engine, workspace, Clock(now=START + timedelta(days=1), zone=workspace.zone), "history"
        )
        return dict(engine.rows("SELECT namespace, profile FROM history.people"))


def test_a_refresh_keeps_what_was_linked_online_and_what_was_taken_back(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.say(server, ("crm", "c1", ANN), ("account", "a1", ANN))
            await until(lambda: bank.linked(server, "c1", "a1"))

    run(story())
    resolved = profiles(bank.shop.root)
    assert resolved["crm"] == resolved["account"]
    review.undo(load(bank.shop.root), [evidence(bank.files)[0].link], now=bank.now)
    resolved = profiles(bank.shop.root)
    assert resolved["crm"] != resolved["account"]


@pytest.mark.slow
def test_a_run_finds_what_servers_found_and_nothing_else(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.say(server, ("crm", "c1", ANN), ("account", "a1", ANN))
            await bank.say(server, ("account", "a2", ALIKE), ("crm", "c2", OTHER))
            await until(lambda: bank.linked(server, "c1", "a1"))
            await until(bank.caught_up)

    run(story())
    before = {(one.id, one.state, one.objection) for one in cases(bank.files)}
    report = link(load(bank.shop.root), now=bank.now + timedelta(minutes=1), progress=Silent())
    assert (report.linked, report.trained) == (0, False)
    assert {(one.id, one.state, one.objection) for one in cases(bank.files)} == before
    assert len(before) == 2


def test_a_run_keeps_what_a_server_found_since_it_began(bank: Bank) -> None:
    def found(name: str, at: datetime) -> Proposal:
        return Proposal(
            id=name, a=1, namespace_a="crm", b=2, namespace_b="account", probability=0.9, found=at.isoformat()
        )

    add_to_queue(bank.files, [found("old", START), found("both", START)])
    add_to_queue(bank.files, [found("new", START + timedelta(minutes=2))])
    mine = found("both", START + timedelta(minutes=1))
    write_queue(bank.files, [mine], lambda one: one.found > mine.found)
    assert [one.id for one in read_queue(bank.files)] == ["both", "new"]
    assert read_queue(bank.files)[0] == mine


def test_linking_tells_how_far_it_is_behind(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.say(server, ("crm", "c1", ANN))
            await until(bank.caught_up)
            await until(_given(lambda: server.figures.behind.get("linking") == 0.0))
            assert "linking" in (await server.readiness()).lag_seconds

    run(story())


async def _nothing(*_: object) -> bool:
    return False


async def _not(condition: Coroutine[Any, Any, bool]) -> bool:
    return not await condition


def _given(condition: Callable[[], bool]) -> Callable[[], Coroutine[Any, Any, bool]]:
    async def asked() -> bool:
        return condition()

    return asked


@pytest.mark.slow
def test_a_killed_server_links_what_it_had_acknowledged(bank: Bank) -> None:
    key = bank.shop.key()
    with Server(bank.shop, key) as server:
        for number in range(3):
            for register in ("identify", "group"):
                traits = {**OTHER, "family_name": f"Ek{number}", "account": f"a{number}"}
                traits["birth_date"] = f"19{60 + number}-01-0{number + 1}"
                server.send({"type": register, "userId": f"c{number}", "groupId": "g", "traits": traits})
            server.kill()
            server.start()
        for number in range(3):

            def is_linked(number: int = number) -> bool:
                one, other = server.profile(f"c{number}"), server.profile(f"a{number}", "account")
                return one is not None and other is not None and one["profile"] == other["profile"]

            serving.until(is_linked, 30, server.logged)
    assert len({one.link for one in evidence(bank.files)}) == 3
