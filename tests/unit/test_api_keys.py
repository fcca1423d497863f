"""API keys: shown once, kept as hashes, rotated with an overlap, revoked at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tilltal.core.operational import ApiKey, OperationalStore
from tilltal.engines.sqlite import open_sqlite
from tilltal.runtime.live.serving.keys import Keys


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 5, 4, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def with_keys(folder: Path, body: Callable[[Keys, Clock], Awaitable[None]]) -> None:
    async def main() -> None:
        store, clock = await open_sqlite(folder / "live.sqlite"), Clock()
        await body(Keys(store, clock), clock)
        await store.close()

    asyncio.run(main())


def test_a_key_lets_in_and_nothing_else_does(tmp_path: Path) -> None:
    async def body(keys: Keys, clock: Clock) -> None:
        made = await keys.create("app", ("collect", "decide", "collect"))
        assert made.key.scopes == ("collect", "decide")
        assert keys.authenticate(made.secret) == made.key
        for wrong in ("", "tt", made.secret + "x", made.secret[:-1], f"tt_{made.key.id}_", "tt_x_y", "ö"):
            assert keys.authenticate(wrong) is None

    with_keys(tmp_path, body)


def test_only_the_hash_is_kept_and_another_process_knows_the_key(tmp_path: Path) -> None:
    secrets: list[str] = []

    async def make(keys: Keys, clock: Clock) -> None:
        secrets.append((await keys.create("app", ("read",))).secret)

    async def read(keys: Keys, clock: Clock) -> None:
        assert keys.authenticate(secrets[0]) is None
        await keys.load()
        assert keys.authenticate(secrets[0]) is not None

    with_keys(tmp_path, make)
    with_keys(tmp_path, read)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secrets[0].split("_", 2)[2].encode() not in content


def test_a_key_ends_when_it_expires_and_when_it_is_revoked(tmp_path: Path) -> None:
    async def body(keys: Keys, clock: Clock) -> None:
        short = await keys.create("short", ("read",), clock.now + timedelta(hours=1))
        revoked = await keys.create("revoked", ("read",))
        assert await keys.revoke(revoked.key.id)
        assert keys.authenticate(revoked.secret) is None
        assert await keys.revoke(revoked.key.id)
        assert not await keys.revoke("nobody")
        assert keys.authenticate(short.secret) is not None
        clock.now += timedelta(hours=1)
        assert keys.authenticate(short.secret) is None

    with_keys(tmp_path, body)


def test_a_rotated_key_works_through_the_overlap_only(tmp_path: Path) -> None:
    async def body(keys: Keys, clock: Clock) -> None:
        old = await keys.create("app", ("collect",))
        new = await keys.rotate(old.key.id, overlap_seconds=60)
        assert new is not None
        assert (new.key.name, new.key.scopes) == ("app", ("collect",))
        assert keys.authenticate(old.secret) is not None
        clock.now += timedelta(seconds=60)
        assert keys.authenticate(old.secret) is None
        assert keys.authenticate(new.secret) is not None
        assert await keys.rotate(old.key.id, 0) is None

    with_keys(tmp_path, body)


def test_a_rotated_key_that_expires_gets_the_same_length_of_life(tmp_path: Path) -> None:
    async def body(keys: Keys, clock: Clock) -> None:
        old = await keys.create("app", ("read",), clock.now + timedelta(days=90))
        clock.now += timedelta(days=80)
        new = await keys.rotate(old.key.id, overlap_seconds=3600)
        assert new is not None
        assert new.key.expires == clock.now + timedelta(days=90)
        clock.now += timedelta(days=90) - timedelta(microseconds=1)
        assert keys.authenticate(new.secret) is not None
        clock.now += timedelta(microseconds=1)
        assert keys.authenticate(new.secret) is None

    with_keys(tmp_path, body)


def test_a_key_rotated_again_within_its_overlap(tmp_path: Path) -> None:
    """Each rotation gives a key of full life; the old one ends when the first of its overlaps does."""

    async def body(keys: Keys, clock: Clock) -> None:
        old = await keys.create("app", ("collect",), clock.now + timedelta(days=90))
        first = await keys.rotate(old.key.id, overlap_seconds=60)
        clock.now += timedelta(seconds=30)
        second = await keys.rotate(old.key.id, overlap_seconds=3600)
        assert first is not None
        assert second is not None
        assert second.key.expires == clock.now + timedelta(days=90)
        assert len({first.secret, second.secret, old.secret}) == 3
        clock.now += timedelta(seconds=30)
        assert keys.authenticate(old.secret) is None
        assert keys.authenticate(first.secret) is not None
        assert keys.authenticate(second.secret) is not None

    with_keys(tmp_path, body)


def test_a_key_that_never_expires_is_succeeded_by_such_keys_however_often(tmp_path: Path) -> None:
    async def body(keys: Keys, clock: Clock) -> None:
        old = await keys.create("app", ("collect",))
        made = [await keys.rotate(old.key.id, overlap_seconds=60) for _ in range(2)]
        clock.now += timedelta(days=10_000)
        for new in made:
            assert new is not None
            assert new.key.expires is None
            assert keys.authenticate(new.secret) is not None
        assert keys.authenticate(old.secret) is None

    with_keys(tmp_path, body)


def test_a_key_revoked_during_its_overlap_ends_at_once_and_its_successor_stays(tmp_path: Path) -> None:
    async def body(keys: Keys, clock: Clock) -> None:
        old = await keys.create("app", ("collect",))
        new = await keys.rotate(old.key.id, overlap_seconds=3600)
        assert new is not None
        clock.now += timedelta(seconds=1)
        ended = clock.now
        assert await keys.revoke(old.key.id)
        assert keys.authenticate(old.secret) is None
        assert keys.authenticate(new.secret) is not None
        clock.now += timedelta(seconds=1)
        assert await keys.revoke(old.key.id)  # again: it stays when it was
        assert {key.id: key.revoked for key in keys.all()} == {old.key.id: ended, new.key.id: None}
        assert await keys.rotate(old.key.id, overlap_seconds=60) is None

    with_keys(tmp_path, body)


class Stale:
    """A store whose keys, once asked for, arrive only after something else was done."""

    def __init__(self, store: OperationalStore, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._meanwhile = meanwhile

    async def api_keys(self) -> list[ApiKey]:
        found = await self._store.api_keys()
        await self._meanwhile()
        return found


def test_a_load_does_not_undo_what_was_put_while_it_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        store, clock = await open_sqlite(tmp_path / "live.sqlite"), Clock()
        keys = Keys(store, clock)
        revoked, rotated = await keys.create("a", ("read",)), await keys.create("b", ("read",))
        made: list[str] = []

        async def meanwhile() -> None:
            monkeypatch.setattr(keys, "_store", store)
            made.append((await keys.create("c", ("read",))).secret)
            await keys.revoke(revoked.key.id)
            await keys.rotate(rotated.key.id, overlap_seconds=60)

        monkeypatch.setattr(keys, "_store", Stale(store, meanwhile))
        await keys.load()
        assert keys.authenticate(made[0]) is not None
        assert keys.authenticate(revoked.secret) is None
        clock.now += timedelta(seconds=60)
        assert keys.authenticate(rotated.secret) is None
        await store.close()

    asyncio.run(main())


def test_what_another_process_ended_stays_ended(tmp_path: Path) -> None:
    async def main() -> None:
        store, clock = await open_sqlite(tmp_path / "live.sqlite"), Clock()
        server, command = Keys(store, clock), Keys(store, clock)
        made = await server.create("a", ("read",))
        await command.load()
        await command.revoke(made.key.id)
        assert await server.rotate(made.key.id, 3600) is None
        early = await server.create("b", ("read",))
        await command.load()
        await command.rotate(early.key.id, overlap_seconds=60)
        await server.revoke(early.key.id)
        await command.load()
        for keys in (server, command):
            found = {key.id: key for key in keys.all()}
            assert found[made.key.id].revoked == clock.now
            assert found[early.key.id].revoked == clock.now
        await store.close()

    asyncio.run(main())


def test_a_key_that_the_store_no_longer_has_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(keys: Keys, clock: Clock) -> None:
        made = await keys.create("a", ("read",))

        async def none() -> list[ApiKey]:
            return []

        monkeypatch.setattr(keys._store, "api_keys", none)
        await keys.load()
        assert keys.authenticate(made.secret) is None

    with_keys(tmp_path, body)
