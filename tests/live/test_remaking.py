"""Definitions that ask for other facts of the past, and other rules of who is who, while customers live."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.live.bank import LiveBank
from tests.live.live_words import FACTS, IDENTITY, ONE_EMAIL, RULES
from tests.live.test_files_while_serving import HOUR, MINUTE, NOON, agreed, crowd, message, place, total
from tests.live.test_live_parity import Told
from tests.postgres_server import postgres

from tilltal.core.errors import EngineError

__all__ = ["place", "postgres"]

OTHERS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, str]]] = {
    "facts": (RULES[0], FACTS),
    "who is who": (ONE_EMAIL, {}),
    "shared": ({"namespaces": [{**one, "shared_after": 2} for one in IDENTITY["namespaces"]]}, FACTS),
    "devices": (RULES[3], FACTS),
}


@pytest.fixture
def bank(tmp_path: Path, place: str) -> Iterator[LiveBank]:
    found = LiveBank(tmp_path / "bank", place, RULES[0], NOON, key=5)
    yield found
    found.close()


def told(bank: LiveBank, subscriber: Told) -> None:
    """Check that memberships are the values, and that a subscriber knows them and all stages."""
    seen, members = agreed(bank), bank.members()
    for audience, held in members.items():
        wanted = {profile for profile, row in seen.profiles.items() if row[f"audience.{audience}"] is True}
        assert held.keys() == wanted, audience
    subscriber.take(bank)
    assert subscriber.members == {name: held for name, held in members.items() if held}
    stages = {profile: row["lifecycle.stage"] for profile, row in seen.profiles.items()}
    assert subscriber.stages == {profile: stage for profile, stage in stages.items() if stage}


@pytest.mark.parametrize(
    "what", [each if each == "facts" else pytest.param(each, marks=pytest.mark.slow) for each in OTHERS]
)
def test_other_definitions_take_effect_while_messages_come(bank: LiveBank, what: str) -> None:
    bank.send(crowd(0, NOON))
    bank.ingest(crowd(100, NOON))
    bank.catch_up()
    subscriber = Told()
    told(bank, subscriber)
    before = bank.members()
    bank.now += MINUTE
    rules, files = OTHERS[what]

    def live_on() -> None:
        """By the definitions before."""
        agreed(bank)

    def send(first: int) -> Callable[[], object]:
        return lambda: bank.send(crowd(first, bank.now))

    def compact() -> None:
        with suppress(EngineError):  # E504 while what the log has is noted
            bank.compact()

    bank.redefine(rules, files, (send(200), live_on, send(300), compact, send(400)))
    told(bank, subscriber)
    seen = agreed(bank)
    assert ("big_buys" in next(iter(seen.profiles.values()))) == bool(files)
    for audience, held in bank.members().items():
        for profile in held.keys() & before.get(audience, {}).keys():
            assert held[profile] in (before[audience][profile], int(bank.now.timestamp() * 1e6))
    bank.now += HOUR
    bank.send(crowd(500, bank.now))
    bank.compact()
    bank.restart()
    bank.redefine(RULES[0], dict.fromkeys(files, ""))
    told(bank, subscriber)


def test_memberships_that_go_on_keep_their_beginning(bank: LiveBank) -> None:
    bank.send(crowd(0, NOON))
    before = bank.members()
    bank.now += HOUR
    bank.redefine(RULES[0], FACTS)
    after = bank.members()
    assert sum(map(len, before.values())) > 4
    assert {name: after[name] for name in before} == before
    assert set(after["big_buyers"].values()) == {int(bank.now.timestamp() * 1e6)}


@pytest.mark.slow
@pytest.mark.parametrize("after", range(1, 8, 2))
def test_it_begins_again_or_goes_on_after_a_crash(bank: LiveBank, after: int) -> None:
    bank.send(crowd(0, NOON))
    subscriber = Told()
    bank.begin_remaking(ONE_EMAIL, FACTS)
    for number in range(after):
        bank.send([message(900 + number, "Buy", bank.now, {"amount": 20}, userId="c1")])
    bank.break_off()
    bank.send(crowd(200, bank.now))
    told(bank, subscriber)
    bank.redefine(ONE_EMAIL, FACTS, (lambda: bank.send(crowd(300, bank.now)),))
    told(bank, subscriber)


@pytest.mark.slow
def test_files_that_come_meanwhile_count_once(bank: LiveBank) -> None:
    documents = crowd(0, NOON)
    bank.send(documents[:10])
    bank.ingest(documents[:6] + crowd(100, NOON))
    bank.catch_up(4)

    def both() -> None:
        bank.ingest(crowd(200, NOON)[:12])
        bank.catch_up(3)
        bank.send(crowd(200, NOON))

    bank.redefine(ONE_EMAIL, FACTS, (both, lambda: bank.send(documents)))
    bank.catch_up()
    deeds = [one for first in (0, 100, 200) for one in crowd(first, NOON)]
    assert total(agreed(bank), "visits_ever") == sum(one.get("event") in ("Buy", "Look") for one in deeds)
