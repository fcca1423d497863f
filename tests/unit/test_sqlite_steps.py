"""A SQLite file of an older version is brought up to date, and one that cannot be says why."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tilltal.core.operational import Decided, Logged, Writes
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


def decision(name: bytes, profile: int | None, at: int = 1) -> Decided:
    return Decided(id=name, at=at, profile=profile, body=b"{}")


def test_decisions_of_version_8_are_found_by_profile(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    ids = [number.to_bytes(16, "big") for number in (1, 2, 1 << 70, (1 << 70) + 1, (1 << 128) - 1)]
    made = [decision(name, of) for name, of in zip(ids, (7, None, -9, 7, 2**63 - 1), strict=True)]
    make_version_7(path, [], [])
    with closing(sqlite3.connect(path)) as connection:
        for row in map(rows.decision_row, made):
            connection.execute("INSERT INTO decisions VALUES (?, ?, ?, ?)", row)
        connection.commit()

    async def main() -> None:
        store = await open_sqlite(path)
        for profile in (7, -9, 2**63 - 1, 8):
            expected = [one for one in made if one.profile == profile]
            assert await store.decisions_after(b"", 9, profile) == expected
        assert await store.decisions_after(ids[0], 9, 7) == [made[3]]
        await store.write(Writes(decisions=[decision(b"new", 7, at=5)]))
        async with store.transaction() as tx:
            await tx.drop_decisions([one.id for one in made])
        assert await store.decisions_after(b"", 9, 7) == [decision(b"new", 7, at=5)]
        await store.close()

    asyncio.run(main())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, decision_profiles, row)")
        assert connection.execute("SELECT term, doc FROM terms WHERE doc > 0").fetchall() == [("7", 1)]


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_decision_s_number_is_in_the_order_of_ids(one: bytes, other: bytes) -> None:
    number = rows.decision_number(one)
    assert rows.numbered_from(number) <= one < rows.numbered_from(number + 1)
    assert (rows.numbered_from(number) <= other < rows.numbered_from(number + 1)) == (
        rows.decision_number(other) == number
    )


def test_segments_are_merged_little_by_little(tmp_path: Path) -> None:
    path = tmp_path / "live.db"

    async def main() -> None:
        store = await open_sqlite(path)
        for number in range(1, 1_201):
            decided = [decision(number.to_bytes(16, "big"), number)]
            await store.write(Writes(log=[event(number, number % 97)], decisions=decided))
        await store.close()

    asyncio.run(main())
    with closing(sqlite3.connect(path)) as connection:
        for table in ("seen_ids", "log_tokens", "decision_profiles"):
            (count,) = connection.execute(f"SELECT count(DISTINCT segid) FROM {table}_idx").fetchone()
            assert 0 < count <= 20, table


def test_a_sqlite_without_fts5_is_named() -> None:
    found = explanation(Path("live.db"), sqlite3.OperationalError("no such module: fts5"))
    assert found.faults[0].code == "E503"
    assert "FTS5" in str(found)
    assert "Python" in (found.faults[0].hint or "")
