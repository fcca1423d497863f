"""Published clients of the tracking protocol, unchanged, against the listening server."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.callers import Listening, listening
from tests.api.live_fake import FakeService

from tilltal.runtime.live.contract import Busy, Collected, Message, Refused, Unavailable

segment = pytest.importorskip("segment.analytics.client")
rudder = pytest.importorskip("rudderstack.analytics.client")

Make = Callable[..., Any]


@pytest.fixture(params=["segment", "rudder"])
def make(request: pytest.FixtureRequest, server: Listening) -> Iterator[Make]:
    """Makes a client of either kind; all are ended after the test."""
    module = segment if request.param == "segment" else rudder
    made: list[Any] = []

    def client(key: str = "key-collect", host: str = server.url, **more: Any) -> Any:
        settings = {"upload_interval": 0.1, "max_retries": 5, "timeout": 5, **more}
        made.append(module.Client(key, host=host, **settings))
        return made[-1]

    yield client
    for each in made:
        each.join()


def send_six(client: Any) -> None:
    client.identify(user_id="u1", anonymous_id="a1", traits={"email": "one@example.com"})
    client.track(user_id="u1", event="purchase", properties={"amount": 12.5})
    client.alias(previous_id="a1", user_id="u1")
    client.group(user_id="u1", group_id="g1", traits={"plan": "gold"})
    client.page(user_id="u1", category="shop", name="cards", properties={"url": "/cards"})
    client.screen(user_id="u1", category="app", name="home")
    client.flush()


@pytest.mark.parametrize("is_gzipped", [False, True])
def test_six_calls_are_six_messages_of_one_person(make: Make, service: FakeService, is_gzipped: bool) -> None:
    send_six(make(gzip=is_gzipped))
    found = {each.type: each for each in service.messages.values()}
    assert sorted(found) == ["alias", "group", "identify", "page", "screen", "track"]
    assert len(service.messages) == 6
    assert (found["identify"].user_id, found["identify"].anonymous_id) == ("u1", "a1")
    assert found["identify"].document["traits"] == {"email": "one@example.com"}
    assert (found["alias"].previous_id, found["alias"].user_id) == ("a1", "u1")
    assert found["group"].group_id == "g1"
    assert found["track"].document["properties"] == {"amount": 12.5}
    assert service.refused == []


def test_busy_then_unavailable_then_stored_once(
    make: Make, service: FakeService, request: pytest.FixtureRequest
) -> None:
    service.failures += [Busy(1.0), Unavailable("starting")]
    client = make()
    began = time.monotonic()
    client.track(user_id="u1", event="purchase")
    client.flush()
    assert len(service.messages) == 1
    assert service.calls == 3
    if "segment" in request.node.name:
        assert time.monotonic() - began >= 1.0, "Retry-After was not honoured"


def test_stored_but_never_answered_counts_once(make: Make, service: FakeService) -> None:
    taken: list[int] = []

    async def store_and_hang(
        messages: list[Message], received: datetime, refused: tuple[Refused, ...] = ()
    ) -> Collected:
        taken.append(len(messages))
        found = await FakeService.collect(service, messages, received, refused)
        if len(taken) == 1:
            await asyncio.sleep(3)
        return found

    service.collect = store_and_hang  # type: ignore[method-assign, assignment]
    client = make(timeout=1)
    client.track(user_id="u1", event="purchase")
    client.flush()
    del service.collect
    assert taken == [1, 1]
    assert len(service.messages) == 1


def test_250_messages_are_three_batches(make: Make, service: FakeService) -> None:
    client = make(upload_interval=0.5)
    for number in range(250):
        client.track(user_id=f"u{number}", event="purchase")
    client.flush()
    assert sorted(each.user_id or "" for each in service.messages.values()) == sorted(
        f"u{number}" for number in range(250)
    )
    assert 3 <= service.calls <= 5  # the first may be cut short by the interval


def test_a_wrong_write_key_is_told_once(make: Make, service: FakeService) -> None:
    told: list[object] = []
    client = make("wrong", on_error=lambda error, batch: told.append(error))
    client.track(user_id="u1", event="purchase")
    client.flush()
    client.join()
    assert len(told) == 1
    assert "H601" in str(told[0])
    assert (service.calls, service.messages) == (0, {})


def test_a_time_two_years_ago_stays(make: Make, service: FakeService) -> None:
    then = datetime.now(UTC) - timedelta(days=730)
    client = make()
    client.track(user_id="u1", event="purchase", timestamp=then)
    client.flush()
    (found,) = service.messages.values()
    assert abs(found.timestamp - then) < timedelta(seconds=5)


def test_junk_ids_arrive_as_they_are_and_empty_ones_are_refused(make: Make, service: FakeService) -> None:
    client = make()
    for junk in ("null", "undefined", "[object Object]", "0000", " "):
        client.track(user_id=junk, event="purchase")
    client.flush()
    assert sorted(each.user_id or "" for each in service.messages.values()) == [
        "0000",
        "[object Object]",
        "null",
        "undefined",
    ]
    assert [each.code for each in service.refused] == ["S337"]


def test_what_is_no_number_is_refused_alone(make: Make, service: FakeService) -> None:
    client = make(upload_interval=0.5)
    client.track(user_id="u1", event="purchase", properties={"amount": float("nan")})
    client.track(user_id="u2", event="purchase", properties={"amount": 5})
    client.flush()
    assert [each.user_id for each in service.messages.values()] == ["u2"]
    assert [each.code for each in service.refused] == ["S333"]


@pytest.mark.slow
def test_a_restart_of_the_server_loses_nothing(service: FakeService) -> None:
    """The server goes away in the middle of 2,000 messages and comes back on the same port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client = segment.Client(
        "key-collect", host=f"http://127.0.0.1:{port}", upload_interval=0.1, max_queue_size=5_000, timeout=2
    )

    def send() -> None:
        for number in range(2_000):
            client.track(user_id=f"u{number}", event="purchase")
            time.sleep(0.0005)

    sending = threading.Thread(target=send)
    with listening(service, port=port):
        sending.start()
        while len(service.messages) < 300:
            time.sleep(0.01)
    so_far = len(service.messages)
    time.sleep(0.5)
    with listening(service, port=port):
        sending.join()
        client.flush()
        client.join()
    assert so_far < 2_000
    assert sorted(each.user_id or "" for each in service.messages.values()) == sorted(
        f"u{number}" for number in range(2_000)
    )
