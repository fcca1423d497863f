"""Numbered purchases sent to servers from several threads, with a note of which were acknowledged."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Self

import httpx
import msgspec
from tests.e2e.serving import Server, purchase

BATCH = 5


class Traffic:
    """Sends until it is told to stop, or until a request fails if `must_go_on` is not set.

    `customer_of` says whose the purchase of a number is. Each batch ends with an identify of the customer
    with a device of theirs, so that there is identity work too.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        customer_of: Callable[[int], str],
        *,
        threads: int = 2,
        first: int = 0,
        must_go_on: bool = False,
    ) -> None:
        self._servers = servers
        self._customer_of = customer_of
        self._numbers = count(first)
        self._stopping = threading.Event()
        self._must_go_on = must_go_on
        self._threads = [threading.Thread(target=self._send, args=(place,)) for place in range(threads)]
        self.sent: list[int] = []
        self.acknowledged: list[int] = []
        self.statuses: Counter[int] = Counter()
        self.without_retry_after = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Finish the requests under way and send no more."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a request hangs"

    @property
    def is_running(self) -> bool:
        """True as long as every thread sends."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def unacknowledged(self) -> list[int]:
        """What was sent without an answer that it is stored."""
        return sorted(set(self.sent) - set(self.acknowledged))

    def send_again(self, server: Server) -> None:
        """Send everything unacknowledged once more."""
        for number in self.unacknowledged:
            server.send(purchase(number, self._customer_of(number)))
            self.acknowledged.append(number)

    def numbers_of(self, customer: str, numbers: Sequence[int]) -> set[int]:
        """Return which of the numbers are a customer's."""
        return {number for number in numbers if self._customer_of(number) == customer}

    def _send(self, place: int) -> None:
        server = self._servers[place % len(self._servers)]
        headers = {"Authorization": f"Bearer {server.key}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
            while not self._stopping.is_set():
                if not self._send_batch(client) and not self._must_go_on:
                    return

    def _send_batch(self, client: httpx.Client) -> bool:
        numbers = [next(self._numbers) for _ in range(BATCH)]
        customers = [self._customer_of(number) for number in numbers]
        who = {"userId": customers[0], "anonymousId": f"device-of-{customers[0]}"}
        identify = {**who, "type": "identify", "messageId": f"identify-{numbers[0]}", "traits": {}}
        batch = [*map(purchase, numbers, customers), identify]
        self.sent += numbers
        try:
            answer = client.post("/v1/batch", content=msgspec.json.encode({"batch": batch}))
        except httpx.HTTPError:
            self.statuses[0] += 1
            self._stopping.wait(0.02)
            return False
        self.statuses[answer.status_code] += 1
        if answer.status_code == 200:
            assert "rejected" not in answer.json(), answer.text
            self.acknowledged += numbers
            return True
        if answer.status_code in (429, 503) and int(answer.headers.get("retry-after", 0)) < 1:
            self.without_retry_after += 1
        self._stopping.wait(0.02)
        return False


def stored(server: Server, customer: str) -> list[int]:
    """Return the numbers of a customer's purchases as the timeline tells them."""
    if server.profile(customer) is None:
        return []
    return [one["fields"]["number"] for one in server.timeline(customer) if one["source"] == "deeds"]


def check_customer(server: Server, customer: str, acknowledged: set[int], sent: set[int]) -> None:
    """Check that all acknowledged purchases are there once, the others at most once, and all counted."""
    found = stored(server, customer)
    assert len(found) == len(set(found)), f"{customer} has something twice"
    assert acknowledged <= set(found), f"{customer} lost {acknowledged - set(found)}"
    assert set(found) <= sent
    profile = server.profile(customer)
    if profile is None:
        return
    assert (profile["traits"]["purchases"] or 0) == len(found), customer
    assert (profile["traits"]["spend"] or 0) == 10 * len(found), customer
    assert set(profile["audiences"]) == {name for name, is_in in _audiences(len(found)).items() if is_in}


def check_changes(server: Server) -> None:
    """Check that entries and exits alternate for each member, and end with who is a member now."""
    inside: dict[str, set[str]] = {"buyers": set(), "even": set()}
    last = 0
    for change in all_changes(server):
        assert change["position"] > last, "positions rise"
        last = change["position"]
        if change["kind"] in ("entered", "left"):
            who = inside[change["name"]]
            assert (change["kind"] == "entered") == (change["profile"] not in who), change
            who.symmetric_difference_update({change["profile"]})
        if change["kind"] == "merged":
            for who in inside.values():
                who.discard(change["profile"])
    for audience, who in inside.items():
        assert who == set(server.members(audience))


def all_changes(server: Server) -> list[dict[str, Any]]:
    """Return every change so far: those before one that is made to happen now."""
    server.send(purchase(10**9, "the-last-one", messageId=f"last-{server.pid}"))
    last = server.profile("the-last-one")["profile"]
    return server.changes(lambda change: change["profile"] == last)


def _audiences(purchases: int) -> dict[str, bool]:
    return {"buyers": purchases >= 1, "even": purchases >= 1 and purchases % 2 == 0}
