"""A SQLite file of an older version is brought up to date, and one that cannot be says why."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from tilltal.core.operational import Logged, Writes
from tilltal.engines.operational import rows
from tilltal.engines.operational.sqlite_connection import explanation
from tilltal.engines.operational.steps import VERSION_TABLE, steps
from tilltal.engines.sqlite import open_sqlite


def event(number: int, token: int) -> Logged:
    return Logged(
        event_id=number.to_bytes(16, "big"),
        token=token,
        ids=(token,),
        kind="event",
        name="login",
        source="app",
        at=number,
        received=number,
        body=b"",
    )


def make_version_7(path: Path, log: list[Logged], seen: list[bytes]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(VERSION_TABLE)
        for step in steps("sqlite")[:7]:
            connection.executescript(step.script)
            connection.execute(step.note)
        marks = ",".join("?" * 10)
        for position, item in enumerate(log, start=1):
            connection.execute(f"INSERT INTO log VALUES ({marks})", (position, *rows.log_row(item)))
            connection.execute("INSERT INTO seen VALUES (?)", (item.event_id,))
        connection.executemany("INSERT INTO seen VALUES (?)", [(name,) for name in seen])
        connection.execute("UPDATE counters SET value = ? WHERE name = 'log'", (len(log),))
        connection.commit()


def test_messages_and_tokens_of_version_7_are_found(tmp_path: Path) -> None:
    path, apart = tmp_path / "live.db", b"z" * 16
    log = [event(1, 5), event(2, -7), event(3, 5), event(4, 2**63 - 1), event(5, -(2**63))]
    make_version_7(path, log, [apart])

    async def main() -> None:
        store = await open_sqlite(path)
        asked = [*(item.event_id for item in log), apart, b"n" * 16]
        assert await store.known_ids(asked) == set(asked[:-1])
        for token in (5, -7, 2**63 - 1, -(2**63)):
            expected = [item.event_id for item in log if item.token == token]
            assert [item.event_id for item in await store.events_of([token])] == expected
        await store.write(Writes(log=[event(9, 5)], seen=[b"n" * 16]))
        assert await store.known_ids([*asked, event(9, 5).event_id]) == {*asked, event(9, 5).event_id}
        found = await store.events_of([5, -7])
        assert [msgspec.structs.replace(item, position=0) for item in found] == [*log[:3], event(9, 5)]
        assert [item.position for item in found] == [1, 2, 3, 6]
        await store.close()

    asyncio.run(main())


def test_a_sqlite_without_fts5_is_named() -> None:
    found = explanation(Path("live.db"), sqlite3.OperationalError("no such module: fts5"))
    assert found.faults[0].code == "E503"
    assert "FTS5" in str(found)
    assert "Python" in (found.faults[0].hint or "")
