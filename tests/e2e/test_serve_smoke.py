"""The whole of it once: serve, a real client, profile, decision, response, explanation, graceful stop."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.serving import Server, Shop

client = pytest.importorskip("segment.analytics.client")


def test_a_message_changes_a_decision_and_all_of_it_is_told(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    with Server(shop, shop.key()) as server:
        before = server.decide("u1")
        assert (before["is_known"], [one["action"] for one in before["actions"]]) == (False, ["hello"])

        sender = client.Client(server.key, host=server.url, sync_mode=True)
        sender.identify("u1", {"email": "One@Example.com", "plan": "gold"}, anonymous_id="a1")
        sender.track("u1", "purchase", {"amount": 12.5})

        found = server.profile("a1", "device")
        assert found["traits"]["purchases"] == 1
        assert found["traits"]["spend"] == 12.5
        assert found["attributes"]["plan"] == "gold"
        assert list(found["audiences"]) == ["buyers"]
        assert {one["namespace"]: one["values"] for one in found["identities"]}["email"] == [
            "one@example.com"
        ]

        decision = server.decide("u1", count=2)
        assert [one["action"] for one in decision["actions"]] == ["thanks", "hello"]
        answer = {"id": "r1", "decision_id": decision["decision_id"], "action": "thanks", "kind": "accept"}
        assert [server.post("/v1/responses", answer)["outcomes"][0]["outcome"] for _ in range(2)] == [
            "accepted",
            "duplicate",
        ]
        account = server.get(f"/v1/decisions/{decision['decision_id']}/explain")
        assert [one["action"] for one in account["chosen"]] == ["thanks", "hello"]
        assert [(one["id"], one["kind"]) for one in account["responses"]] == [("r1", "accept")]
        earlier = server.get(f"/v1/decisions/{before['decision_id']}/explain")
        assert [one["action"] for one in earlier["not_chosen"]] == ["thanks"]

        code, seconds = server.stop()
        assert code == 0, server.logged()
        assert seconds < 5
