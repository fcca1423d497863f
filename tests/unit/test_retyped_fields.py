"""A field whose type is another today: nothing stops, and every way to read its old values says the same."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest

from tilltal.core.instants import micros
from tilltal.core.operational import Identified, Logged, OperationalStore, Writes
from tilltal.customers.traits.online import Event
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.engines.sqlite import open_sqlite
from tilltal.runtime.live.history import compaction
from tilltal.runtime.live.history.compaction import compact, hot_tables
from tilltal.runtime.live.history.ingested import Shown
from tilltal.runtime.live.history.past import Past
from tilltal.runtime.live.intake.facts import FactReader, body_of
from tilltal.runtime.live.places import files_of
from tilltal.runtime.refresh.views import open_history
from tilltal.workspace.load import load
from tilltal.workspace.workspace import Workspace

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
VALUES: Mapping[str, Sequence[object]] = {
    "text": ["Lund", "12", "2.25", "2026-01-02", "2026-01-02T03:04:05", "true", "20260102", ""],
    "integer": [3, 20260102, -7],
    "number": [0.25, 1e30, -3.75],
    "boolean": [True, False],
    "date": ["2026-01-02"],
    "timestamp": ["2026-01-02T03:04:05"],
}
PAIRS = list(itertools.permutations(VALUES, 2))


def declared(root: Path, kind: str) -> Workspace:
    files = {
        "tilltal.yaml": "{name: shop, time_zone: UTC, currency: SEK}",
        "identity.yaml": "namespaces: [{name: crm}]",
        "sources/deeds.yaml": "kind: event\nread: {collector: [track]}\nidentities: {crm: userId}\n"
        f"event: deed\nfields: {{it: {{type: {kind}, column: properties.it}}, other: {{type: text}}}}",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return load(root)


def logged(number: int, value: object) -> Logged:
    body = body_of(f"m{number}", {"it": value, "other": f"o{number}"})
    return Logged(
        event_id=number.to_bytes(16), token=1, ids=(1,), kind="event", name="deed", source="deeds",
        at=micros(NOW), received=micros(NOW), body=body,
    )  # fmt: skip


async def put(store: OperationalStore, rows: Sequence[Logged]) -> None:
    await store.write(Writes(log=list(rows), identities=[Identified(1, "crm", "c")]))


async def read(engine: DuckDBEngine, workspace: Workspace, store: OperationalStore) -> list[object]:
    """Return the field of every row by number, as a refresh sees it."""
    files = files_of(workspace)
    open_history(engine, workspace, files, await hot_tables(store, workspace, files))
    rows = engine.rows('SELECT other, it FROM history."event.deed"')
    return [value for _, value in sorted(rows, key=lambda row: int(row[0][1:]))]


def same(left: object, right: object) -> bool:
    if isinstance(left, float) and isinstance(right, int | float):
        return math.isclose(left, right)
    return left == right


def alike(left: Sequence[object], right: Sequence[object]) -> bool:
    return len(left) == len(right) and all(map(same, left, right))


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_the_log_says_the_same_hot_moved_and_one_by_one(old: str, new: str, tmp_path: Path) -> None:
    async def story() -> None:
        workspace = declared(tmp_path, new)
        store = await open_sqlite(tmp_path / "live.db")
        rows = [logged(number, value) for number, value in enumerate([*VALUES[old], *VALUES[new]])]
        await put(store, rows)
        with DuckDBEngine(threads=1) as engine, patch.object(compaction, "_PORTION", 3):
            hot = await read(engine, workspace, store)
            assert len(hot) == len(rows)
            facts = [FactReader(workspace).read(row) for row in rows]
            assert alike([one.fields["it"] for one in facts if isinstance(one, Event)], hot)
            assert await compact(store, workspace, files_of(workspace), NOW) == len(rows)
            assert alike(await read(engine, workspace, store), hot)
        await store.close()
        assert None not in hot[len(VALUES[old]) :]  # what is of today's type is whole

    asyncio.run(story())


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_files_of_both_types_are_read_together(old: str, new: str, tmp_path: Path) -> None:
    async def story() -> None:
        store = await open_sqlite(tmp_path / "live.db")
        kept, place = len(VALUES[old]), 0
        for kind in (old, new):
            workspace = declared(tmp_path, kind)
            await put(store, [logged(place + number, one) for number, one in enumerate(VALUES[kind])])
            place += len(VALUES[kind])
            assert await compact(store, workspace, files_of(workspace), NOW) == len(VALUES[kind])
        with DuckDBEngine(threads=1) as engine:
            found = await read(engine, workspace, store)
            assert len(found) == place
            assert None not in found[kept:]
            if new == "text":
                assert None not in found
            past = Past(engine, workspace, files_of(workspace)).rows_of([1], Shown())
            assert len(past) == place
        await store.close()

    asyncio.run(story())


def test_what_no_type_can_hold_is_there_again_with_its_own(tmp_path: Path) -> None:
    async def story() -> None:
        store = await open_sqlite(tmp_path / "live.db")
        await put(store, [logged(number, one) for number, one in enumerate(["Lund", "12", "Umeå"])])
        workspace = declared(tmp_path, "integer")
        await compact(store, workspace, files_of(workspace), NOW)
        with DuckDBEngine(threads=1) as engine:
            assert await read(engine, workspace, store) == [None, 12, None]
            assert await read(engine, declared(tmp_path, "text"), store) == ["Lund", "12", "Umeå"]
        await store.close()

    asyncio.run(story())
