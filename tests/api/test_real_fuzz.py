"""Random payloads to the real service: no error of ours; whatever is refused is explained, and kept."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.api.real import Answer, RealApi, real_api, set_aside
from tests.api.test_api_fuzz import TYPES, WORDS, anything
from tests.e2e.serving import Shop

COLLECT = ("batch", "batch", "batch", "track", "identify", "page", "screen", "group", "alias")
KEYS = ("type", "event", "userId", "anonymousId", "messageId", "timestamp", "sentAt", "context", "traits",
        "properties", "previousId", "groupId", "name", "integrations", "originalTimestamp")  # fmt: skip
TIMES = (
    *("2026-05-04T10:00:00Z", "1970-01-01T00:00:00Z", "1600-01-01", "2100-01-01T00:00:00+14:00"),
    *("9999-12-31", "0001-01-01T00:00:00+12:00", "2026-11-22T04:00:00", "2026-02-30", "now", "", "1e3"),
)
AT_ONCE = 200
HANG_SECONDS = 60  # a decision may take twice its budget of 20 s


class Sent(msgspec.Struct, frozen=True):
    """A payload, and what came back."""

    url: str
    body: bytes
    answer: Answer


class Payloads:
    """Makes payloads; every message has a number of its own, `n`, so that it can be found again."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._number = 0

    def __next__(self) -> tuple[str, bytes]:
        dice = self._dice
        kind = dice.choice((*COLLECT, "decide", "responses"))
        made = {"batch": self._batch, "decide": self._decide, "responses": self._responses}
        value = made.get(kind, self._message)() if dice.random() < 0.9 else anything(dice)
        body = bytearray(json.dumps(value, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass"))
        if dice.random() < 0.15 and body:
            body[dice.randrange(len(body))] = dice.randrange(256)
        if dice.random() < 0.03:
            body = body[: dice.randrange(len(body) + 1)]
        return f"/v1/{kind}", bytes(body)

    def _batch(self) -> object:
        dice = self._dice
        found: dict[str, object] = {"batch": [self._message() for _ in range(dice.randrange(4))]}
        for key in dice.sample(("sentAt", "context", "integrations", "writeKey", "x"), dice.randrange(3)):
            found[key] = dice.choice(TIMES) if dice.random() < 0.5 else anything(dice)
        return found

    def _message(self) -> object:
        dice = self._dice
        if dice.random() < 0.05:
            return anything(dice)
        self._number += 1
        user = dice.randrange(400)  # each with devices of their own, lest all are one component
        device = f"a{user if dice.random() < 0.99 else dice.randrange(400)}-{dice.randrange(3)}"
        found: dict[str, object] = {
            "type": dice.choice(TYPES), "event": dice.choice(("purchase", "look", "other")),
            "n": self._number, "userId": f"u{user}", "anonymousId": device, "previousId": device,
            "groupId": "g",
            "properties": {
                "amount": dice.choice((1, 2.5, -3, "4.50", 1e300, None)), "number": dice.randrange(9),
            },
            "traits": {"email": f"e{user}@x.example", "plan": dice.choice(WORDS)},
        }  # fmt: skip
        if dice.random() < 0.5:
            found["messageId"] = f"m{dice.randrange(3000)}"
        if dice.random() < 0.5:
            found["timestamp"] = dice.choice(TIMES)
        for key in dice.sample(KEYS, dice.randrange(3)):
            found[key] = anything(dice)
        return found

    def _decide(self) -> object:
        dice = self._dice
        found: dict[str, object] = {
            "identity": {dice.choice(("crm", "email", "device")): f"u{dice.randrange(50)}"}
        }
        keys = ("identity", "placement", "channel", "context", "count", "budget_ms", "x")
        for key in dice.sample(keys, dice.randrange(3)):
            found[key] = dice.choice((anything(dice), 1, 5.0, "push", {"page": "cards"}, {"big": 10**30}))
        return found

    def _responses(self) -> object:
        return [self._response() for _ in range(self._dice.randrange(4))]

    def _response(self) -> object:
        dice = self._dice
        found: dict[str, object] = {
            "id": f"r{dice.randrange(500)}", "decision_id": f"{dice.randrange(2**128):032x}",
            "action": "hello", "kind": "click",
        }  # fmt: skip
        for key in dice.sample(("id", "decision_id", "action", "kind", "at", "channel"), dice.randrange(3)):
            found[key] = dice.choice((anything(dice), dice.choice(TIMES)))
        return found


async def send_all(api: RealApi, count: int, seed: int) -> list[Sent]:
    """Send payloads, some at a time, and return those of which something was refused."""
    payloads, statuses = Payloads(seed), Counter[tuple[str, int]]()
    refused: list[Sent] = []

    async def work(number: int) -> None:
        for _ in range(count // AT_ONCE + (number < count % AT_ONCE)):
            url, body = next(payloads)
            async with asyncio.timeout(HANG_SECONDS):
                answer = await api.send("POST", url, body)
            statuses[url, answer.status] += 1
            assert answer.status in (200, 400), (url, body, answer)
            if answer.status == 400:
                assert answer.headers["content-type"] == "application/problem+json"
                assert all(answer.json()[key] for key in ("code", "message", "detail")), (url, body)
            if url not in ("/v1/decide", "/v1/responses"):
                refused.append(Sent(url, body, answer))

    await asyncio.gather(*(work(number) for number in range(AT_ONCE)))
    assert sum(statuses.values()) == count
    told = Counter[int]()
    for (_, status), times in statuses.items():
        told[status] += times
    assert min(told.values()) > count / 10, f"the payloads are too much alike: {statuses}"
    return refused


def rejections(sent: Sent) -> list[tuple[int | None, str, str]]:
    """Return number, code and reason of what was refused; the number is None of what has none."""
    found, whole = sent.answer.json(), parsed(sent.body)
    if sent.answer.status == 200:
        batch = whole["batch"] if isinstance(whole, dict) and "batch" in whole else {}
        told = found.get("rejected", ())
        return [
            (number_of(batch[one["index"]]) if batch else None, one["code"], one["reason"]) for one in told
        ]
    # a message's refusal says so; anything else was wrong with the request
    is_message = "quarantine" in found["errors"][0]["hint"]
    return [(number_of(whole), found["code"], found["message"])] if is_message else []


def parsed(body: bytes) -> Any:
    """Return a body, read with more patience than the server has."""
    try:
        return json.loads(body.decode(errors="replace"), strict=False)
    except ValueError:
        return None


def number_of(message: object) -> int | None:
    number = message.get("n") if isinstance(message, dict) else None
    return number if isinstance(number, int) else None


def check(root: Path, count: int) -> None:
    async def story() -> list[Sent]:
        async with real_api(root) as api:
            found = await send_all(api, count, seed=20261122)
            assert (await api.get("/readyz")).status == 200
            return found

    told = [one for sent in asyncio.run(story()) for one in rejections(sent)]
    kept = {
        (number_of(parsed(entry.raw.encode())), code, sentence)
        for codes, entry in set_aside(root)
        for code, sentence in zip(codes, entry.reasons, strict=True)
    }
    sentences = {(code, sentence) for _, code, sentence in kept}
    for number, code, sentence in told:
        assert sentence, code
        assert (number, code, sentence) in kept or (number is None and (code, sentence) in sentences), (
            number, code, sentence,
        )  # fmt: skip
    print(f"{count} payloads, {len(told)} messages refused, {len(kept)} reasons in quarantine")
    assert len(told) > count / 10
    assert len({code for _, code, _ in told}) >= 8, "too few kinds of faults"


def test_random_payloads_to_the_real_service(tmp_path: Path) -> None:
    check(Shop(tmp_path / "shop").root, 600)


@pytest.mark.slow
def test_very_many_random_payloads_to_the_real_service(tmp_path: Path) -> None:
    check(Shop(tmp_path / "shop").root, 100_000)
