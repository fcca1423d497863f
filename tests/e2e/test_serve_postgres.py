"""The server on PostgreSQL: the database goes away and comes back; two servers share it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.e2e.serving import Server, Shop, purchase, until
from tests.e2e.traffic import Traffic, check_changes, check_customer, stored
from tests.postgres_server import PostgresServer, postgres, postgres_dsn

__all__ = ["postgres", "postgres_dsn"]
pytestmark = pytest.mark.slow

CUSTOMERS = [f"u{number}" for number in range(8)]
Start = Callable[[Shop], Server]


def check(server: Server, traffic: Traffic) -> None:
    """Check everything sent against what is stored, before and after the rest is sent again."""
    for customer in CUSTOMERS:
        sent = traffic.numbers_of(customer, traffic.sent)
        check_customer(server, customer, traffic.numbers_of(customer, traffic.acknowledged), sent)
    traffic.send_again(server)
    for customer in CUSTOMERS:
        sent = traffic.numbers_of(customer, traffic.sent)
        check_customer(server, customer, sent, sent)
    check_changes(server)


def wait_for(traffic: Traffic, count: int) -> None:
    until(lambda: len(traffic.acknowledged) > count or not traffic.is_running, 240)


def test_a_database_that_goes_away_and_comes_back(
    tmp_path: Path, forking_server: Start, postgres: PostgresServer, postgres_dsn: str
) -> None:
    with forking_server(Shop(tmp_path / "shop", postgres_dsn)) as server:
        server.send(purchase(10**6, "somebody"))
        with Traffic([server], lambda n: CUSTOMERS[n % 8], threads=3, must_go_on=True) as traffic:
            for _ in range(3):
                wait_for(traffic, len(traffic.acknowledged) + 100)
                postgres.kill()
                try:
                    until(lambda: server.readiness() == 503, 10)
                    headers = {"Authorization": f"Bearer {server.key}"}
                    asked = {"identity": {"crm": "somebody"}}
                    answer = httpx.post(f"{server.url}/v1/decide", json=asked, headers=headers, timeout=30)
                    assert answer.status_code == 503, answer.text
                    assert int(answer.headers["retry-after"]) >= 1
                    assert answer.headers["content-type"].startswith("application/problem+json")
                    assert answer.json()["code"] == "H612"
                    assert httpx.get(f"{server.url}/healthz").status_code == 200
                    time.sleep(0.5)
                finally:
                    postgres.start()
                server.wait_ready(30)
        assert traffic.statuses[503] > 0
        assert set(traffic.statuses) <= {200, 429, 503}, traffic.statuses
        assert traffic.without_retry_after == 0
        print(f"{len(traffic.acknowledged)} acknowledged, answers {dict(traffic.statuses)}")
        check(server, traffic)


def test_a_database_that_is_read_only_for_a_while(
    tmp_path: Path, forking_server: Start, postgres: PostgresServer, postgres_dsn: str
) -> None:
    """As a standby is that has not taken over yet: reads and decisions go on, nothing is stored."""
    with forking_server(Shop(tmp_path / "shop", postgres_dsn)) as server:
        server.send(purchase(1, "u1"))
        headers = {"Authorization": f"Bearer {server.key}"}
        postgres.run("ALTER SYSTEM SET default_transaction_read_only = on")
        postgres.run("SELECT pg_reload_conf()")
        try:
            until(lambda: server.decide("u1")["is_logged"] is False, 10)
            told = server.decide("u1")
            assert (told["is_fallback"], [one["action"] for one in told["actions"]]) == (False, ["thanks"])
            batch = {"batch": [purchase(2, "u1")]}
            answer = httpx.post(f"{server.url}/v1/batch", json=batch, headers=headers, timeout=30)
            assert (answer.status_code, answer.json()["code"]) == (503, "H612")
            assert int(answer.headers["retry-after"]) >= 1
            assert server.readiness() == 200
            assert server.traits("u1")["purchases"] == 1
        finally:
            postgres.run("ALTER SYSTEM RESET default_transaction_read_only")
            postgres.run("SELECT pg_reload_conf()")
        until(lambda: server.decide("u1")["is_logged"] is True, 10)
        server.send(purchase(2, "u1"))
        assert server.traits("u1")["purchases"] == 2


def test_two_servers_on_one_database(tmp_path: Path, forking_server: Start, postgres_dsn: str) -> None:
    """The same customers through both: every purchase counts once, and no client hears of the other."""
    shop = Shop(tmp_path / "shop", postgres_dsn)
    with forking_server(shop) as first, forking_server(shop) as second:
        with Traffic([first, second], lambda n: CUSTOMERS[n % 8], threads=6) as traffic:
            wait_for(traffic, 5_000)
        assert set(traffic.statuses) == {200}, traffic.statuses
        assert traffic.unacknowledged == []
        check(second, traffic)
        for customer in CUSTOMERS:
            sent = traffic.numbers_of(customer, traffic.sent)
            check_customer(first, customer, sent, sent)
        for server in (first, second):
            assert server.decide("u1")["actions"][0]["action"] == "thanks"
            assert "Traceback" not in server.logged()
            assert server.stop()[0] == 0


def test_the_same_messages_through_both_at_once(
    tmp_path: Path, forking_server: Start, postgres_dsn: str
) -> None:
    """A sender that tries the other server before the first has answered."""
    rounds = 60
    statuses: set[int] = set()
    shop = Shop(tmp_path / "shop", postgres_dsn)
    with forking_server(shop) as first, forking_server(shop) as second:
        together = threading.Barrier(4)

        def send(server: Server) -> None:
            with httpx.Client(headers={"Authorization": f"Bearer {server.key}"}, timeout=30) as client:
                for number in range(rounds):
                    messages = [
                        purchase(number * 5 + one, f"n{number}-{one % 2}", anonymousId=f"d{number}")
                        for one in range(5)
                    ]
                    together.wait()
                    statuses.add(client.post(f"{server.url}/v1/batch", json={"batch": messages}).status_code)

        threads = [threading.Thread(target=send, args=(server,)) for server in (first, second) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert statuses == {200}
        for number in range(rounds):
            counts = [
                (first.traits(f"n{number}-{one}")["purchases"], len(stored(second, f"n{number}-{one}")))
                for one in range(2)
            ]
            assert counts == [(3, 3), (2, 2)]
        check_changes(first)
