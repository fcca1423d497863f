"""A server's life: definitions change under it, it is told to stop, slow connections crowd it."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.e2e.serving import FILES, Server, Shop, purchase, until
from tests.e2e.traffic import Traffic, check_customer

pytestmark = pytest.mark.slow

SLOW = Path(__file__).resolve().parents[1] / "api" / "slow_connections.py"
Start = Callable[[Shop], Server]


@contextmanager
def asking(server: Server, customer: str) -> Iterator[list[list[str]]]:
    """Decide again and again for a customer while the block runs; gives the titles decided."""
    stopping = threading.Event()
    found: list[list[str]] = []

    def ask() -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {server.key}"}, timeout=30) as client:
            while not stopping.is_set():
                asked = {"identity": {"crm": customer}, "channel": "push", "count": 2}
                answer = client.post(f"{server.url}/v1/decide", json=asked).raise_for_status().json()
                assert not answer["is_fallback"]
                found.append([one["title"] for one in answer["actions"]])

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield found
    finally:
        stopping.set()
        thread.join(30)
        assert not thread.is_alive()


def test_decisions_follow_definitions_within_seconds(tmp_path: Path, forking_server: Start) -> None:
    shop = Shop(tmp_path / "shop")
    action = FILES["actions/thanks/action.yaml"]
    with forking_server(shop) as server:
        server.send(purchase(1, "u1"))
        with asking(server, "u1") as found:
            until(lambda: found, 10)
            shop.write("actions/thanks/action.yaml", action.replace("Thank you", "Thanks a lot"))
            until(lambda: found[-1] == ["Thanks a lot", "Hello"], 10)
            shop.write("audiences/buyers.yaml", "condition: purchases >= 2")
            until(lambda: found[-1] == ["Hello"], 10)
            server.send(purchase(2, "u1"))
            assert server.decide("u1", count=2)["actions"][0]["title"] == "Thanks a lot"
            shop.write("audiences/buyers.yaml", "condition: purchases >= nonsense")
            until(lambda: "not taken over" in server.logged(), 10)
            assert server.decide("u1", count=2)["actions"][0]["title"] == "Thanks a lot"
            shutil.rmtree(shop.root / "actions/hello")
            shop.write(
                "tilltal.yaml", (shop.root / "tilltal.yaml").read_text().replace("[hello]", "[thanks]")
            )
            shop.write("audiences/buyers.yaml", "condition: purchases >= 1")
            until(lambda: found[-1] == ["Thanks a lot"], 10)
        assert found[0] == ["Thank you", "Hello"]
        assert server.stop()[0] == 0


def test_members_follow_a_changed_audience(tmp_path: Path, forking_server: Start) -> None:
    shop = Shop(tmp_path / "shop")
    with forking_server(shop) as server:
        server.send(*(purchase(number, f"u{number % 2}") for number in range(3)))
        assert len(server.members("buyers")) == 2
        shop.write("audiences/buyers.yaml", "condition: purchases >= 2")
        until(lambda: set(server.members("buyers")) == {server.profile("u0")["profile"]}, 20)


def test_a_stop_finishes_what_is_under_way(tmp_path: Path, forking_server: Start) -> None:
    """Told to stop under load and with a stream open: what was acknowledged is there."""
    shop = Shop(tmp_path / "shop")
    customers = [f"u{number}" for number in range(5)]
    ended = threading.Event()
    with forking_server(shop) as server:

        def listen() -> None:
            server.changes(lambda _: False)
            ended.set()

        stream = threading.Thread(target=listen, daemon=True)
        stream.start()
        with Traffic([server], lambda number: customers[number % 5], threads=4) as traffic:
            until(lambda: len(traffic.acknowledged) > 200, 60)
            code, seconds = server.stop()
        assert code == 0, server.logged()
        assert seconds < 10
        assert ended.wait(5), "the stream ends"
        assert set(traffic.statuses) <= {200, 503, 0}
        server.start()
        for customer in customers:
            check_customer(
                server,
                customer,
                traffic.numbers_of(customer, traffic.acknowledged),
                traffic.numbers_of(customer, traffic.sent),
            )
        traffic.send_again(server)
        for customer in customers:
            everything = traffic.numbers_of(customer, traffic.sent)
            check_customer(server, customer, everything, everything)
        assert "Traceback" not in server.logged()
        assert "nanobind" not in server.logged()


@pytest.mark.parametrize("count", [2_000, 10_000])
def test_slow_connections_do_not_stop_decisions(tmp_path: Path, forking_server: Start, count: int) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < count + 2_000:
        pytest.skip(f"the system allows a process fewer than {count + 2_000} open files")
    with forking_server(Shop(tmp_path / "shop")) as server:
        command = [sys.executable, str(SLOW), str(server.port), str(count)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as slow:
            assert slow.stdout is not None
            assert slow.stdout.readline() == "ready\n"
            took = []
            for number in range(200):
                began = time.perf_counter()
                assert server.decide(f"u{number}")["actions"]
                took.append(time.perf_counter() - began)
            slow.communicate("")
        took.sort()
        print(f"{count} slow connections: p50 {took[100] * 1000:.1f} ms, p99 {took[198] * 1000:.1f} ms")
        assert server.readiness() == 200
