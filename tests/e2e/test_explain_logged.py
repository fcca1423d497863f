"""Logged decisions at the command line: explained and replayed long after, in four languages."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.commands import Commands
from tests.e2e.serving import Shop

from tilltal.core.operational import Writes
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.answers.deciding import read_logged, written
from tilltal.runtime.live.contract import DecideRequest, Message
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.progress import Silent

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
RULE = """
    title: Thank you
    group: service
    purpose: service
    propensity: 0.5
    value: 10
    eligibility:
      - name: has_bought
        when: audience.buyers
        description: Has bought something.
        words: {sv: Har handlat hos oss, ru: Уже покупал у нас}
    """


async def made(shop: Shop) -> list[str]:
    """Let three be decided for, one of them twice; return the ids of the decisions."""
    seconds = itertools.count()
    async with open_server(shop.root, lambda: NOW + timedelta(seconds=next(seconds)), Silent(), {}) as server:
        document = {"type": "identify", "userId": "u1", "messageId": "m1", "traits": {}}
        message = Message(
            index=0, type="identify", message_id="m1", user_id="u1", anonymous_id=None, timestamp=NOW,
            document=document,
        )  # fmt: skip
        assert not (await server.collect([message], NOW)).rejected
        asked = [DecideRequest(identity={"crm": name}, channel="push") for name in ("u1", "u2", "u1")]
        return [(await server.decide(one)).decision_id for one in asked]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    found = Shop(tmp_path / "shop")
    found.write("actions/thanks/action.yaml", RULE)
    return found


def test_a_decision_is_explained_after_its_definitions_are_gone(tilltal: Commands, shop: Shop) -> None:
    (decision, _, latest) = asyncio.run(made(shop))
    shop.write("actions/thanks/action.yaml", "{title: Other, group: g, purpose: service, value: 1}")
    said = {
        "en": "The customer may not have it. Needed: Has bought something.",
        "sv": "Kunden kan inte få det. Krävs: Har handlat hos oss.",
        "nb": "Kunden kan ikke få det. Kreves: Has bought something.",
        "ru": "Клиенту это недоступно. Нужно: Уже покупал у нас.",
    }
    for language, words in said.items():
        answer = tilltal("explain", shop.root, decision, "--language", language, "--json")
        assert answer.code == 0, answer.err
        told = msgspec.json.decode(answer.out)
        assert (told["decision_id"], told["is_proved"], told["has_changed"]) == (decision, True, True)
        (lost,) = told["not_chosen"]
        assert (lost["title"], lost["words"], lost["saw"]) == ("Thank you", words, {"audience.buyers": False})
    printed = tilltal("explain", shop.root, decision)
    assert "Has bought something" in printed.out
    assert "it came out the same to the last byte" in printed.out
    several = tilltal("explain", shop.root, "crm:u1", "--logged", "5", "--json")
    assert [one["decision_id"] for one in msgspec.json.decode(several.out)] == [latest, decision]
    assert latest in tilltal("explain", shop.root, "u1", "--logged", "1").out


def test_what_cannot_be_explained_is_said(tilltal: Commands, shop: Shop) -> None:
    asyncio.run(made(shop))
    for arguments, code, words in (
        (("0" * 32,), 4, "P367 There is no decision"),
        (("crm:nobody", "--logged", "1"), 4, "P365 Nobody is known as 'crm:nobody'"),
        (("0" * 32, "--language", "fi"), 1, "C129 There are no words in 'fi'"),
    ):
        answer = tilltal("explain", shop.root, *arguments)
        assert (answer.code, words in answer.err) == (code, True), answer.err


def test_replay_tells_what_differs_by_its_exit_code(tilltal: Commands, shop: Shop) -> None:
    ids = asyncio.run(made(shop))
    shop.write("actions/thanks/action.yaml", "{title: Other, group: g, purpose: service, value: 1}")
    answer = tilltal("replay", shop.root)
    assert answer.code == 0
    assert "3 of 3 decisions came out the same to the last byte" in answer.out
    assert "versions of the definitions: 1;" in answer.out
    limited = tilltal("replay", shop.root, "--limit", "2", "--json")
    assert msgspec.json.decode(limited.out)["decisions"] == 2
    later = tilltal("replay", shop.root, "--all", "--since", "2026-03-03", "--json")
    assert msgspec.json.decode(later.out)["decisions"] == 0
    asyncio.run(forge(shop, ids[0]))
    differs = tilltal("replay", shop.root)
    assert differs.code == 1
    assert "shown[0].V" in differs.out
    assert tilltal("replay", shop.root, "--since", "soon").code == 1


async def forge(shop: Shop, decision: str) -> None:
    """Put a copy of a decision beside it that says otherwise what was shown."""
    store = await open_store(str(shop.root / ".tilltal/live.sqlite"))
    try:
        row = await store.decision(bytes.fromhex(decision))
        assert row is not None
        logged = read_logged(row.body)
        shown: list[Any] = [msgspec.structs.replace(one, V=7.0) for one in logged.shown]
        body = written(msgspec.structs.replace(logged, shown=shown))
        forged = msgspec.structs.replace(row, id=b"\xff" * 16, body=body)
        await store.write(Writes(decisions=[forged]))
    finally:
        await store.close()
