"""What callers are told in the units and by the definitions of now, and what becomes of odd responses."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.e2e.test_live_answers import HOUR, START, Clockwork, until

from tilltal.runtime.live.contract import DecideRequest, Response
from tilltal.runtime.live.serving import reloading
from tilltal.runtime.live.serving.service import LiveServer


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clockwork:
    monkeypatch.setattr(reloading, "_LOOK_SECONDS", 0.05)
    return Clockwork(tmp_path / "shop")


def test_money_is_told_in_the_currency_everywhere(shop: Clockwork) -> None:
    async def story(server: LiveServer) -> None:
        await shop.buy(server, 7)
        shop.now += HOUR
        timeline, profile = await server.timeline("crm", "u1"), await server.profile("crm", "u1")
        assert timeline is not None
        assert profile is not None
        assert timeline.entries[0].fields == {"amount": 10.0, "number": 7}
        assert profile.traits["spend"] == 10.0

    shop.serve(story)


def test_a_past_instant_is_told_by_the_definitions_of_now(shop: Clockwork) -> None:
    async def story(server: LiveServer) -> None:
        await shop.buy(server, 1)
        shop.now += HOUR
        version = server.force.version
        shop.shop.write("audiences/buyers.yaml", "condition: purchases >= 2")
        await until(lambda: server.force.version != version)
        answer = await server.profile("crm", "u1", as_of=START)
        assert answer is not None
        assert (answer.definitions, answer.audiences) == (server.force.version, {})
        assert answer.traits["purchases"] == 1

    shop.serve(story)


def test_odd_responses(shop: Clockwork) -> None:
    async def story(server: LiveServer) -> None:
        await shop.buy(server, 1)
        made = await server.decide(DecideRequest(identity={"crm": "u1"}, channel="push"))
        decided, shop.now = shop.now, shop.now + HOUR

        def answer(id_: str, action: str = "thanks", hours: float = 0.5, decision: str = "") -> Response:
            at = decided + timedelta(hours=hours)
            decision = decision or made.decision_id
            return Response(id=id_, decision_id=decision, action=action, kind="click", channel="email", at=at)

        responses = [
            answer("r1"),
            answer("r1", hours=0.7),
            answer("ahead", hours=5),
            answer("before", hours=-5),
            answer("not shown", action="hello"),
            answer("never made", decision="00" * 16),
            answer("no id", decision="zz"),
        ]
        outcomes = await server.respond(responses, shop.now)
        assert [(one.id, one.outcome, one.code) for one in outcomes] == [
            ("r1", "accepted", ""),
            ("r1", "duplicate", ""),
            ("ahead", "accepted", ""),
            ("before", "accepted", ""),
            ("not shown", "rejected", "C114"),
            ("never made", "rejected", "C113"),
            ("no id", "rejected", "C113"),
        ]
        account = await server.explain(made.decision_id)
        assert account is not None
        assert {one.id: (one.at, one.channel) for one in account.responses} == {
            "r1": (decided + HOUR / 2, "push"),
            "ahead": (shop.now, "push"),
            "before": (decided, "push"),
        }

    shop.serve(story)
