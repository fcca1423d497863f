"""The WAL of a SQLite store is folded into the file in the background, so that it stays small."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tilltal.core.operational import State, Writes
from tilltal.engines import sqlite
from tilltal.engines.sqlite import open_sqlite

STATE_BYTES = 3000


def written(path: Path, batches: int) -> tuple[int, int]:
    """Write batches of 50 states anew and anew; returns the sizes of the file and of its WAL at the end."""

    async def main() -> tuple[int, int]:
        store = await open_sqlite(path)
        for number in range(batches):
            states = [State(profile, bytes([number]) * STATE_BYTES) for profile in range(50)]
            async with store.transaction() as tx:
                await tx.write(Writes(states=states))
            await asyncio.sleep(0.01)
        sizes = path.stat().st_size, path.with_name(path.name + "-wal").stat().st_size
        await store.close()
        return sizes

    return asyncio.run(main())


def test_the_wal_begins_anew_after_it_was_folded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "FOLD_ROWS", 100)
    file, wal = written(tmp_path / "folded.db", 60)
    monkeypatch.setattr(sqlite, "FOLD_ROWS", 1_000_000)
    monkeypatch.setattr(sqlite, "SOME_ROWS", 1_000_000)
    unfolded_file, unfolded_wal = written(tmp_path / "unfolded.db", 60)
    assert file > 50 * STATE_BYTES > unfolded_file
    assert unfolded_wal > 60 * 50 * STATE_BYTES
    assert wal < unfolded_wal / 2
