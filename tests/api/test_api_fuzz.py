"""Random payloads: whatever comes, the answer is one of those described, and what is wrong is explained."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any, cast

import httpx
import pytest
from tests.api.callers import Api
from tests.api.live_fake import FakeService

WORDS = (
    "",
    "null",
    "u1",
    "\u0000",
    "å",
    "[object Object]",
    "2026-05-04T10:00:00Z",
    "9999-12-31",
    "NaN",
    "x" * 99,
)
KEYS = (
    "type",
    "event",
    "userId",
    "anonymousId",
    "messageId",
    "timestamp",
    "sentAt",
    "context",
    "traits",
    "batch",
)
TYPES = ("identify", "track", "page", "screen", "group", "alias", "TRACK")
URLS = ("/v1/batch", "/v1/track", "/v1/identify", "/v1/alias", "/v1/decide", "/v1/responses")


def anything(dice: random.Random, depth: int = 0) -> object:
    """A random JSON value, at times one that JSON has no word for."""
    kind = dice.randrange(9 if depth < 5 else 6)
    if kind >= 6:
        size = dice.randrange(5)
        if kind == 6:
            return [anything(dice, depth + 1) for _ in range(size)]
        return {dice.choice(KEYS): anything(dice, depth + 1) for _ in range(size)}
    scalars = (None, dice.random() < 0.5, dice.randrange(-(10**30), 10**30), dice.gauss(0, 1e9), float("nan"))
    return dice.choice(WORDS) if kind == 5 else scalars[kind]


def message(dice: random.Random) -> object:
    """A message with some keys right and some anything."""
    found: dict[str, object] = {"type": dice.choice(TYPES), "event": "e", "userId": "u", "messageId": "m"}
    for key in dice.sample(KEYS, dice.randrange(4)):
        found[key] = anything(dice)
    return found if dice.random() < 0.9 else anything(dice)


def payload(dice: random.Random, url: str) -> bytes:
    """A body for a route: well-formed at most times, else with bytes changed or cut off."""
    whole = message(dice)
    if url == "/v1/batch":
        whole = {"batch": [message(dice) for _ in range(dice.randrange(4))]}
    elif url == "/v1/decide":
        whole = {"identity": {"crm": "c"}}
    value = whole if dice.random() < 0.7 else anything(dice)
    body = bytearray(json.dumps(value, ensure_ascii=dice.random() < 0.5).encode())
    if dice.random() < 0.2 and body:
        body[dice.randrange(len(body))] = dice.randrange(256)
    return bytes(body[: dice.randrange(len(body) + 1)] if dice.random() < 0.1 else body)


async def send_all(api: Api, service: FakeService, count: int, seed: int) -> dict[int, int]:
    """Send random payloads and return how often each status came back."""
    dice = random.Random(seed)
    statuses: dict[int, int] = {}
    transport = httpx.ASGITransport(cast("Any", api.app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for _ in range(count):
            url = dice.choice(URLS)
            body = payload(dice, url)
            key = "key-decide" if url in ("/v1/decide", "/v1/responses") else "key-collect"
            before = len(service.refused)
            answer = await client.post(url, content=body, headers={"Authorization": f"Bearer {key}"})
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            found = answer.json()
            assert answer.status_code in (200, 400), (url, body, found)
            if answer.status_code == 400:
                assert found["code"], (url, body)
                assert found["message"], (url, body)
            elif url == "/v1/batch":
                told = [(each["index"], bool(each["reason"])) for each in found.get("rejected", [])]
                assert told == [(each.index, True) for each in service.refused[before:]], (url, body)
            service.messages.clear()
    return statuses


def check(api: Api, service: FakeService, count: int) -> None:
    statuses = asyncio.run(send_all(api, service, count, seed=20260504))
    assert sum(statuses.values()) == count
    assert min(statuses.values()) > count / 10, "the payloads are too much alike"


def test_random_payloads(api: Api, service: FakeService) -> None:
    check(api, service, 2_000)


@pytest.mark.slow
def test_very_many_random_payloads(api: Api, service: FakeService) -> None:
    check(api, service, 100_000)
