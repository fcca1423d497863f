"""Files ingested between two lives of a server: few rows are caught up with, many taken over as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.commands import run
from tests.e2e.serving import Shop
from tests.e2e.test_live_reload import until

from tilltal.core.operational import OperationalStore, Writes
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.history import catching_up
from tilltal.runtime.live.history.compaction import ids_in
from tilltal.runtime.live.history.ingested import FILES, Shown, files_in, shown_by
from tilltal.runtime.live.places import files_of
from tilltal.runtime.live.serving import opening
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.progress import Silent
from tilltal.workspace.check import usable

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
BRANCH = """
    kind: event
    read: {files: data/branch-*.csv}
    identities: {crm: customer}
    id: id
    at: at
    event: {column: what, values: [purchase, look]}
    fields: {amount: money, number: integer}
    """


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop with a branch, whose first file is there."""
    monkeypatch.setattr(catching_up, "_LOOK_SECONDS", 0.05)
    found = Shop(tmp_path / "shop")
    found.write("sources/branch.yaml", BRANCH)
    bring(found, "a", 30)
    return found


def bring(shop: Shop, name: str, count: int) -> None:
    """Ingest a file of purchases of one customer."""
    rows = [f"{name}{n},2026-03-02T09:00:00,purchase,u1,1,{n}" for n in range(count)]
    shop.write(f"data/branch-{name}.csv", "\n".join(["id,at,what,customer,amount,number", *rows]) + "\n")
    assert run("ingest", shop.root) == 0


@asynccontextmanager
async def store_of(shop: Shop) -> AsyncIterator[OperationalStore]:
    store = await open_store(str(shop.root / ".tilltal/live.sqlite"))
    try:
        yield store
    finally:
        await store.close()


async def served(shop: Shop, purchases: int) -> Shown:
    """Serve until the customer has so many purchases, and return what counts then."""

    async def is_so() -> bool:
        return await counted(server) == purchases

    async with open_server(shop.root, lambda: NOW, Silent(), {}) as server:
        await until(is_so)
        async with store_of(shop) as store:
            await until(lambda: _is_at_rest(store))
            found = await shown_by(store)
    assert found is not None
    return found


async def _is_at_rest(store: OperationalStore) -> bool:
    found = await shown_by(store)
    return found is not None and found.place is None


async def counted(server: LiveServer) -> object:
    found = await server.profile("crm", "u1")
    return None if found is None else found.traits["purchases"]


def test_few_rows_are_caught_up_with(shop: Shop) -> None:
    first = asyncio.run(served(shop, 30))
    assert first.files.unnamed == first.files.whole
    bring(shop, "b", 20)
    second = asyncio.run(served(shop, 50))
    assert second.files.unnamed == first.files.whole < second.files.whole


def test_many_rows_are_taken_over_as_a_whole(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(served(shop, 30))
    bring(shop, "b", 20)
    monkeypatch.setattr(opening, "_MANY", 19)
    found = asyncio.run(served(shop, 50))
    assert found.files.unnamed == found.files.whole
    assert len(found.files.whole) == 2


def test_a_store_that_says_it_in_an_earlier_way_is_made_again(shop: Shop) -> None:
    before = asyncio.run(served(shop, 30))

    async def spoil() -> None:
        async with store_of(shop) as store:
            await store.write(Writes(marks={FILES: b"\xff" * 32}))
            assert await shown_by(store) is None

    asyncio.run(spoil())
    assert asyncio.run(served(shop, 30)) == before


def test_a_message_of_a_file_that_was_taken_over_is_known_to_the_collector(shop: Shop) -> None:
    asyncio.run(served(shop, 30))
    shop.write("sources/branch.yaml", BRANCH.replace("{files: data/branch-*.csv}", "{collector: [screen]}"))
    found = asyncio.run(served(shop, 30))
    assert not found.files.unnamed

    async def seen() -> int:
        files = files_of(usable(shop.root))
        ids = [one for manifest in files_in(files) for one in ids_in(manifest, files)]
        async with store_of(shop) as store:
            return len(await store.known_ids(ids))

    assert asyncio.run(seen()) == 30
