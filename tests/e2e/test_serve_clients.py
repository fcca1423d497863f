"""Published clients of the tracking protocol, unchanged, against the real server, down to the profile."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.e2e.detour import Detour, detour_to, pauses
from tests.e2e.serving import Server, Shop, purchase, until

segment = pytest.importorskip("segment.analytics.client")
rudder = pytest.importorskip("rudderstack.analytics.client")

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("clients") / "segment_messages.mjs"
PACKAGE = "@segment/analytics-node@3.1.0"
NAMES = ("segment", "rudder", "node")
Sent = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    shop = Shop(tmp_path_factory.mktemp("clients") / "shop")
    with Server(shop, shop.key()) as found:
        yield found


@pytest.fixture(scope="module")
def way(server: Server) -> Iterator[Detour]:
    """A proxy before the server."""
    with detour_to(server.url) as found:
        yield found


@pytest.fixture(params=NAMES)
def send(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Send:
    """Sends with one of the clients and returns the errors it told."""
    name = str(request.param)
    if name == "node":
        return Node(name, _node_folder(tmp_path_factory.getbasetemp()))
    return Python(name)


class Send:
    """A client: sends messages, waits until all are sent, returns what it reported."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, url: str, key: str, sent: list[Sent], **settings: Any) -> list[str]:
        raise NotImplementedError


class Python(Send):
    """The Python clients of Segment and of RudderStack."""

    def __call__(self, url: str, key: str, sent: list[Sent], **settings: Any) -> list[str]:
        module = segment if self.name == "segment" else rudder
        told: list[str] = []
        settings = {"upload_interval": 0.2, "max_queue_size": 5000, "timeout": 10, **settings}
        client = module.Client(key, host=url, on_error=lambda error, _: told.append(str(error)), **settings)
        for method, message in sent:
            getattr(client, method)(**message)
        client.flush()
        client.join()
        return told


class Node(Send):
    """Segment's client for Node."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self._folder = folder

    def __call__(self, url: str, key: str, sent: list[Sent], **settings: Any) -> list[str]:
        assert not settings
        lines = "".join(json.dumps([method, _camel(message)], default=str) + "\n" for method, message in sent)
        command = ["node", SCRIPT.name, url, key]
        done = subprocess.run(
            command, input=lines, cwd=self._folder, capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout.splitlines()


@cache
def _node_folder(base: Path) -> Path:
    """Install the Node client once and put the script beside it."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    folder = base / "node"
    folder.mkdir()
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", PACKAGE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr.strip()[-200:]}")
    shutil.copy(SCRIPT, folder)
    return folder


def _camel(message: dict[str, Any]) -> dict[str, Any]:
    words = ((key.split("_"), value) for key, value in message.items())
    return {first + "".join(map(str.title, rest)): value for (first, *rest), value in words}


def person() -> tuple[str, str]:
    """Return a user and a device that nobody used before."""
    unique = uuid.uuid4().hex[:12]
    return f"u{unique}", f"a{unique}"


def bought(user: str, **more: Any) -> Sent:
    return "track", {"user_id": user, "event": "purchase", "properties": {"amount": 12.5}, **more}


def six_calls(user: str, device: str) -> list[Sent]:
    mail = {"email": f"{user}@example.com", "plan": "gold"}
    return [
        ("identify", {"user_id": user, "anonymous_id": device, "traits": mail}),
        bought(user),
        ("alias", {"previous_id": device, "user_id": user}),
        ("group", {"user_id": user, "group_id": "g1", "traits": {"plan": "gold"}}),
        ("page", {"user_id": user, "category": "shop", "name": "cards", "properties": {"url": "/cards"}}),
        ("screen", {"user_id": user, "category": "app", "name": "home"}),
    ]


def check_six(server: Server, user: str, device: str) -> None:
    found = server.profile(user)
    assert found == {**server.profile(device, "device"), "as_of": found["as_of"]}, "one person with both ids"
    assert (found["traits"]["purchases"], found["traits"]["views"]) == (1, 2)
    assert (found["attributes"]["plan"], found["attributes"]["company"]) == ("gold", "g1")
    assert server.profile(f"{user}@example.com", "email")["profile"] == found["profile"]
    kinds = sorted((one["kind"], one["source"]) for one in server.timeline(user))
    assert kinds == [
        ("event", "aliases"),
        ("event", "deeds"),
        ("event", "views"),
        ("event", "views"),
        ("record", "groups"),
        ("record", "people"),
    ]


def test_six_calls_are_one_person_with_both_ids(send: Send, server: Server) -> None:
    user, device = person()
    assert send(server.url, server.key, six_calls(user, device)) == []
    check_six(server, user, device)


@pytest.mark.parametrize("send", ["segment", "rudder"], indirect=True)
@pytest.mark.parametrize("is_gzipped", [False, True])
def test_compressed_or_not_comes_to_the_same(
    send: Send, server: Server, way: Detour, is_gzipped: bool
) -> None:
    user, device = person()
    way.expect()
    assert send(way.url, server.key, six_calls(user, device), gzip=is_gzipped) == []
    assert way.encodings == ({"gzip"} if is_gzipped else {""})
    check_six(server, user, device)


def test_busy_then_unavailable_then_stored_once(send: Send, server: Server, way: Detour) -> None:
    user, _ = person()
    way.expect("busy", "unavailable")
    assert send(way.url, server.key, [bought(user)]) == []
    assert way.statuses == [429, 503, 200]
    if send.name != "rudder":
        assert pauses(way.times)[0] >= 0.99, "Retry-After was not honoured"
    assert server.traits(user)["purchases"] == len(server.timeline(user)) == 1


def test_stored_but_never_answered_counts_once(send: Send, server: Server, way: Detour) -> None:
    user, _ = person()
    way.expect("unanswered")
    assert send(way.url, server.key, [bought(user)]) == []
    assert way.statuses == [0, 200]
    assert server.traits(user)["purchases"] == len(server.timeline(user)) == 1


def test_250_messages_come_in_batches_and_none_is_lost(send: Send, server: Server, way: Detour) -> None:
    user, _ = person()
    way.expect()
    sent = [bought(user, timestamp=datetime.now(UTC)) for _ in range(250)]
    assert send(way.url, server.key, sent) == []
    if send.name == "node":
        assert len(way.statuses) == 17
    else:
        assert 3 <= len(way.statuses) <= 5, "the first may be cut short by the interval"
    assert server.traits(user)["purchases"] == len(server.timeline(user)) == 250


def test_a_wrong_write_key_is_told_and_not_tried_again(send: Send, server: Server, way: Detour) -> None:
    user, _ = person()
    way.expect()
    (told,) = send(way.url, "wrong", [bought(user)])
    assert "401" in told or "H601" in told
    assert way.statuses == [401]
    assert server.profile(user) is None


def test_a_message_too_large_is_refused_alone(server: Server) -> None:
    """The clients themselves never send one, so it is put together by hand."""
    user, _ = person()
    large = purchase(1, user, messageId=f"{user}-large", context={"text": "x" * 40_000})
    good = [purchase(n, user, messageId=f"{user}-{n}") for n in range(3)]
    answer = server.send(good[0], large, *good[1:])
    assert [(one["index"], one["code"], one["message_id"]) for one in answer["rejected"]] == [(1, "H616", "")]
    assert server.traits(user)["purchases"] == 3
    seen = list((server.shop.root / ".tilltal" / "quarantine").rglob("*.jsonl"))
    assert seen, "the refused message is in quarantine"


def test_a_time_two_years_ago_stays(send: Send, server: Server) -> None:
    user, _ = person()
    then = datetime.now(UTC) - timedelta(days=730)
    assert send(server.url, server.key, [bought(user, timestamp=then)]) == []
    (entry,) = server.timeline(user)
    assert abs(datetime.fromisoformat(entry["at"]) - then) < timedelta(seconds=10)


def test_junk_ids_never_link(send: Send, server: Server) -> None:
    junk = ["null", "undefined", "[object Object]", "0000", " "]
    people = [person()[0] for _ in junk]
    sent = [bought(user, anonymous_id=bad) for user, bad in zip(people, junk, strict=True)]
    sent += [bought(bad) for bad in junk]
    told = send(server.url, server.key, sent)
    assert told == []
    profiles = {server.profile(user)["profile"] for user in people}
    assert len(profiles) == len(people)
    assert [server.traits(user)["purchases"] for user in people] == [1] * len(people)
    for bad in junk[:-1]:
        assert server.profile(bad) is None
        assert server.profile(bad, "device") is None


def test_a_server_killed_amid_2000_messages_has_each_once(
    send: Send, tmp_path: Path, forking_server: Callable[[Shop], Server]
) -> None:
    shop = Shop(tmp_path / "shop")
    with forking_server(shop) as server:
        sent = [bought(f"u{number % 50}", properties={"number": number}) for number in range(2000)]
        told: list[str] = []
        sending = threading.Thread(target=lambda: told.extend(send(server.url, server.key, sent)))
        sending.start()
        until(lambda: _stored(server) >= 200, 60)
        server.kill()
        time.sleep(1)
        server.start()
        sending.join(120)
        assert not sending.is_alive()
        assert told == []
        numbers = [one["fields"]["number"] for user in range(50) for one in server.timeline(f"u{user}")]
        assert sorted(numbers) == list(range(2000))
        assert [server.traits(f"u{user}")["purchases"] for user in range(50)] == [40] * 50


def _stored(server: Server) -> int:
    text = httpx.get(f"{server.url}/metrics", timeout=5).text
    (line,) = [
        line for line in text.splitlines() if line.startswith('tilltal_messages_total{outcome="accepted"')
    ]
    return int(float(line.rpartition(" ")[2]))


def test_a_message_in_quarantine_tells_why(server: Server) -> None:
    user, _ = person()
    answer = server.send({"type": "track", "event": "unheard_of", "userId": user, "messageId": f"{user}-x"})
    assert [one["code"] for one in answer["rejected"]] == ["S330"]
    kept = (server.shop.root / ".tilltal" / "quarantine").rglob("*.jsonl")
    codes = [msgspec.json.decode(line)["codes"] for path in kept for line in path.read_text().splitlines()]
    assert ["S330"] in codes
