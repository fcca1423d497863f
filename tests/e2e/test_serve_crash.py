"""The server killed at random moments under load: nothing acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from tests.e2e.serving import Server, Shop
from tests.e2e.traffic import Traffic, check_changes, check_customer
from tests.postgres_server import PostgresServer, postgres

__all__ = ["postgres"]
ROUNDS = int(os.environ.get("TILLTAL_CRASH_ROUNDS", "200"))
EVERYBODY = 3  # customers that take part in all rounds
OWN = 3  # customers of one round


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_killed_at_random_moments(
    kind: str, tmp_path: Path, forking_server: Callable[[Shop], Server], request: pytest.FixtureRequest
) -> None:
    place = ".tilltal/live.sqlite"
    if kind == "postgres":
        server_of: PostgresServer = request.getfixturevalue("postgres")
        place = server_of.new_dsn()
    shop = Shop(tmp_path / "shop", place)
    random = Random(41)
    sent: dict[str, set[int]] = {}
    with forking_server(shop) as server:
        for number in range(ROUNDS):
            _one_round(server, number, random, sent)
        check_changes(server)


def _one_round(server: Server, number: int, random: Random, sent: dict[str, set[int]]) -> None:
    """Send, kill, start, check, send again what was not acknowledged, check."""
    base = number * 100_000
    own = [f"round-{number}-{one}" for one in range(OWN)]
    customers = [*own, *(f"everybody-{one}" for one in range(EVERYBODY))]
    with Traffic([server], lambda one: customers[one % len(customers)], first=base) as traffic:
        time.sleep(random.uniform(0.0, 0.25))
        server.kill()
    if random.random() < 0.15:  # again, while it starts
        server.start(wait=False)
        time.sleep(random.uniform(0.0, 0.4))
        server.kill()
    server.start()
    before = {customer: set(found) for customer, found in sent.items()}
    for customer in customers:
        mine = traffic.numbers_of(customer, traffic.sent)
        sent.setdefault(customer, set()).update(mine)
        acknowledged = traffic.numbers_of(customer, traffic.acknowledged)
        check_customer(server, customer, before.get(customer, set()) | acknowledged, sent[customer])
    traffic.send_again(server)
    for customer in customers:
        check_customer(server, customer, sent[customer], sent[customer])
