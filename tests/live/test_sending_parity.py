"""The moment of a message: the same in a refresh and online, for the same facts, and again in a replay."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import msgspec
import pyarrow.parquet as pq
import pytest
from tests.bank import Bank

from tilltal.core.ids import parse_profile
from tilltal.runtime.answers.explain import explain
from tilltal.runtime.live.answers.deciding import read_logged
from tilltal.runtime.live.answers.replaying import Then, difference
from tilltal.runtime.live.contract import DecideRequest, Message
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.run import refresh

NOW = datetime(2026, 11, 3, 21, 40, tzinfo=UTC)  # clocks went back in Europe and, two days ago, in America
ZONES = ("Europe/Stockholm", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Mars/Base", "")
Sent = dict[int, tuple[datetime | None, str | None]]

FILES = {
    "tilltal.yaml": """
        name: testbank
        time_zone: Europe/Stockholm
        currency: SEK
        channels: [push, banner]
    """,
    "sources/people.yaml": """
        kind: record
        read: {files: data/people.csv}
        identities: {crm: userId}
        at: timestamp
        fields: {zone: text}
    """,
    "sources/logins.yaml": """
        kind: event
        read: {files: data/logins.csv}
        identities: {crm: userId}
        id: messageId
        at: timestamp
        event: login
        fields: {way: text}
    """,
    "sources/web_logins.yaml": """
        kind: event
        read: {collector: [track]}
        identities: {crm: userId}
        event: login
        fields: {way: {type: text, column: properties.way}}
    """,
    "policies/consent.yaml": "purposes: {service: {consent: not_required}}\n",
    "policies/contact.yaml": """
        time_zone: zone
        quiet_hours: [{from: "21:00", to: "08:30", applies_to: {channel: push}}]
    """,
    "policies/sending.yaml": """
        channels: [push]
        events: [login]
        days: 10
        horizon: 24 hours
    """,
    "policies/arbitration.yaml": "slots: 3\n",
    "actions/bill/action.yaml": "{title: Bill, group: a, purpose: service, propensity: 0.5, value: 9}\n",
    "actions/bill/push.en.yaml": "body: Hej\n",
    "actions/soon/action.yaml": """
        {title: Soon, group: b, purpose: service, propensity: 0.5, value: 8, ends: "2026-11-04T06:00:00Z"}
    """,
    "actions/soon/push.en.yaml": "body: Hej\n",
    "actions/hello/action.yaml": "{title: Hello, group: c, purpose: service, propensity: 0.5, value: 1}\n",
    "actions/hello/banner.en.yaml": "body: Hej\n",
}


def logins(random: Random, customers: int) -> list[tuple[int, datetime]]:
    """Return visits of a few hours' habit, several clicks each; every fifth customer has none."""
    found = []
    for customer in range(customers):
        if customer % 5 == 4:
            continue
        usual = random.sample(range(24), 2)
        for _ in range(random.randint(1, 25)):
            day, hour = random.randint(0, 14), random.choice(usual)
            visit = NOW.replace(hour=hour, minute=random.randint(0, 59)) - timedelta(days=day)
            if visit <= NOW:
                found += [(customer, visit + timedelta(seconds=n)) for n in range(random.randint(1, 3))]
    return [(customer, at) for customer, at in found if at <= NOW]


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """A bank with thirty customers in several time zones and their visits."""
    bank = Bank(tmp_path)
    bank.write("identity.yaml", "namespaces: [{name: crm, unique: true}]\n")
    for file, text in FILES.items():
        bank.write(file, text)
    stamp = (NOW - timedelta(days=30)).isoformat()
    people = "".join(f"c{one},{stamp},{ZONES[one % len(ZONES)]}\n" for one in range(30))
    bank.write("data/people.csv", "userId,timestamp,zone\n" + people)
    visits = logins(Random(5), 30)
    rows = "".join(f"c{who},v{n},{at.isoformat()},app\n" for n, (who, at) in enumerate(visits))
    bank.write("data/logins.csv", "userId,messageId,timestamp,way\n" + rows)
    bank.ingest(now=NOW)
    return bank


def refreshed(bank: Bank) -> dict[str, Sent]:
    """Return action → profile → moment, as a refresh decides."""
    refresh(bank.workspace, now=NOW, progress=Silent(), as_of=NOW)
    rows = pq.read_table(bank.store.current_snapshot() / "decisions.parquet").to_pylist()
    found: dict[str, Sent] = {}
    for row in rows:
        at = None if row["send_at"] is None else row["send_at"].replace(tzinfo=UTC)
        found.setdefault(row["action"], {})[row["profile"]] = (at, row["send_reason"])
    return found


async def online(server: LiveServer) -> dict[str, Sent]:
    """Return the same as decisions of the server have it, and prove that each can be made again."""
    found: dict[str, Sent] = {}
    then = Then(server.force.workspace)
    for one in range(30):
        answer = await server.decide(DecideRequest(identity={"crm": f"c{one}"}, reserve=False))
        assert answer.profile is not None
        assert answer.is_logged
        for action in answer.actions:
            sent = action.send_at, action.send_reason
            found.setdefault(action.action, {})[parse_profile(answer.profile)] = sent
        row = await server._store.decision(bytes.fromhex(answer.decision_id))
        assert row is not None
        logged = read_logged(row.body)
        assert difference(then, row, logged) is None
        assert set(logged.plans) == {f"{x.action}/push" for x in answer.actions if x.channel == "push"}
    return found


async def served(root: Path, more: list[tuple[int, datetime]]) -> tuple[dict[str, Sent], dict[str, Sent]]:
    """Return what a server decides before and after more visits come in."""
    async with open_server(root, lambda: NOW, Silent()) as server:
        before = await online(server)
        messages = [
            Message(
                index=index,
                type="track",
                message_id=f"w{index}",
                user_id=f"c{who}",
                anonymous_id=None,
                timestamp=at,
                document={
                    "type": "track", "event": "login", "userId": f"c{who}", "messageId": f"w{index}",
                    "timestamp": at.isoformat(), "properties": {"way": "web"},
                },
            )
            for index, (who, at) in enumerate(more)
        ]  # fmt: skip
        collected = await server.collect(messages, NOW)
        assert collected.accepted == len(messages)
        return before, await online(server)


def test_a_refresh_and_the_server_choose_the_same_moments(bank: Bank) -> None:
    batch = refreshed(bank)
    more = [(who, at.replace(hour=7)) for who, at in logins(Random(9), 30) if at.hour > 7]
    before, after = asyncio.run(served(bank.root, more))
    assert before == batch
    moments = [at for at, _ in batch["bill"].values()]
    assert len(batch["bill"]) == 30
    assert all(at is not None and NOW <= at < NOW + timedelta(hours=24) for at in moments)
    assert len(set(moments)) > 5
    reasons = {because for _, because in batch["bill"].values()}
    assert reasons == {"own_rhythm", "population_rhythm"}
    assert set(batch["hello"].values()) == {(None, None)}
    assert 0 < len(batch["soon"]) < 30  # where night ends after the action does, it is too late
    # What came in meanwhile counts at once, by the snapshot's rhythm of all; a refresh renews that.
    assert after != before
    kept = (bank.store.current_snapshot() / "rhythm.json").read_bytes()
    again = refreshed(bank)
    assert (bank.store.current_snapshot() / "rhythm.json").read_bytes() != kept
    assert asyncio.run(served(bank.root, []))[0] == again


def test_an_explanation_says_when_and_why(bank: Bank) -> None:
    batch = refreshed(bank)["bill"]
    for one in (0, 4):
        found = explain(bank.workspace, f"c{one}", {})
        (bill,) = [each for each in found.chosen if each.action == "bill"]
        at, because = batch[parse_profile(found.profile)]
        assert bill.send_at == at
        said = {"own_rhythm": "this customer", "population_rhythm": "customers are there"}[because or ""]
        assert said in bill.because[-1]
    msgspec.json.encode(found)
