"""Compaction: however it ends and whenever it is looked at, every row is there once and nothing is lost."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.live.bank import LiveBank, differences
from tests.live.live_words import write_workspace
from tests.postgres_server import PostgresServer, postgres

from tilltal.core.errors import EngineError
from tilltal.core.instants import micros
from tilltal.core.operational import Identified, Logged, OperationalStore, Transaction, Writes
from tilltal.engines.operational import sqlite_writes
from tilltal.engines.operational.opening import open_store
from tilltal.engines.sqlite import open_sqlite
from tilltal.runtime.live.history import compaction
from tilltal.runtime.live.history.compaction import compact, compact_apart, hot_tables
from tilltal.runtime.live.history.hot import tables_of
from tilltal.runtime.live.history.ingested import Shown
from tilltal.runtime.live.intake.facts import body_of, message_of
from tilltal.runtime.live.places import files_of, store_place
from tilltal.runtime.storage.still import StillStore
from tilltal.runtime.storage.store import Manifest, Store
from tilltal.workspace.load import load
from tilltal.workspace.workspace import Workspace

__all__ = ["postgres"]
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
AT = micros(NOW)
KINDS: Sequence[tuple[Any, str, str, Mapping[str, object]]] = (
    ("event", "buy", "buys", {"amount": 250, "due": "2026-05-05", "thing": [1, "x"]}),
    ("event", "look", "looks", {"city": "Lund"}),
    ("event", "gone", "closed_shop", {"price": 2.5, "is_new": True, "name": "Ö", "when": None}),
    ("record", "crm", "crm", {"town": "Umeå", "birth": "1980-01-01"}),
    ("record", "old_crm", "old_crm", {"town": "Umeå"}),
    ("holding", "held", "held", {"product": "card", "opened": "2026-01-01", "closed": None}),
    ("consent", "answers", "answers", {"purpose": "ads", "channel": "*", "granted": True}),
)


class Crash(Exception):  # noqa: N818
    pass


class Steps:
    """Counts what must be on disk before what, and dies at one of these steps."""

    def __init__(self, last: int | None = None) -> None:
        self.done = 0
        self._last = last

    def __call__(self) -> None:
        self.done += 1
        if self.done == self._last:
            raise Crash


class DyingFiles(Store):
    def __init__(self, root: Path, step: Steps) -> None:
        super().__init__(root)
        self._step = step

    def accept(self, manifest: Manifest) -> Path:
        self._step()
        path = super().accept(manifest)
        self._step()
        return path


class DyingStore:
    """An operational store whose process dies before or after a commit."""

    def __init__(self, store: OperationalStore, step: Steps) -> None:
        self._store = store
        self._step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._store.transaction() as tx:
            yield tx
            self._step()
        self._step()


def event_id(number: int) -> bytes:
    return number.to_bytes(16)


def logged(number: int, kind: int) -> Logged:
    what, name, source, fields = KINDS[kind]
    tokens = (number % 3 + 1, 9) if number % 4 == 0 else (number % 3 + 1,)
    return Logged(
        event_id=event_id(number), token=tokens[0], ids=tokens, kind=what, name=name, source=source,
        at=AT - number, received=AT, body=body_of(f"m{number}", fields),
    )  # fmt: skip


async def filled(place: Path | str, kinds: Sequence[int]) -> OperationalStore:
    store = await open_store(str(place))
    rows = [logged(number, kind) for number, kind in enumerate(kinds)]
    known = [Identified(token, "crm", f"c{token}") for token in (1, 2, 3, 9)]
    async with store.transaction() as tx:
        await tx.write(Writes(log=rows, identities=known))
    return store


def ids_in(table: pa.Table) -> list[bytes]:
    return [UUID(text).bytes for text in table["event_id"].to_pylist()]


async def seen(store: OperationalStore, workspace: Workspace) -> list[bytes]:
    """Return the ids that a reader of both finds, each as often as it does."""
    still = StillStore(files_of(workspace).root)
    hot = await hot_tables(store, workspace, still)
    tables = [table for view, table in hot.items() if view not in ("observations", "identities")]
    tables += [
        pq.read_table(path)
        for view, paths in still.views().items()
        if view not in ("observations", "identities")
        for path in paths
    ]
    return sorted(one for table in tables for one in ids_in(table))


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("bank")
    write_workspace(root, {})
    return load(root)


@pytest.fixture
def workspace(bank: Workspace) -> Iterator[Workspace]:
    files = files_of(bank).root
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir()
    yield bank
    shutil.rmtree(files)


async def survived(bank: Workspace, kinds: Sequence[int], deaths: Sequence[int], folder: Path) -> None:
    """Die now and then while compacting, and look each time; then finish."""
    root = files_of(bank).root
    wanted = sorted(map(event_id, range(len(kinds))))
    store = await filled(folder / "live.db", kinds)
    try:
        for death in deaths:
            step = Steps(death)
            with suppress(Crash):
                await compact(DyingStore(store, step), bank, DyingFiles(root, step), NOW)
            assert await seen(store, bank) == wanted
        while await compact(store, bank, Store(root), NOW):
            assert await seen(store, bank) == wanted
        assert await store.log_after(0, 1) == []
        assert await seen(store, bank) == wanted
    finally:
        await store.close()


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    kinds=st.lists(st.integers(0, len(KINDS) - 1), min_size=1, max_size=12),
    portion=st.integers(1, 13),
    dropped=st.integers(1, 5),
    deaths=st.lists(st.integers(1, 14), max_size=4),
)
def test_wherever_it_dies_every_row_is_there_once(
    bank: Workspace, kinds: list[int], portion: int, dropped: int, deaths: list[int]
) -> None:
    shutil.rmtree(files_of(bank).root, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(compaction, "_PORTION", portion),
        patch.object(sqlite_writes, "PORTION", dropped),
    ):
        asyncio.run(survived(bank, kinds, deaths, Path(folder)))


@pytest.mark.parametrize("deaths", [[death] for death in range(1, 12)] + [[9, 3, 5], [2, 2, 2]])
def test_it_may_die_at_each_step(workspace: Workspace, tmp_path: Path, deaths: list[int]) -> None:
    with patch.object(compaction, "_PORTION", 3), patch.object(sqlite_writes, "PORTION", 2):
        asyncio.run(survived(workspace, [0, 3, 2, 6, 5], deaths, tmp_path))


def test_it_dies_at_every_kind_of_step(workspace: Workspace, tmp_path: Path) -> None:
    async def steps() -> int:
        store, step = await filled(tmp_path / "live.db", [0, 1, 3]), Steps()
        await compact(DyingStore(store, step), workspace, DyingFiles(files_of(workspace).root, step), NOW)
        await store.close()
        return step.done

    assert asyncio.run(steps()) == 2 + 3 * 2 + 2 * 2 + 2  # mark, manifests, drops (the last one empty), done


def test_what_a_crash_left_of_a_file_is_replaced(workspace: Workspace, tmp_path: Path) -> None:
    async def names() -> tuple[list[str], list[str]]:
        store, step = await filled(tmp_path / "live.db", [0, 1, 1]), Steps(3)
        files = files_of(workspace)
        with pytest.raises(Crash):
            await compact(DyingStore(store, step), workspace, DyingFiles(files.root, step), NOW)
        before = sorted(path.name for path in files.history.rglob("*.parquet"))
        for path in files.history.rglob("*.parquet"):
            path.write_bytes(b"half a fi")
        await compact(store, workspace, files, NOW)
        assert await seen(store, workspace) == [event_id(number) for number in range(3)]
        await store.close()
        return before, sorted(path.name for path in files.history.rglob("*.parquet"))

    before, after = asyncio.run(names())
    assert before
    assert set(before) < set(after)
    assert len(after) == 2 * 3  # rows, observations and identities of two sources


def test_a_new_store_that_counts_from_1_again_loses_nothing(workspace: Workspace, tmp_path: Path) -> None:
    async def check() -> None:
        first = await filled(tmp_path / "first.db", [0, 1, 2])
        assert await compact(first, workspace, files_of(workspace), NOW) == 3
        await first.close()
        second = await open_sqlite(tmp_path / "second.db")
        rows = [logged(number, 0) for number in (2, 3, 4)]  # 2 was taken in again
        async with second.transaction() as tx:
            known = [Identified(token, "crm", "c") for token in (1, 2, 3, 9)]
            await tx.write(Writes(log=rows, identities=known))
        assert await seen(second, workspace) == [event_id(number) for number in range(5)]
        await compact(second, workspace, files_of(workspace), NOW)
        assert await seen(second, workspace) == [event_id(number) for number in range(5)]
        await second.close()

    asyncio.run(check())


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_process_of_its_own_writes_the_same_files(
    kind: str, workspace: Workspace, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    files, kinds = files_of(workspace), [0, 1, 2, 3, 4, 5, 6, 0]
    place = str(store_place(workspace))
    if kind == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        place = server.new_dsn()

    async def compacted(place: str, *, is_apart: bool) -> list[dict[str, object]]:
        store = await filled(place, kinds)
        if is_apart:
            assert await compact_apart(store, place, workspace, NOW) == len(kinds)
        else:
            assert await compact(store, workspace, files, NOW) == len(kinds)
        assert await store.log_ends(1) is None
        assert await seen(store, workspace) == [event_id(number) for number in range(len(kinds))]
        await store.close()
        found = sorted(files.history.rglob("*.parquet"), key=lambda path: path.parts)
        return [pq.read_table(path).to_pydict() for path in found]

    here = asyncio.run(compacted(str(tmp_path / "live.db"), is_apart=False))
    shutil.rmtree(files.root)
    files.root.mkdir()
    assert asyncio.run(compacted(place, is_apart=True)) == here


def test_a_process_that_dies_leaves_all_for_the_next(workspace: Workspace) -> None:
    async def check() -> None:
        store = await filled(Path(store_place(workspace)), [0, 1, 3])
        await store.close()
        store = await open_sqlite(store_place(workspace))
        (files_of(workspace).root / "history").write_text("a file where a folder should be")
        with pytest.raises(OSError, match="history"):
            await compact_apart(store, str(store_place(workspace)), workspace, NOW)
        (files_of(workspace).root / "history").unlink()
        assert await compact_apart(store, str(store_place(workspace)), workspace, NOW) == 3
        assert await seen(store, workspace) == [event_id(number) for number in range(3)]
        await store.close()

    asyncio.run(check())


def test_another_store_at_the_place_loses_nothing(workspace: Workspace, tmp_path: Path) -> None:
    async def check() -> None:
        store = await filled(tmp_path / "live.db", [0, 1])
        with pytest.raises(EngineError, match="E531"):
            await compact_apart(store, str(tmp_path / "new.db"), workspace, NOW)
        assert await seen(store, workspace) == [event_id(0), event_id(1)]
        assert await compact_apart(store, str(tmp_path / "live.db"), workspace, NOW) == 2
        assert await seen(store, workspace) == [event_id(0), event_id(1)]
        await store.close()

    asyncio.run(check())


def compact_until_killed(root: str, place: str) -> None:
    """Compact a few rows at a time, each few in a process of their own."""

    async def compacted() -> None:
        store = await open_sqlite(place)
        await compact_apart(store, place, load(Path(root)), NOW)
        await store.close()

    with patch.object(compaction, "_PORTION", 4), patch.object(sqlite_writes, "PORTION", 2):
        asyncio.run(compacted())


@pytest.mark.slow
def test_whenever_it_is_killed_every_row_is_there_once(tmp_path: Path) -> None:
    write_workspace(tmp_path, {})
    files_of(load(tmp_path)).root.mkdir()
    place, kinds, rng = str(tmp_path / "live.db"), [0, 1, 2, 3, 4, 5, 6] * 8, Random(7)
    wanted = sorted(map(event_id, range(len(kinds))))

    async def filled_once() -> None:
        await (await filled(Path(place), kinds)).close()

    async def look() -> bool:
        store = await open_sqlite(place)
        assert await seen(store, load(tmp_path)) == wanted
        is_done = await store.log_ends(1) is None
        await store.close()
        return is_done

    asyncio.run(filled_once())
    compacts = "from tests.unit.test_compaction import compact_until_killed as compact"
    code = f"{compacts}; compact({str(tmp_path)!r}, {place!r})"
    killed = 0
    for seconds in [*(rng.uniform(1, 8) for _ in range(10)), 600]:
        with subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2]) as one:
            with suppress(subprocess.TimeoutExpired):
                one.wait(seconds)
            one.kill()
        killed += one.returncode == -signal.SIGKILL
        is_done = asyncio.run(look())
    assert is_done
    assert killed >= 3


def test_one_at_a_time(workspace: Workspace, tmp_path: Path) -> None:
    async def check() -> None:
        store = await filled(tmp_path / "live.db", [0])
        with compaction.alone(files_of(workspace)), pytest.raises(EngineError, match=r"E504"):
            await compact(store, workspace, files_of(workspace), NOW)
        assert await compact(store, workspace, files_of(workspace), NOW) == 1
        await store.close()

    asyncio.run(check())


@pytest.mark.parametrize("at_portion", [1, 2, 3])
def test_what_is_moved_between_two_portions_is_there_once(
    workspace: Workspace, tmp_path: Path, at_portion: int
) -> None:
    async def check() -> None:
        store = await filled(tmp_path / "live.db", [0, 3, 2, 6, 5, 1, 0])
        read, asked = store.log_after, Steps()

        async def moved_amid(place: int, limit: int) -> list[Logged]:
            asked()
            found = await read(place, limit)
            if asked.done == at_portion:
                await compact(store, workspace, files_of(workspace), NOW)
            return found

        with patch.object(store, "log_after", moved_amid), patch.object(compaction, "_PORTION", 2):
            assert await seen(store, workspace) == [event_id(number) for number in range(7)]
        assert asked.done > at_portion
        await store.close()

    asyncio.run(check())


def test_the_unknown_is_kept_as_text(workspace: Workspace) -> None:
    known = {token: Identified(token, "crm", "c") for token in (1, 2, 3, 9)}
    tables = tables_of(workspace, [logged(0, 2), logged(1, 4), logged(2, 0)], known)
    assert tables["events/gone"].select(["is_new", "name", "price", "when"]).to_pylist() == [
        {"is_new": "true", "name": "Ö", "price": "2.5", "when": None}
    ]
    assert tables["records/old_crm"]["town"].to_pylist() == ["Umeå"]
    assert tables["events/buy"]["amount"].to_pylist() == [250]
    assert tables["events/buy"]["thing"].to_pylist() == ['[1,"x"]']


def documents(start: datetime) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [
        {"type": "track", "event": "Buy", "properties": {"amount": 3, "price": 1.5, "open": True}},
        {"type": "track", "event": "Look", "properties": {"city": "Lund"}},
        {"type": "track", "event": "Held", "properties": {"product": "card", "opened": "2026-03-01"}},
        {"type": "track", "event": "Answered", "properties": {"purpose": "ads", "granted": True}},
        {"type": "identify", "traits": {"town": "Umeå", "income": 20, "email": "a@x.se"}},
        {"type": "track", "event": "Opened"},
    ]
    return [
        {
            **one,
            "messageId": f"m{number}",
            "timestamp": start - timedelta(hours=number % 50),
            "userId": f"c{number % 3}",
            **({"anonymousId": f"d{number % 5}"} if number % 2 else {}),
        }
        for number, one in enumerate(made * 6)
    ]


@pytest.fixture
def living(tmp_path: Path) -> Iterator[LiveBank]:
    made = LiveBank(tmp_path / "bank", str(tmp_path / "live.db"), {}, NOW, key=7)
    made.send(documents(NOW))
    yield made
    made.close()


def test_a_refresh_says_the_same_before_amid_and_after(living: LiveBank) -> None:
    before = living.batch()
    assert len(before.profiles) >= 3
    files = files_of(living._workspace)
    for death in (3, 17):
        step = Steps(death)
        with patch.object(compaction, "_PORTION", 20), pytest.raises(Crash):
            living.run(
                compact(DyingStore(living.store, step), living._workspace, DyingFiles(files.root, step), NOW)
            )
        assert differences(living.batch(), before) == []
    assert living.compact() > 0
    assert differences(living.batch(), before) == []


def test_what_is_declared_again_counts_again(living: LiveBank) -> None:
    before = living.batch()
    files = {path: path.read_text() for path in (living._root / "sources").glob("*.yaml")}
    kept = living._workspace
    for path in files:
        if path.stem in ("looks", "crm"):
            path.unlink()
    living._workspace = load(living._root)
    assert living.compact() == 36
    living._workspace = kept
    assert differences(living.batch(), before) == []


def test_what_left_the_log_is_found_again_as_it_was(living: LiveBank) -> None:
    rows = living.run(living.store.log_after(0, 1000))
    tokens = {row.token for row in rows}
    living.compact()
    found = living._server._past.rows_of(tokens, Shown())

    def facts(row: Logged) -> tuple[object, ...]:
        body = {key: value for key, value in message_of(row.body)[1].items() if value is not None}
        return row.event_id, row.token, row.kind, row.source, row.at, row.received, body

    found.sort(key=lambda row: row.event_id)
    rows.sort(key=lambda row: row.event_id)
    assert len(found) == len(rows) == 36
    assert [facts(one) for one in found] == [facts(one) for one in rows]
    held = {row.source for row in found}
    assert held >= {"buys", "looks", "held", "crm", "notices"}
