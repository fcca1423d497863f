"""A cap is never exceeded, whoever asks at whatever moment: 32 clients at once, on both stores."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from tests.cases.serving import CaseServer
from tests.live.hammering import CUSTOMERS, START, Hammer, bank, meet, overshoots, rows_of, tokens_of
from tests.postgres_server import PostgresServer, postgres

from tilltal.core.operational import Contacted
from tilltal.engines.operational.postgres_faults import driver

__all__ = ["postgres"]
_ROOT = Path(__file__).resolve().parents[2]


def hammered(place: str | None, count: int) -> Counter[str]:
    """Hammer a new server; return what was seen, with the recount."""
    server = CaseServer(bank(), START, place)
    try:
        meet(server)
        hammer = Hammer(server, 7)
        hammer.run(count)
        contacts, over = overshoots(server.wait(rows_of(server.store, tokens_of(server))))
        return hammer.seen + Counter(contacts=contacts, overshoots=over)
    finally:
        server.close()


def held(seen: Counter[str]) -> None:
    """Check that caps held, and that they were reached."""
    print(dict(seen))
    assert seen["overshoots"] == 0
    assert seen["errors"] == seen["fallback"] == 0
    assert seen["contacts"] == seen["allowed"] >= 6 * len(CUSTOMERS)  # the cap of a group, at least
    assert seen["committed"] > 0 < seen["released"]
    assert seen["asked"] > 2 * seen["allowed"]


def test_a_recount_finds_what_is_over() -> None:
    contact = {"action": "card", "channel": "sms", "group": "offers"}
    body = {"contact": contact, "at": 5, "committed": 6, "released": None, "expires": 9}
    rows = [{"contacted": body}, {"contacted": {**body, "at": 7}}, {"contacted": {**body, "at": 8}}]
    packed = [Contacted(id=b"", token=1, at=0, last=0, body=msgspec.msgpack.encode(one)) for one in rows]
    assert overshoots({1: packed[:1]}) == (1, 0)
    assert overshoots({1: packed}) == (3, 2)


def test_caps_hold_under_many_clients() -> None:
    held(hammered(None, 2500))


@pytest.mark.slow
def test_caps_hold_in_sqlite() -> None:
    seen = hammered(None, 100_000)
    held(seen)
    assert seen["asked"] == 100_000


def deadlocks(server: PostgresServer) -> int:
    """How many deadlocks PostgreSQL has broken so far."""

    async def ask() -> int:
        connection = await driver().connect(server.dsn())
        try:
            found = await connection.fetchval("SELECT sum(deadlocks) FROM pg_stat_database")
            return int(found)
        finally:
            await connection.close()

    return asyncio.run(ask())


@pytest.mark.slow
def test_caps_hold_in_postgres(postgres: PostgresServer) -> None:
    before = deadlocks(postgres)
    held(hammered(postgres.new_dsn(), 100_000))
    assert deadlocks(postgres) == before


@pytest.mark.slow
def test_caps_hold_in_two_servers_on_one_postgres(postgres: PostgresServer) -> None:
    place, before = postgres.new_dsn(), deadlocks(postgres)
    first = CaseServer(bank(), START, place, 11)
    try:
        meet(first)
        command = [sys.executable, "-m", "tests.live.hammering", place, "11", str(time.monotonic())]
        others = [
            subprocess.Popen([*command, str(seed), "50000"], cwd=_ROOT, stdout=subprocess.PIPE, text=True)
            for seed in (1, 2)
        ]
        told = [one.communicate(timeout=1500)[0] for one in others]
        assert [one.returncode for one in others] == [0, 0]
        contacts, over = overshoots(first.wait(rows_of(first.store, tokens_of(first))))
    finally:
        first.close()
    seen: Counter[str] = sum((Counter(msgspec.json.decode(one)) for one in told), Counter())
    held(seen + Counter(contacts=contacts, overshoots=over))
    assert seen["asked"] == 100_000
    assert all(msgspec.json.decode(one)["allowed"] > 100 for one in told)
    assert deadlocks(postgres) == before
