"""Other facts of the past and other rules of who is who while a server serves: nobody is refused."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb
import httpx
import pytest
from tests.commands import run
from tests.e2e.serving import FILES, Server, Shop, purchase, until
from tests.e2e.test_serve_files import branch, shop
from tests.postgres_server import postgres

from tilltal.core.ids import profile_text

__all__ = ["postgres", "shop"]
pytestmark = pytest.mark.slow

Start = Callable[[Shop], Server]
PEOPLE = [f"u{number}" for number in range(7)]
ONE_EMAIL = FILES["identity.yaml"].replace("normalise: email}", "normalise: email, unique: true}")


def other_facts(shop: Shop) -> None:
    """Ask for facts that nobody kept."""
    shop.write("traits/dear.yaml", "{measure: count, from: [purchase], where: number % 2 = 1}")
    shop.write("traits/recent.yaml", "{measure: sum, of: number, from: [purchase], window: 30 days}")
    shop.write("audiences/dear.yaml", "condition: dear >= 3")


def other_people(shop: Shop) -> None:
    """Tell otherwise who is who."""
    shop.write("identity.yaml", ONE_EMAIL)


def met(number: int, email: str) -> dict[str, object]:
    """Somebody gives an address."""
    traits = {"email": email, "plan": f"p{number}"}
    return {"type": "identify", "userId": PEOPLE[number], "messageId": f"i{number}{email}", "traits": traits}


def fill(server: Server, shop: Shop) -> None:
    """Let people come by file and by message; some have addresses in common."""
    branch(shop, "a", range(2_000))
    assert run("ingest", shop.root) == 0
    server.send(*(purchase(n, f"u{n % 7}") for n in range(200)))
    server.send(*(met(n, f"{n // 2}@x.se") for n in range(7)), met(0, "9@x.se"), met(6, "9@x.se"))
    until(lambda: sum(server.traits(one).get("purchases") or 0 for one in {*PEOPLE}) >= 2_200, 60)


@contextmanager
def busy(server: Server) -> Iterator[list[str]]:
    """Let others send, ask and decide all the time; what they are refused is listed."""
    refused: list[str] = []
    is_over = threading.Event()

    def work() -> None:
        number = 10_000
        headers = {"Authorization": f"Bearer {server.key}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
            while not is_over.is_set():
                number += 1
                body = {"batch": [purchase(number, f"u{number % 7}")]}
                asked = {"identity": {"crm": f"u{number % 7}"}, "channel": "push", "count": 1}
                answers = [
                    client.post("/v1/batch", json=body),
                    client.get(f"/v1/profiles/crm/u{number % 7}"),
                    client.post("/v1/decide", json=asked),
                ]
                refused.extend(f"{one.url}: {one.text}" for one in answers if one.status_code != 200)
                time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield refused
    finally:
        is_over.set()
        thread.join()


def check(server: Server, shop: Shop) -> None:
    """Check that the server says of everybody what a refresh says now."""
    assert run("refresh", shop.root) == 0
    store = shop.root / ".tilltal"
    path = store / "snapshots" / (store / "current").read_text().strip() / "profiles.parquet"
    known = [(one, "crm") for one in PEOPLE] + [(f"{one}@x.se", "email") for one in (0, 1, 2, 3, 9)]
    live = {one["profile"]: one for name, space in known if (one := server.profile(name, space)) is not None}
    with duckdb.connect() as engine:
        found = engine.sql(f"SELECT * FROM '{path}'").to_arrow_table().to_pylist()
    batch = {profile_text(row["profile"]): row for row in found}
    assert live.keys() == batch.keys()
    for one in live.values():
        row = batch[one["profile"]]
        for name, value in one["traits"].items():
            assert (value is None and row[name] is None) or float(value) == float(row[name]), name
    for name in next(iter(batch.values())):
        if name.startswith("audience."):
            members = {profile for profile, row in batch.items() if row[name] is True}
            assert server.members(name.removeprefix("audience.")).keys() == members, name


def is_other(server: Server, definitions: str) -> bool:
    return bool(server.profile("u1")["definitions"] != definitions)


@pytest.mark.parametrize("change", [other_facts, other_people])
def test_definitions_take_effect_though_others_are_busy(
    shop: Shop, forking_server: Start, change: Callable[[Shop], None]
) -> None:
    with forking_server(shop) as server:
        fill(server, shop)
        check(server, shop)
        before = server.profile("u1")["definitions"]
        with busy(server) as refused:
            time.sleep(0.5)
            change(shop)
            until(lambda: is_other(server, before), 60, server.logged)
            time.sleep(0.5)
        assert refused == []
        until(lambda: "sweep" not in lagging(server), 30)
        check(server, shop)
        assert "restart" not in server.logged()
        assert "Traceback" not in server.logged()


def lagging(server: Server) -> str:
    """Return the lines of the figures that say a sweep is under way."""
    text = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {server.key}"}).text
    lines = [one for one in text.splitlines() if "lag_seconds" in one and not one.endswith((" 0", " 0.0"))]
    return "\n".join(one for one in lines if 'stage="sweep"' in one)


def test_it_ends_also_if_the_server_is_killed_again_and_again(shop: Shop, forking_server: Start) -> None:
    chance = random.Random(7)
    with forking_server(shop) as server:
        fill(server, shop)
        before = server.profile("u1")["definitions"]
        other_facts(shop)
        other_people(shop)
        for number in range(5):
            time.sleep(chance.uniform(0.1, 3.5))
            server.kill()
            server.start(wait=number % 2 == 0)
        server.wait_ready()
        server.send(*(purchase(n, f"u{n % 7}") for n in range(5_000, 5_050)))
        until(lambda: is_other(server, before), 60, server.logged)
        until(lambda: "sweep" not in lagging(server), 30)
        check(server, shop)
