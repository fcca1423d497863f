"""What came of contacts: kinds that exist, instants without offset, and outcomes of decisions that teach."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from tests.live.test_reserving import START, Bank, bank

LEARNS = {"adaptive": {"features": ["town"], "base_rate": 0.1, "wait": "P1D"}}
REST = {"name": "rest", "outcome": "reject", "scope": "group", "for": "P30D"}
WEEK = {"name": "week", "limit": 9, "rolling": "P7D"}


@pytest.fixture
def server() -> Iterator[Bank]:
    files = bank(caps=[WEEK], cooldowns=[REST], outcomes={"called": "complaint"})
    files["actions/card/action.yaml"] = {
        "title": "card",
        "group": "offers",
        "propensity": LEARNS,
        "value": 50,
    }
    files["sources/calls.yaml"] = {
        "kind": "event",
        "read": {"collector": ["track"], "event": ["called"]},
        "identities": {"crm": "userId"},
        "event": "called",
        "fields": {
            "action": {"type": "text", "column": "properties.action"},
            "channel": {"type": "text", "column": "properties.channel"},
        },
    }
    found = Bank(files, START)
    found.meet("c1")
    yield found
    found.close()


def answer_of(server: Bank, **told: object) -> Any:
    return server.wait(server.api.post("/v1/contacts/outcomes", told))


def came(server: Bank, decision: str) -> list[tuple[str, str]]:
    told = server.get(f"/v1/decisions/{decision}/explain")["responses"]
    return [(one["action"], one["kind"]) for one in told]


def test_an_outcome_of_a_decision_is_a_response(server: Bank) -> None:
    made = server.decide(count=1)
    contact, before = made["actions"][0]["contact"], made["actions"][0]["factors"]["P"]
    at = START.isoformat()
    for _ in range(2):
        told = answer_of(server, id=contact, kind="accept", at=at)
        assert (told.status, told.json()["state"]) == (200, "committed")
    assert came(server, made["decision_id"]) == [("card", "accept")]
    assert server.decide(count=1)["actions"][0]["factors"]["P"] > before


def test_an_outcome_of_a_decision_silences_and_releases(server: Bank) -> None:
    made = server.decide(count=1)
    contact = made["actions"][0]["contact"]
    assert answer_of(server, id=contact, kind="reject").json()["state"] == "committed"
    assert server.shown() == []
    server.now += timedelta(days=40)
    made = server.decide(count=1)
    contact = made["actions"][0]["contact"]
    assert answer_of(server, id=contact, kind="failed").json()["state"] == "released"
    assert came(server, made["decision_id"]) == [("card", "failed")]


def test_an_outcome_of_a_contact_that_no_decision_made_stays_one(server: Bank) -> None:
    for name, kind, state in (("r1", "complaint", "reserved"), (f"{'a' * 32}.card", "failed", "released")):
        asked = {"id": name, "identity": {"crm": "c1"}, "channel": "sms", "action": "card"}
        assert server.call("/v1/contacts", asked)["allowed"]
        assert answer_of(server, id=name, kind=kind).json()["state"] == state


def test_an_outcome_that_no_rule_can_name_is_refused(server: Bank) -> None:
    contact = server.decide(count=1)["actions"][0]["contact"]
    for kind in ("banana", "Reject"):
        told = answer_of(server, id=contact, kind=kind)
        assert (told.status, told.json()["code"]) == (400, "C132")
    assert "reject" in told.json()["errors"][0]["valid"]


def test_an_instant_without_offset_is_utc(server: Bank) -> None:
    made = server.decide(count=1)
    server.now += timedelta(hours=9)
    at = (START + timedelta(hours=2)).replace(tzinfo=None).isoformat()
    assert answer_of(server, id=made["actions"][0]["contact"], kind="reject", at=at).status == 200
    asked = {"id": "r1", "identity": {"crm": "c1"}, "channel": "sms", "action": "card"}
    server.now = START + timedelta(days=30, hours=2, microseconds=-1)
    assert server.call("/v1/contacts", asked)["reason"] == "cooldown:rest"
    server.now += timedelta(microseconds=1)
    assert server.call("/v1/contacts", {**asked, "id": "r2"})["allowed"]


def test_all_requests_of_a_list_that_cannot_be_asked_are_named(server: Bank) -> None:
    good = {"identity": {"crm": "c1"}, "channel": "sms", "action": "card"}
    asked = [
        {**good, "id": "r0"},
        {**good, "id": "r1", "channel": "pigeon"},
        {**good, "id": "r2", "identity": {"nothing": "x"}},
    ]
    told = server.wait(server.api.post("/v1/contacts/batch", asked))
    assert told.status == 400
    assert [(one["place"], one["code"]) for one in told.json()["errors"]] == [
        ("$[1]", "C112"),
        ("$[2]", "C110"),
    ]
    server.call("/v1/contacts/batch", asked[:1])
    told = server.get("/v1/profiles/crm/c1")["contacts"]
    assert told == {"sms": {"reserved": 1, "committed": 0}}


def test_a_key_that_would_have_expired_is_refused(server: Bank) -> None:
    key = {"name": "x", "scopes": ["decide"]}
    for expires, status in (
        ("2020-01-01T00:00:00Z", 400),
        (START.replace(tzinfo=None).isoformat(), 400),
        ((START + timedelta(seconds=1)).replace(tzinfo=None).isoformat(), 200),
        ("9999-12-31T23:59:59-14:00", 400),
    ):
        told = server.wait(server.api.post("/v1/keys", {**key, "expires": expires}))
        assert told.status == status, expires
    told = server.wait(server.api.post("/v1/keys", {**key, "expires": "2020-01-01T00:00:00"}))
    assert told.json()["code"] == "C122"
