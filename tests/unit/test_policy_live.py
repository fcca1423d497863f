"""The whole policy in a server: context, history, influencers, costs, exploration; and its replay."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.test_replay import Bank

from tilltal.models.offpolicy.evaluation import Evaluation
from tilltal.runtime.live.answers.deciding import Logged, read_logged
from tilltal.runtime.live.answers.judging import evaluate_logged
from tilltal.runtime.live.answers.replaying import Then
from tilltal.runtime.live.answers.selecting import selection_of
from tilltal.runtime.live.contract import DecideRequest, Response
from tilltal.runtime.progress import Silent
from tilltal.workspace.check import usable

FILES = {
    "policies/engagement.yaml": """
        context: {score: number, page: text}
        groups:
          other: {applicability: [{name: not_too_far, when: context.score < 3}]}
        issues:
          care: {suitability: [{name: not_refused_often, when: history.action.hello.reject_30d < 2}]}
        """,
    "policies/arbitration.yaml": """
        slots: 2
        nothing: {below: 0.001}
        costs: {email: 0.25}
        influencers: [{on: reject, weight: -60, half_life: P1D}]
        exploration: {method: thompson}
        """,
}


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    found = Bank(tmp_path / "shop")
    for file, text in FILES.items():
        found.shop.write(file, text)
    return found


async def lived(bank: Bank) -> list[tuple[bytes, int, Logged]]:
    async with bank.serving() as server:
        await bank.live(server, 40)
    async with bank.store() as store:
        rows = await store.decisions_after(b"", 1_000, None)
    return [(row.id, row.at, read_logged(row.body)) for row in rows]


def test_every_decision_comes_out_again_and_its_chances_follow_from_its_row(bank: Bank) -> None:
    async def story() -> None:
        rows = await lived(bank)
        found = await bank.replayed()
        assert (found.decisions, found.equal) == (40, 40)
        then = Then(usable(bank.shop.root))
        drawn, surplus = 0, []
        for decision, at, logged in rows:
            chances = selection_of(then, logged, decision, at)
            assert {one.action for one in logged.shown} <= chances.keys()
            surplus.append(sum(one.shown for one in chances.values()) - len(logged.shown))
            drawn += any(0 < one.shown < 1 for one in chances.values())
            if logged.explored is None:
                assert all(chances[one.action].shown == 1 for one in logged.shown)
        assert drawn > 3
        # how many are shown is a matter of chance where a draw may not be worth its cost: right on average
        assert max(map(abs, surplus)) > 0.1
        assert abs(sum(surplus) / 40) < 4 * 0.5 / 40**0.5

    asyncio.run(story())


def test_what_customers_answered_and_what_requests_tell_decide(bank: Bank) -> None:
    async def story() -> None:
        rows = [logged for _, _, logged in await lived(bank)]
        shown = [(logged, one) for logged in rows for one in logged.shown]
        assert {one.L < 1 for _, one in shown if one.action == "hello"} == {True, False}
        far = [logged for logged in rows if logged.values["context.score"] >= 3]  # type: ignore[operator]
        assert far
        assert not any(one.action == "learner" for logged in far for one in logged.shown)
        assert any(one.action == "learner" for _, one in shown)
        assert {(one.V, one.cost) for _, one in shown if one.action == "soon"} == {(4.0, 0.25)}
        pressed = [one for one in rows if one.values.get("history.action.hello.reject_30d", 0) == 2]
        assert pressed
        assert not any(one.action == "hello" for logged in pressed for one in logged.shown)

    asyncio.run(story())


@pytest.mark.slow
def test_definitions_are_judged_by_what_the_server_decided(bank: Bank) -> None:
    async def story() -> None:
        async with bank.serving() as server:
            await bank.live(server, 20)
            request = DecideRequest(identity={"crm": "u1"}, context={"score": 1}, budget_ms=60_000)
            answers = await asyncio.gather(*(server.decide(request) for _ in range(280)))
            replies = [
                Response(
                    id=f"q{place}",
                    decision_id=one.decision_id,
                    action=one.actions[0].action,
                    kind="impression" if place % 3 else "accept",
                )
                for place, one in enumerate(answers)
            ]
            await server.respond(replies, bank.now)
        later = bank.now + timedelta(days=10)

        async def judged() -> Evaluation:
            judged = await evaluate_logged(usable(bank.shop.root), later, 1, Silent(), {})
            return judged.evaluation

        same = await judged()
        assert {one.method for one in same.values} >= {"IPS", "SNIPS"}
        assert all(one.gain.value == pytest.approx(0, abs=1e-9) for one in same.values[:2])
        assert same.overlap.mean_weight == pytest.approx(1)
        bank.shop.write(
            "policies/arbitration.yaml",
            FILES["policies/arbitration.yaml"] + "levers: {action: {learner: 20}}\n",
        )
        other = await judged()
        assert other.overlap.mean_weight != same.overlap.mean_weight
        assert other.earned == same.earned

    asyncio.run(story())
