"""What is old leaves the operational store: nothing is lost however often that is interrupted."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.live.live_words import write_workspace

from tilltal.core.errors import EngineError
from tilltal.core.instants import micros
from tilltal.core.operational import (
    Answered,
    Change,
    Contacted,
    Decided,
    OperationalStore,
    Transaction,
    Writes,
)
from tilltal.engines.operational import sqlite_writes
from tilltal.engines.sqlite import open_sqlite
from tilltal.runtime.live.history import keeping
from tilltal.runtime.live.history.decided import decisions_kept, decisions_since
from tilltal.runtime.live.history.keeping import Keeping, find
from tilltal.runtime.live.places import files_of
from tilltal.runtime.live.serving.changes import place_mark
from tilltal.runtime.live.serving.leases import Lease
from tilltal.runtime.storage.store import Manifest, Store
from tilltal.workspace.definitions.contact import CoolDown
from tilltal.workspace.load import load
from tilltal.workspace.workspace import Workspace

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOOK = """
  keep_decisions: 10 days
  keep_changes: 3 days
  webhooks:
    one: {url: "http://nowhere.example", secret: SECRET}
    two: {url: "http://nowhere.example", secret: SECRET}
"""


class Crash(Exception):  # noqa: N818
    pass


class Steps:
    """Dies at one of the steps that are counted."""

    def __init__(self, last: int | None = None) -> None:
        self.done = 0
        self._last = last

    def __call__(self) -> None:
        self.done += 1
        if self.done == self._last:
            raise Crash


class DyingStore:
    """An operational store whose process dies before or after a commit."""

    def __init__(self, store: OperationalStore, step: Steps) -> None:
        self._store, self._step = store, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._store.transaction() as tx:
            yield tx
            self._step()
        self._step()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "bank"
    write_workspace(root, {})
    path = root / "tilltal.yaml"
    path.write_text(path.read_text() + f"server:{HOOK}", encoding="utf-8")
    return load(root)


def decided(number: int) -> Decided:
    """One a day, the latest an hour ago."""
    at = micros(NOW - number * DAY - timedelta(hours=1))
    return Decided(id=bytes([number]) * 16, at=at, profile=number or None, body=b"body %d" % number)


def answered(number: int, to: int) -> Answered:
    at = micros(NOW) + number
    return Answered(
        id=b"r%d" % number, decision=decided(to).id, action="card", channel="app", kind="click", at=at,
        received=at,
    )  # fmt: skip


async def filled(path: Path) -> OperationalStore:
    store = await open_sqlite(path)
    changes = [
        Change(at=micros(NOW - (8 - number) * DAY), profile=number, kind="entered", name="all")
        for number in range(8)
    ]
    async with store.transaction() as tx:
        answers = [answered(number, number % 16) for number in range(40)]
        await tx.write(Writes(decisions=[decided(n) for n in range(16)], responses=answers, changes=changes))
        await tx.write(Writes(marks={place_mark("one"): b"6", place_mark("two"): b"3"}))
    return store


async def missing(store: OperationalStore, files: Store) -> list[int]:
    """Return decisions that are nowhere as they were made, with all that came of them."""
    found = []
    for number in range(16):
        one = decided(number)
        responses = [answered(n, number) for n in range(40) if n % 16 == number]
        kept = find(files, one.id)
        is_kept = kept is not None and kept.decided == one and list(kept.responses) == responses
        is_there = await store.decision(one.id) == one and await store.responses(one.id) == responses
        if not is_kept and not is_there:
            found.append(number)
    return found


def test_old_decisions_go_to_parquet_and_old_changes_go(workspace: Workspace, tmp_path: Path) -> None:
    async def story() -> None:
        store = await filled(tmp_path / "live.db")
        await Keeping(store, lambda: workspace, lambda: NOW).tidy()
        left = await store.decisions_before(micros(NOW), 99)
        assert [one.id[0] for one in left] == list(range(10, -1, -1))  # whole days go
        assert await missing(store, files_of(workspace)) == []
        assert find(files_of(workspace), b"?" * 16) is None
        assert [one.profile for one in await store.changes_after(0, 99)] == [
            3,
            4,
            5,
            6,
            7,
        ]  # `two` heard of 3
        async with store.transaction() as tx:
            await tx.write(Writes(marks={place_mark("two"): b"8"}))
        await Keeping(store, lambda: workspace, lambda: NOW).tidy()
        assert [one.profile for one in await store.changes_after(0, 99)] == [5, 6, 7]
        await store.close()

    asyncio.run(story())


def test_a_webhook_that_was_taken_out_holds_back_no_changes(workspace: Workspace, tmp_path: Path) -> None:
    async def story() -> None:
        store = await filled(tmp_path / "live.db")
        async with store.transaction() as tx:
            marks = {"one": b"8", "two": b"8", "taken_out": b"1"}
            await tx.write(Writes(marks={place_mark(name): mark for name, mark in marks.items()}))
        await Keeping(store, lambda: workspace, lambda: NOW).tidy()
        assert [one.profile for one in await store.changes_after(0, 99)] == [5, 6, 7]
        await store.close()

    asyncio.run(story())


def test_contacts_go_when_no_rule_can_look_back_so_far(workspace: Workspace, tmp_path: Path) -> None:
    cool_down = CoolDown(name="rest", outcome="reject", for_="P600D")
    terms = msgspec.structs.replace(workspace.contact, cooldowns=(cool_down,))
    patient = msgspec.structs.replace(workspace, contact=terms)

    async def story() -> None:
        store = await open_sqlite(tmp_path / "live.db")
        rows = [
            Contacted(id=b"%d" % days, token=1, at=at, last=at, body=b"")
            for days in (300, 500, 700)
            for at in (micros(NOW - days * DAY),)
        ]
        async with store.transaction() as tx:
            await tx.write(Writes(contacts=rows))
        await Keeping(store, lambda: patient, lambda: NOW).tidy()
        assert [one.id for one in (await store.contacts_under([1], -(2**62)))[1]] == [b"500", b"300"]
        await Keeping(store, lambda: workspace, lambda: NOW).tidy()
        assert [one.id for one in (await store.contacts_under([1], -(2**62)))[1]] == [b"300"]
        await store.close()

    asyncio.run(story())


@pytest.mark.parametrize("portion", [10, pytest.param(2, marks=pytest.mark.slow)])
def test_nothing_is_lost_wherever_it_dies(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portion: int
) -> None:
    monkeypatch.setattr(keeping, "PORTION", portion)
    monkeypatch.setattr(keeping, "_FEW", 2)
    monkeypatch.setattr(keeping, "Lease", partial(Lease, seconds=0.0))  # who died has it no longer
    accept = Store.accept

    async def died(last: int) -> bool:
        steps = Steps(last)

        def dying(store: Store, manifest: Manifest) -> Path:
            steps()
            path = accept(store, manifest)
            steps()
            return path

        store = await filled(tmp_path / f"live{last}.db")
        files = files_of(workspace)
        with monkeypatch.context() as patch:
            patch.setattr(Store, "accept", dying)
            try:
                dead: Any = DyingStore(store, steps)
                await Keeping(dead, lambda: workspace, lambda: NOW).tidy()
                is_over = True
            except Crash:
                is_over = False
        assert await missing(store, files) == []
        await Keeping(store, lambda: workspace, lambda: NOW).tidy()
        assert await missing(store, files) == []
        assert len(await store.decisions_before(micros(NOW), 99)) == 11
        assert await store.mark("keeping") == b""
        await store.close()
        for path in (*(files.root / "ingested").rglob("*.json"), *files.history.rglob("*.parquet")):
            path.unlink()
        return is_over

    last = 1
    while not asyncio.run(died(last)):
        last += 1
    assert last > 10


def test_few_decisions_go_at_once(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_FEW", 2)
    drop, dropped = sqlite_writes.drop_decisions, []

    def counted(connection: sqlite3.Connection, ids: Sequence[bytes]) -> None:
        dropped.append([one[0] for one in ids])
        drop(connection, ids)

    monkeypatch.setattr(sqlite_writes, "drop_decisions", counted)

    async def story() -> None:
        store = await filled(tmp_path / "live.db")
        assert await Keeping(store, lambda: workspace, lambda: NOW).tidy() == 5 + 3  # and three changes
        await store.close()

    asyncio.run(story())
    assert [ids for ids in dropped if ids] == [[15, 14], [13, 12], [11]]
    assert len(list(files_of(workspace).history.rglob("*.parquet"))) == 2


def test_a_process_of_its_own_writes_the_files(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "Lease", partial(Lease, seconds=0.0))  # the next has it at once

    async def story() -> None:
        store = await filled(tmp_path / "live.db")
        with pytest.raises(EngineError, match="E531"):  # at that place is another store by now
            await Keeping(store, lambda: workspace, lambda: NOW, str(tmp_path / "new.db")).tidy()
        assert len(await store.decisions_before(micros(NOW), 99)) == 16
        await Keeping(store, lambda: workspace, lambda: NOW, str(tmp_path / "live.db")).tidy()
        assert len(await store.decisions_before(micros(NOW), 99)) == 11
        assert await missing(store, files_of(workspace)) == []
        await store.close()

    asyncio.run(story())


def test_what_two_servers_wrote_counts_once(workspace: Workspace, tmp_path: Path) -> None:
    async def story() -> None:
        store, files = await filled(tmp_path / "live.db"), files_of(workspace)
        for number, days in enumerate((12, 12, 14)):  # the last is a part of the others
            portion = keeping.Portion(micros(NOW - days * DAY), f"live-{number}")
            await keeping._keep(store, portion, files, NOW)
        before = [one async for some in decisions_since(store, files, 0) for one in some]
        async with store.transaction() as tx:
            await tx.drop_decisions([decided(number).id for number in range(12, 16)])
        after = [one async for some in decisions_since(store, files, 0) for one in some]
        assert sorted(one.id[0] for one in after) == list(range(16))
        assert len(before) == 16 + 4  # those that the store still has come twice
        assert [one.id[0] for one in decisions_kept(files, 13)] == [13]
        await store.close()

    asyncio.run(story())


def test_one_server_at_a_time_moves_decisions(workspace: Workspace, tmp_path: Path) -> None:
    async def story() -> None:
        store = await filled(tmp_path / "live.db")
        async with store.transaction() as tx:
            assert await tx.lease("keeping", "another", 600)
        with pytest.raises(EngineError, match="E531 Another server"):
            await Keeping(store, lambda: workspace, lambda: NOW).tidy()
        assert len(await store.decisions_before(micros(NOW), 99)) == 16
        assert await store.mark("keeping") is None
        await store.close()

    asyncio.run(story())


def test_an_answer_that_comes_while_its_decision_leaves_is_not_lost(
    workspace: Workspace, tmp_path: Path
) -> None:
    late = answered(77, 15)

    async def story() -> None:
        store = await filled(tmp_path / "live.db")
        accept, is_told = Store.accept, False

        async def answer() -> None:
            async with store.transaction() as tx:
                await tx.write(Writes(responses=[late]))

        loop = asyncio.get_running_loop()

        def accepting(files: Store, manifest: Manifest) -> Path:
            nonlocal is_told
            path = accept(files, manifest)
            if not is_told:
                is_told = True
                asyncio.run_coroutine_threadsafe(answer(), loop).result(10)
            return path

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Store, "accept", accepting)
            await Keeping(store, lambda: workspace, lambda: NOW).tidy()
        kept = find(files_of(workspace), late.decision)
        assert kept is not None
        assert kept.responses[-1] == late
        assert await store.decision(late.decision) is None
        await store.close()

    asyncio.run(story())
