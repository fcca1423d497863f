"""Files ingested beside a running server: customers know of them in seconds, whatever happens meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.commands import Commands, run
from tests.e2e.serving import FILES, Server, Shop, purchase, until
from tests.postgres_server import PostgresServer, postgres

from tilltal.core.ids import profile_text

__all__ = ["postgres"]
pytestmark = pytest.mark.slow

Start = Callable[[Shop], Server]
BRANCH = """
    kind: event
    read: {files: data/branch-*.csv}
    identities: {crm: customer, device: tablet}
    id: id
    at: at
    event: {column: what, values: [purchase, look]}
    fields:
      amount: money
      number: integer
    max_rejects: 1.0
    """
TRAITS = ("purchases", "spend", "last_number", "views")


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    """A shop with branches that send files."""
    place = ".tilltal/live.sqlite"
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        place = server.new_dsn()
    found = Shop(tmp_path / "shop", place)
    found.write("sources/branch.yaml", BRANCH)
    return found


def branch(shop: Shop, name: str, numbers: Iterable[int], amount: str = "1") -> None:
    """Write a file of purchases; customer n % 7, some from a tablet."""
    lines = ["id,at,what,customer,tablet,amount,number"]
    for n in numbers:
        tablet = f"t{n % 3}" if n % 5 == 0 else ""
        lines.append(f"{name}{n},2026-03-02T09:00:{n % 60:02},purchase,u{n % 7},{tablet},{amount},{n}")
    shop.write(f"data/branch-{name}.csv", "\n".join(lines) + "\n")


def counted(server: Server) -> int:
    """Return all purchases of all customers."""
    return sum(server.traits(f"u{n}").get("purchases") or 0 for n in range(7))


def check_against_refresh(server: Server, shop: Shop) -> None:
    """Check that the server says of everybody what a refresh says now."""
    assert run("refresh", shop.root) == 0
    store = shop.root / ".tilltal"
    path = store / "snapshots" / (store / "current").read_text().strip() / "profiles.parquet"
    columns = ", ".join(f'"{name}"' for name in (*TRAITS, "audience.buyers", "audience.even"))
    with duckdb.connect() as engine:
        rows = engine.execute(f"SELECT profile, {columns} FROM '{path}'").fetchall()
    live: dict[str, Mapping[str, Any]] = {}
    for number in range(7):
        found = server.profile(f"u{number}")
        live[found["profile"]] = found
    batch = {profile_text(row[0]): row[1:] for row in rows}
    for profile, found in live.items():
        values = [found["traits"][name] for name in TRAITS]
        members = [name in found["audiences"] for name in ("buyers", "even")]
        told = [None if one is None else float(one) for one in batch[profile][: len(TRAITS)]]
        assert [None if one is None else float(one) for one in values] == told
        assert members == [one is True for one in batch[profile][len(TRAITS) :]]
    for audience, place in (("buyers", -2), ("even", -1)):
        assert server.members(audience).keys() == {one for one, row in batch.items() if row[place] is True}


def test_a_file_changes_customers_without_a_restart(
    shop: Shop, forking_server: Start, tilltal: Commands, tmp_path: Path
) -> None:
    with forking_server(shop) as server:
        server.send(*(purchase(n, f"u{n % 7}") for n in range(10)))
        branch(shop, "a", range(300))
        with (shop.root / "data/branch-a.csv").open("a") as file:
            file.write("a300,2026-03-02T10:00:00,purchase,u1,,much,300\n")
        assert tilltal("ingest", shop.root).code == 0
        until(lambda: counted(server) == 310, 60)
        check_against_refresh(server, shop)
        told = server.changes(lambda one: one["name"] == "even")
        assert told[-1]["kind"] in ("entered", "left")

        corrected = tmp_path / "corrected.csv"
        assert tilltal("quarantine", "export", shop.root, "branch", corrected).code == 0
        corrected.write_text(corrected.read_text().replace("much", "7"))
        assert tilltal("quarantine", "retry", shop.root, "branch", corrected).code == 0
        until(lambda: counted(server) == 311, 30)
        check_against_refresh(server, shop)
        assert "restart" not in server.logged()
        assert "Traceback" not in server.logged()


def test_it_goes_on_after_being_killed_amid_a_file(shop: Shop, forking_server: Start) -> None:
    with forking_server(shop) as server:
        server.send(*(purchase(n, f"u{n % 7}") for n in range(10)))
        branch(shop, "a", range(4_000))
        assert run("ingest", shop.root) == 0
        seen = []
        for _ in range(4):
            before = counted(server)
            until(lambda: counted(server) > before, 60)  # noqa: B023 - called before it changes
            server.kill()
            server.start()
            seen.append(counted(server))
        assert seen == sorted(seen)
        until(lambda: counted(server) >= 4_010, 120)
        assert counted(server) == 4_010
        check_against_refresh(server, shop)


def test_a_source_that_is_a_file_today_and_the_collector_tomorrow_counts_once(
    shop: Shop, forking_server: Start
) -> None:
    collected = FILES["sources/deeds.yaml"]
    as_files = collected.replace("{collector: [track]}", "{files: data/deeds-*.jsonl}").replace(
        "event: {column",
        "id: messageId\n        at: timestamp\n        received: receivedAt\n        event: {column",
    )
    times = {"timestamp": "2026-03-02T09:00:00Z", "receivedAt": "2026-03-02T09:00:01Z"}
    lines = [json.dumps(purchase(n, f"u{n % 7}", **times)) for n in range(20)]
    with forking_server(shop) as server:
        server.send(*(purchase(n, f"u{n % 7}") for n in range(10)))
        shop.write("sources/deeds.yaml", as_files)
        shop.write("data/deeds-1.jsonl", "\n".join(lines) + "\n")
        assert run("ingest", shop.root, "deeds") == 0
        until(lambda: counted(server) >= 20, 60)
        shop.write("sources/deeds.yaml", collected)
        until(lambda: server.send(purchase(25, "u4")) and counted(server) == 21, 30)
        server.send(*(purchase(n, f"u{n % 7}") for n in range(25)))
        until(lambda: counted(server) == 26, 30)
