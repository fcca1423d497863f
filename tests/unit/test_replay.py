"""Replay: what was decided comes out again to the last byte, whatever has become of the definitions since."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.e2e.serving import Shop

from tilltal.core.operational import Decided, OperationalStore, Writes
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.answers.archive import DEFINITIONS, definitions_of, packed, unpacked
from tilltal.runtime.live.answers.deciding import Made, read_logged, written
from tilltal.runtime.live.answers.replay import Replayed, replay
from tilltal.runtime.live.answers.replaying import Then, difference
from tilltal.runtime.live.contract import DecideRequest, Message, Response
from tilltal.runtime.live.history.keeping import Keeping
from tilltal.runtime.live.places import files_of
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.progress import Silent
from tilltal.runtime.storage.backup import back_up
from tilltal.runtime.storage.restoring import restore
from tilltal.workspace.check import usable
from tilltal.workspace.load import load

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
FILES = {
    "sources/people.yaml": """
        kind: record
        read: {collector: [identify]}
        identities: {crm: userId, device: anonymousId, email: traits.email}
        fields:
          plan: {type: text, column: traits.plan}
          born: {type: date, column: traits.born}
          visited: {type: timestamp, column: traits.visited}
        """,
    "traits/last_purchase.yaml": "{measure: last, of: amount, from: [purchase]}",
    "policies/arbitration.yaml": """
        slots: 2
        context_rules: [{key: page, value: loans, weight: 50, applies_to: {action: hello}}]
        """,
    "actions/learner/action.yaml": """
        title: Learner
        group: other
        purpose: service
        propensity: {adaptive: {base_rate: 0.2, evidence: 4, features: [purchases], wait: "2 days"}}
        value: 3 * COALESCE(purchases, 1)
        """,
    "actions/learner/push.en.yaml": "{title: Learn, body: Learn.}",
    "actions/learner/email.en.yaml": "{title: Learn, body: Learn.}",
    "actions/soon/action.yaml": """
        title: Soon
        group: other
        purpose: service
        propensity: 0.3
        value: 4
        starts: "2026-03-02T10:00:00+01:00"
        applicability: [{name: of_age, when: "AGE(born) >= 18 AND visited < NOW()"}]
        """,
    "actions/soon/email.en.yaml": "{title: Soon, body: Soon.}",
}


class Bank:
    """A server in this process, on a clock of our own."""

    def __init__(self, root: Path) -> None:
        self.now = START
        self.shop = Shop(root, settings="keep_decisions: 10 days\n")
        for file, text in FILES.items():
            self.shop.write(file, text)
        self._number = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[LiveServer]:
        """Serve until the block ends."""
        async with open_server(self.shop.root, lambda: self.now, Silent(), {}) as server:
            yield server

    async def live(self, server: LiveServer, times: int) -> None:
        """Let customers buy, ask in many ways, and answer."""
        for _ in range(times):
            self._number += 1
            self.now += timedelta(minutes=1, microseconds=self._number)
            user = f"u{self._number % 5}"
            await self._buy(server, user)
            request = DecideRequest(
                identity={"crm": user if self._number % 7 else "nobody"},
                channel=("push", None, "email")[self._number % 3],
                count=(None, 1, 3)[self._number % 3],
                context={"page": ("loans", "home")[self._number % 2], "score": self._number / 7, "n": 1},
            )
            answer = await server.decide(request)
            replies = [
                Response(
                    id=f"r{self._number}.{one.action}",
                    decision_id=answer.decision_id,
                    action=one.action,
                    kind=("accept", "reject", "impression")[self._number % 3],
                )
                for one in answer.actions
            ]
            await server.respond(replies, self.now)

    async def _buy(self, server: LiveServer, user: str) -> None:
        await self._send(
            server,
            {
                "type": "identify",
                "userId": user,
                "messageId": f"i{self._number}",
                "traits": {"born": f"{1960 + self._number}-02-03", "visited": "2026-02-27T10:11:12.345678Z"},
            },
        )
        document = {
            "type": "track",
            "event": "purchase",
            "userId": user,
            "messageId": f"m{self._number}",
            "properties": {"amount": 10.5 * self._number, "number": self._number},
        }
        await self._send(server, document)

    async def _send(self, server: LiveServer, document: dict[str, Any]) -> None:
        message = Message(
            index=0,
            type=document["type"],
            message_id=document["messageId"],
            user_id=document["userId"],
            anonymous_id=None,
            timestamp=self.now,
            document=document,
            event=document.get("event"),
        )
        assert not (await server.collect([message], self.now)).rejected

    async def replayed(self, limit: int | None = None, since: datetime | None = None) -> Replayed:
        """Replay beside whatever runs."""
        return await replay(usable(self.shop.root), since, limit, Silent(), {})

    @asynccontextmanager
    async def store(self) -> AsyncIterator[OperationalStore]:
        """Open the store beside the server."""
        store = await open_store(str(self.shop.root / ".tilltal/live.sqlite"))
        try:
            yield store
        finally:
            await store.close()


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path / "shop")


def run(asked: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asked)


def test_decisions_come_out_again_after_a_restart_and_other_definitions(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.live(server, 30)
            fallback = server.force.fallback
            assert fallback is not None
        bank.shop.write("actions/hello/action.yaml", "{title: Hi, group: g, purpose: service, value: 900}")
        bank.shop.write("actions/soon/action.yaml", "{title: Soon, group: g, purpose: service, value: 1}")
        async with bank.serving() as server:
            await bank.live(server, 12)
            during = await bank.replayed()
            assert during.is_proved
            assert during.decisions == 42
        (bank.shop.root / "actions/learner/action.yaml").unlink()
        for path in (bank.shop.root / "actions/learner").iterdir():
            path.unlink()
        (bank.shop.root / "actions/learner").rmdir()
        (bank.shop.root / "policies/arbitration.yaml").unlink()
        async with bank.store() as store:
            before = await store.adaptive()
            found = await bank.replayed()
            assert (found.decisions, found.equal, found.differing, found.definitions) == (42, 42, 0, 2)
            assert found.lost == {}
            assert await store.adaptive() == before
        assert (await bank.replayed(limit=5)).decisions == 5
        assert (await bank.replayed(since=bank.now)).decisions == 1
        assert (await bank.replayed(since=bank.now + timedelta(seconds=1))).decisions == 0

    run(story())


@pytest.mark.slow
def test_ten_thousand_decisions_come_out_again_after_restarts_and_other_definitions(bank: Bank) -> None:
    """Four versions of the definitions, each after a restart, and a fifth that decides nothing."""
    rng = random.Random(1)

    async def burst(server: LiveServer, count: int) -> None:
        requests = [
            DecideRequest(
                identity={"crm": f"u{rng.randrange(8)}"} if rng.random() < 0.9 else {},
                channel=rng.choice(("push", "email", None)),
                count=rng.choice((None, 1, 2, 3)),
                context={
                    "page": rng.choice(("loans", "home")),
                    "x": rng.random(),
                    "flag": rng.random() < 0.5,
                },
                budget_ms=60_000,
            )
            for _ in range(count)
        ]
        await asyncio.gather(*(server.decide(request) for request in requests))

    def failing_at_times(server: LiveServer) -> None:
        decided = server._in_time.decided

        async def at_times(*asked: Any) -> Made:
            if rng.random() < 0.02:
                raise ValueError("broken")
            return await decided(*asked)

        server._in_time.decided = at_times  # type: ignore[method-assign, assignment]

    async def story() -> None:
        for version in range(4):
            slots = f"slots: {version + 1}"
            bank.shop.write(
                "policies/arbitration.yaml", FILES["policies/arbitration.yaml"].replace("slots: 2", slots)
            )
            async with bank.serving() as server:
                await bank.live(server, 20)
                failing_at_times(server)
                for _ in range(31):
                    bank.now += timedelta(hours=5)
                    await burst(server, 80)
        for action in ("soon", "learner"):
            shutil.rmtree(bank.shop.root / "actions" / action)
        async with bank.serving():
            found = await bank.replayed()
        assert found.decisions == 4 * (20 + 31 * 80) == 10_000
        assert (found.equal, found.differing, found.definitions) == (10_000, 0, 4)
        async with bank.store() as store:
            fallbacks = [
                read_logged(one.body).is_fallback for one in await store.decisions_after(b"", 20_000)
            ]
        assert 0 < sum(fallbacks) < 1_000
        print(f"{found.per_second:,.0f} a second")

    run(story())


def test_decisions_in_parquet_come_out_again_too(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.live(server, 6)
            bank.now += timedelta(days=12)
            await bank.live(server, 3)
        workspace = load(bank.shop.root)
        async with bank.store() as store:
            assert await Keeping(store, lambda: workspace, lambda: bank.now).tidy() >= 6
        assert len([1 for _ in files_of(load(bank.shop.root)).manifests("live-decisions")]) == 1
        found = await bank.replayed()
        assert (found.decisions, found.equal) == (9, 9)
        assert (await bank.replayed(since=bank.now - timedelta(days=1))).decisions == 3

    run(story())


def test_what_decided_is_in_a_backup(bank: Bank, tmp_path: Path) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.live(server, 5)

    run(story())
    bank.shop.write("actions/hello/action.yaml", "{title: Hi, group: g, purpose: service, value: 900}")
    back_up(usable(bank.shop.root), tmp_path / "backup", "2026-03-02T10:00:00Z", Silent())
    restore(tmp_path / "backup", tmp_path / "again", Silent(), {})
    again = usable(tmp_path / "again")
    found = asyncio.run(replay(again, None, None, Silent(), {}))
    assert (found.decisions, found.equal, found.definitions) == (5, 5, 1)


def test_what_was_changed_by_hand_is_found_and_named(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.live(server, 8)
        async with bank.store() as store:
            rows = await store.decisions_after(b"", 99)
            logged = read_logged(rows[3].body)
            shown = [msgspec.structs.replace(logged.shown[0], P=0.123), *logged.shown[1:]]
            forged = [
                Decided(
                    id=b"\xff" * 16,
                    at=rows[3].at,
                    profile=None,
                    body=written(msgspec.structs.replace(logged, shown=shown)),
                ),
                Decided(id=b"\xfe" * 16, at=rows[3].at, profile=None, body=rows[3].body[:-3]),
                Decided(
                    id=b"\xfd" * 16,
                    at=rows[3].at,
                    profile=None,
                    body=written(msgspec.structs.replace(logged, definitions="0" * 64)),
                ),
                Decided(
                    id=b"\xfc" * 16,
                    at=rows[3].at + 86_400_000_000 * 400,
                    profile=None,
                    body=rows[3].body,
                ),
            ]
            await store.write(Writes(decisions=forged))
        found = await bank.replayed()
        assert not found.is_proved
        assert (found.decisions, found.differing) == (12, 2)
        unreadable, changed = found.differences
        assert unreadable.decision == "fe" * 16
        assert (changed.decision, changed.where) == ("ff" * 16, "shown[0].P")
        assert changed.logged == "0.123"
        assert changed.again == repr(logged.shown[0].P)
        assert {version: one.decisions for version, one in found.lost.items()} == {"0" * 64: 1}

    run(story())


def test_definitions_are_kept_before_they_decide_and_read_as_they_were(bank: Bank) -> None:
    async def story() -> None:
        workspace = usable(bank.shop.root)
        async with bank.serving(), bank.store() as store:
            again = await definitions_of(store, workspace.content_hash)
            assert again is not None
            assert again.content_hash == workspace.content_hash
            assert again.actions == workspace.actions
            assert again.treatments == workspace.treatments
            assert await definitions_of(store, "0" * 64) is None
        data = packed(workspace)
        assert data == packed(again)
        assert unpacked(data, "x").content_hash == workspace.content_hash
        async with bank.store() as store:
            await store.write(Writes(marks={DEFINITIONS + workspace.content_hash: data[:-9]}))
        async with bank.serving() as server:  # what was damaged is mended where it is in force
            await bank.live(server, 1)
        assert (await bank.replayed()).is_proved
        async with bank.store() as store:
            await store.write(Writes(marks={DEFINITIONS + workspace.content_hash: data[:-9]}))
        found = await bank.replayed()
        assert "E561" in found.lost[workspace.content_hash].reason

    run(story())


THOMPSON = """
    slots: 1
    exploration: {method: thompson}
    """


def test_what_was_drawn_and_what_permitted_it_is_proved_too(bank: Bank) -> None:
    bank.shop.write("policies/arbitration.yaml", THOMPSON)
    bank.shop.write("actions/other/action.yaml", FILES["actions/learner/action.yaml"])
    bank.shop.write("actions/other/push.en.yaml", FILES["actions/learner/push.en.yaml"])

    async def story() -> None:
        async with bank.serving() as server:
            await bank.live(server, 12)
        assert (await bank.replayed()).is_proved
        async with bank.store() as store:
            rows = [(one, read_logged(one.body)) for one in await store.decisions_after(b"", 99)]
            row, logged = next((one, each) for one, each in rows if each.shown and each.explored is not None)
            explored, permit = logged.explored, next(iter(logged.permits.values()))
            assert explored is not None
            assert len(explored.known()) > 1
            higher = msgspec.structs.replace(explored, rates=np.full(len(explored.known()), 0.999).tobytes())
            surer = msgspec.structs.replace(explored, evidence=np.full(len(explored.known()), 1e9).tobytes())
            fewer = msgspec.structs.replace(
                explored, pairs=explored.pairs[4:], rates=explored.rates[8:], evidence=explored.evidence[8:]
            )
            other = msgspec.structs.replace(permit, basis="unless_refused")
            forged = [
                msgspec.structs.replace(logged, explored=higher),
                msgspec.structs.replace(logged, explored=surer),
                msgspec.structs.replace(logged, explored=fewer),
                msgspec.structs.replace(logged, explored=None),
                msgspec.structs.replace(logged, permits={}),
                msgspec.structs.replace(logged, permits=dict.fromkeys(logged.permits, other)),
            ]
        then = Then(usable(bank.shop.root))
        assert difference(then, row, logged) is None
        for one in forged:
            assert difference(then, msgspec.structs.replace(row, body=written(one)), one) is not None

    run(story())
