"""What is broken takes nothing down: the decision is made with what remains, and says what it did without."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.e2e.serving import Shop

from tilltal.core.operational import State, Writes
from tilltal.customers.live.program import Reference
from tilltal.engines.operational.opening import open_store
from tilltal.models.fitting import Task
from tilltal.models.model import TrainedModel
from tilltal.models.training import train
from tilltal.runtime.live.answers.account import DecisionAccount
from tilltal.runtime.live.contract import DecideAnswer, DecideRequest, Message
from tilltal.runtime.live.reference import Snapshotted, usable_models
from tilltal.runtime.live.serving import opening
from tilltal.runtime.live.serving.opening import open_server
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.progress import Silent
from tilltal.workspace.definitions.models import Model, Outcome, Snapshots
from tilltal.workspace.workspace import Workspace

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
BUDGET_MS = 5_000.0
BROKEN = {
    "actions/gone/action.yaml": "{title: Gone, group: g, purpose: service, value: 900, ends: '2026-03-01'}",
    "actions/gone/push.en.yaml": "{title: Gone, body: Gone.}",
    "actions/mute/action.yaml": "{title: Mute, group: g, purpose: service, propensity: 0.5, value: 900}",
    "actions/mute/email.en.yaml": "{title: Mute, body: Mute.}",
    "actions/ratio/action.yaml": """
        title: Ratio
        group: g
        purpose: service
        propensity: 0.5
        value: spend / (purchases - purchases)
        """,
    "actions/ratio/push.en.yaml": "{title: Ratio, body: Ratio.}",
    "actions/never/action.yaml": """
        title: Never
        group: g
        purpose: service
        propensity: 1
        value: 900
        applicability: [{name: rich, when: spend / (purchases - purchases) > 1}]
        """,
    "actions/never/push.en.yaml": "{title: Never, body: Never.}",
    "policies/arbitration.yaml": "{slots: 3, defaults: {value: 2}}",
}
LIKING = "{outcome: {events: [purchase]}, horizon: 30 days, features: [purchases, spend]}"
LIKED = "{title: Hello, group: service, purpose: service, propensity: liking, value: 1}"
LEARNED = """
    title: Hello
    group: service
    purpose: service
    propensity: {adaptive: {base_rate: 0.2, evidence: 4}}
    value: 1
    """


class Bank:
    """A server in this process; `models` is where a snapshot has its models."""

    def __init__(self, root: Path) -> None:
        self.shop = Shop(root / "shop")
        self.folder = root / "snapshot"
        self.liking = self.folder / "models/liking/model"
        self.liking.parent.mkdir(parents=True)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[LiveServer]:
        """Serve one customer, who has bought once, until the block ends."""
        async with open_server(self.shop.root, lambda: NOW, Silent(), {}) as server:
            document = {
                "type": "track", "event": "purchase", "userId": "u1", "messageId": "m1",
                "properties": {"amount": 10.5, "number": 1},
            }  # fmt: skip
            message = Message(
                index=0, type="track", message_id="m1", user_id="u1", anonymous_id=None, timestamp=NOW,
                document=document, event="purchase",
            )  # fmt: skip
            assert not (await server.collect([message], NOW)).rejected
            yield server

    def snapshotted(self, workspace: Workspace) -> Snapshotted:
        """Stand in for the snapshot."""
        models, faulty = usable_models(self.folder, workspace)
        editions = dict.fromkeys(models, "first")
        return Snapshotted(reference=Reference(models=models, faulty=faulty, editions=editions))

    async def write(self, writes: Writes) -> None:
        """Write to the store beside the server."""
        store = await open_store(str(self.shop.root / ".tilltal/live.sqlite"))
        try:
            await store.write(writes)
        finally:
            await store.close()


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
    made = Bank(tmp_path)
    monkeypatch.setattr(opening, "snapshotted", made.snapshotted)
    return made


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


async def decided(server: LiveServer, **asked: Any) -> DecideAnswer:
    request = DecideRequest(identity={"crm": "u1"}, channel="push", budget_ms=BUDGET_MS, **asked)
    began = time.perf_counter()
    answer = await server.decide(request)
    assert time.perf_counter() - began < BUDGET_MS / 1000
    return answer


async def explained(server: LiveServer, answer: DecideAnswer, language: str = "en") -> DecisionAccount:
    account = await server.explain(answer.decision_id, language)
    assert account is not None
    assert account.is_proved
    assert [one.action for one in account.chosen] == [one.action for one in answer.actions]
    return account


def degraded(server: LiveServer) -> Mapping[str, float]:
    name = "tilltal_decisions_degraded_total"
    found = {one.labels["reason"]: one.value for one in server.metrics() if one.name == name}
    return {reason: count for reason, count in found.items() if count}


def flawed(server: LiveServer) -> Mapping[str, float]:
    name = "tilltal_decisions_flawed_total"
    found = {one.labels["reason"]: one.value for one in server.metrics() if one.name == name}
    return {reason: count for reason, count in found.items() if count}


def model() -> TrainedModel:
    rng = np.random.default_rng(1)
    days = [date(2026, month, 1) for month in range(1, 6)]
    count = 400
    need = rng.normal(size=count * 5)
    table = pa.table({
        "profile": np.tile(np.arange(count), 5),
        "snapshot": pa.array([day for day in days for _ in range(count)]),
        "purchases": rng.integers(0, 9, count * 5),
        "spend": need,
        "label": rng.random(count * 5) < 1 / (1 + np.exp(1 - 2 * need)),
    })  # fmt: skip
    definition = Model(
        outcome=Outcome(events=("purchase",)),
        horizon="30 days",
        features=("purchases", "spend"),
        snapshots=Snapshots(count=5),
    )
    made = train(table, Task(name="liking", definition=definition, hash="abc", threads=1))
    assert isinstance(made, TrainedModel)
    return made


def test_faulty_actions_are_left_out_and_say_why(bank: Bank) -> None:
    for file, text in BROKEN.items():
        bank.shop.write(file, text)

    async def story() -> None:
        async with bank.serving() as server:
            answer = await decided(server)
            assert [one.action for one in answer.actions] == ["thanks", "ratio", "hello"]
            assert answer.actions[1].factors.V == 2  # the default stands in for what divides by zero
            account = await explained(server, answer)
            lost = {one.action: one for one in account.not_chosen}
            assert {name: one.reason for name, one in lost.items()} == {
                "gone": "eligibility:expired",
                "mute": "contact_policy:no_channel",
                "never": "applicability:rich",
            }
            assert lost["never"].saw == {"purchases": 1, "spend": 10.5}
            assert (lost["never"].stage, lost["never"].rule) == ("applicability", "rich")
            assert lost["mute"].words.startswith("The contact policy forbids it: there is no channel")
            in_swedish = {one.action: one for one in (await explained(server, answer, "sv")).not_chosen}
            assert in_swedish["gone"].words == "Kunden kan inte få det: det är avslutat."
            assert degraded(server) == {}
            assert flawed(server) == {"expired": 1, "no_treatment": 1, "division_by_zero": 1}
            await server.decide(DecideRequest(identity={"crm": "u1"}, budget_ms=BUDGET_MS))
            assert flawed(server) == {"expired": 2, "no_treatment": 1, "division_by_zero": 2}

    run(story())


def test_what_is_not_broken_is_not_counted(bank: Bank) -> None:
    bank.shop.write("actions/ratio/push.en.yaml", BROKEN["actions/ratio/push.en.yaml"])
    bank.shop.write("actions/ratio/action.yaml", """
        title: Ratio
        group: g
        purpose: service
        propensity: 0.5
        value: COALESCE(spend / (purchases - purchases), 1)
        ends: '2026-04-01'
        applicability: [{name: some, when: purchases > 1 AND spend / (purchases - 1) > 2}]
        """)  # fmt: skip

    async def story() -> None:
        async with bank.serving() as server:
            await decided(server)
            assert flawed(server) == {}

    run(story())


@pytest.mark.parametrize("damage", ["cut", "flipped", "another format", "nothing", "missing"])
def test_a_damaged_model_is_replaced_by_the_default(bank: Bank, damage: str) -> None:
    bank.shop.write("models/liking.yaml", LIKING)
    bank.shop.write("actions/hello/action.yaml", LIKED)
    whole = model().to_bytes()
    damaged = {
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:-50] + bytes([whole[-50] ^ 1]) + whole[-49:],
        "another format": whole.replace(b"tilltal-model 1 ", b"tilltal-model 9 ", 1),
        "nothing": b"",
    }
    if damage != "missing":
        bank.liking.write_bytes(damaged[damage])

    async def story() -> None:
        async with bank.serving() as server:
            assert not server.force.editions
            answer = await decided(server, count=2)
            hello = next(one for one in answer.actions if one.action == "hello")
            assert server.force.workspace.arbitration.defaults.propensity == hello.factors.P
            account = await explained(server, answer)
            assert any("The model liking could not be used" in note for note in account.notes)
            assert account.models == {}
            in_russian = await explained(server, answer, "ru")
            assert any("Модель liking не удалось использовать" in note for note in in_russian.notes)
            assert degraded(server) == {"model_missing": 1}

    run(story())


def test_a_model_that_misses_its_features_is_replaced_by_the_default(bank: Bank) -> None:
    bank.shop.write("models/liking.yaml", LIKING)
    bank.shop.write("actions/hello/action.yaml", LIKED)
    bank.liking.write_bytes(model().to_bytes())

    async def story() -> None:
        async with bank.serving() as server:
            answer = await decided(server, count=2)
            assert server.force.editions == {"liking": "first"}
            account = await explained(server, answer)
            assert account.models == {"liking": "first"}
            assert 0 < account.scores["liking"] < 1
            assert account.notes == ()
            assert degraded(server) == {}
        bank.shop.write("models/liking.yaml", LIKING.replace(", spend", ""))
        (bank.shop.root / "traits/spend.yaml").unlink()
        async with bank.serving() as server:
            later = await decided(server, count=2)
            (note,) = (await explained(server, later)).notes
            assert "M404" in note
            assert "spend" in note
            assert degraded(server) == {"model_missing": 1}
            assert (await explained(server, answer)).scores == account.scores  # as it was then
        bank.shop.write("traits/spend.yaml", "{measure: last, of: number, from: [purchase]}")
        bank.shop.write("models/liking.yaml", LIKING)
        async with bank.serving() as server:
            assert (await decided(server)).actions

    run(story())


def test_damaged_lessons_begin_anew(bank: Bank) -> None:
    bank.shop.write("actions/hello/action.yaml", LEARNED)

    async def story() -> None:
        async with bank.serving() as server:
            await decided(server)
        await bank.write(Writes(adaptive={"hello/push": b"junk"}))
        async with bank.serving() as server:
            answer = await decided(server, count=2)
            assert {one.action: one.factors.P for one in answer.actions}["hello"] == pytest.approx(0.2)
            (note,) = (await explained(server, answer)).notes
            assert note == "What had been learned for hello/push was damaged; it learns anew"
            assert degraded(server) == {"adaptive_damaged": 1}

    run(story())


def test_a_store_that_is_read_only_gets_a_whole_decision_unlogged(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            assert [one.action for one in (await decided(server)).actions] == ["thanks"]
            server._store._writer.execute("PRAGMA query_only = ON")  # type: ignore[attr-defined]
            answer = await decided(server)
            assert [one.action for one in answer.actions] == ["thanks"]
            assert (answer.is_known, answer.is_fallback, answer.is_logged) == (True, False, False)
            assert await server.explain(answer.decision_id) is None
            assert degraded(server) == {"store": 1}
            server._store._writer.execute("PRAGMA query_only = OFF")  # type: ignore[attr-defined]
            again = await decided(server)
            assert (again.is_fallback, again.is_logged) == (False, True)

    run(story())


def test_of_a_store_that_is_read_only_nothing_is_shown_that_must_be_reserved(bank: Bank) -> None:
    bank.shop.write("policies/contact.yaml", "{caps: [{name: day, limit: 5, calendar: day}]}")
    bank.shop.write("actions/thanks/banner.en.yaml", "{title: Thanks, body: Thanks.}")
    settings = (bank.shop.root / "tilltal.yaml").read_text(encoding="utf-8")
    bank.shop.write("tilltal.yaml", settings.replace("[push, email]", "[push, email, banner]"))

    async def story() -> None:
        request = DecideRequest(identity={"crm": "u1"}, budget_ms=BUDGET_MS)
        async with bank.serving() as server:
            usual = await server.decide(request)
            assert [(one.action, one.channel) for one in usual.actions] == [("thanks", "push")]
            server._store._writer.execute("PRAGMA query_only = ON")  # type: ignore[attr-defined]
            answer = await server.decide(request)
            assert [(one.action, one.channel) for one in answer.actions] == [("thanks", "banner")]
            assert (answer.is_known, answer.is_fallback, answer.is_logged) == (True, False, False)
            assert answer.actions[0].contact is None

    run(story())


def test_a_damaged_customer_gets_the_fallback_and_nobody_else_does(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            whole = await decided(server)
            profile = (await server._store.profiles_after(None, 9))[0]
            await bank.write(Writes(states=[State(profile, b"\xc1 junk")]))
            answer = await decided(server)
            assert [one.action for one in answer.actions] == ["hello"]
            assert (answer.is_fallback, answer.is_logged) == (True, True)
            (note,) = (await explained(server, answer)).notes
            assert note.startswith("It could not be decided in full")
            assert degraded(server) == {"error": 1}
            other = await server.decide(DecideRequest(identity={"crm": "u2"}, channel="push"))
            assert not other.is_fallback
            assert (await explained(server, whole)).chosen

    run(story())
