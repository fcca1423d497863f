"""Contacts of one decision, and of somebody nobody knows: each counts, by whatever channel or identifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.live.test_reserving import ONE_A_WEEK, Bank, bank
from tests.live.test_reserving import START as START

from tilltal.runtime.live.answers.deciding import read_logged
from tilltal.runtime.live.answers.replaying import Then, difference
from tilltal.runtime.live.answers.selecting import firsts, selection_of


def banners(channel: str = "banner") -> dict[str, object]:
    """A bank with six tips by one channel, the best of them by e-mail too, and at most one contact a day."""
    files = bank(caps=[{"name": "day", "limit": 1, "calendar": "day"}])
    for place in range(6):
        files[f"actions/tip_{place}/action.yaml"] = {
            "title": "tip",
            "group": "tips",
            "propensity": 0.5,
            "value": 20 + place,
        }
        files[f"actions/tip_{place}/{channel}.en.yaml"] = {"body": "Hello"}
    files["actions/tip_5/email.en.yaml"] = {"body": "Hello"}
    return files


@pytest.fixture
def servers() -> Iterator[list[Bank]]:
    found: list[Bank] = []
    yield found
    for one in found:
        one.close()


def opened(servers: list[Bank], files: dict[str, object]) -> Bank:
    server = Bank(files, START)
    servers.append(server)
    server.meet("c1")
    return server


@pytest.mark.parametrize("asked", [{}, {"channel": "banner"}, {"reserve": True}, {"reserve": False}])
@pytest.mark.parametrize("limit", [1, 2])
def test_one_decision_shows_no_more_than_a_cap_leaves(
    servers: list[Bank], asked: dict[str, object], limit: int
) -> None:
    cap = {"name": "day", "limit": limit, "calendar": "day"}
    server = opened(servers, {**banners(), "policies/contact.yaml": {"caps": [cap]}})
    made = server.decide("c1", count=5, **asked)
    assert [one["action"] for one in made["actions"]] == ["tip_5", "tip_4"][:limit]
    for one in made["actions"]:
        server.respond(made, one["action"], "impression")
    told = server.get("/v1/profiles/crm/c1")["contacts"]
    assert sum(one["committed"] + one["reserved"] for one in told.values()) == limit


def test_what_does_not_fit_leaves_its_slot_to_what_does(servers: list[Bank]) -> None:
    cap = {"name": "tips", "limit": 1, "calendar": "day", "applies_to": {"group": "tips"}}
    server = opened(servers, {**banners(), "policies/contact.yaml": {"caps": [cap]}})
    made = server.decide(count=4)
    assert [one["action"] for one in made["actions"]] == ["tip_5", "card", "loan", "tip"]
    row = server.wait(server.store.decision(bytes.fromhex(made["decision_id"])))
    assert row is not None
    logged = read_logged(row.body)
    assert len(logged.crowds) == 1
    assert difference(Then(server.server.force.workspace), row, logged) is None
    told = server.get(f"/v1/decisions/{made['decision_id']}/explain")
    reasons = {one["action"]: one["reason"] for one in told["not_chosen"]}
    assert reasons == {f"tip_{place}": "contact_policy:cap:tips" for place in range(5)}


def test_a_fallback_shows_no_more_than_a_cap_leaves(servers: list[Bank]) -> None:
    files = banners()
    names = [f"tip_{place}" for place in range(6)]
    files["tilltal.yaml"] = {**dict(files["tilltal.yaml"]), "server": {"fallback": names}}  # type: ignore[call-overload]
    files["policies/consent.yaml"] = {"purposes": {"marketing": {"consent": "not_required"}}}
    server = opened(servers, files)
    made = server.decide(count=3, budget_ms=1e-6)
    assert made["is_fallback"]
    assert len(made["actions"]) == 1


class Asking:
    """Asks for contacts of one cap, by identifiers in some order."""

    def __init__(self, server: Bank) -> None:
        self.server = server
        self._count = 0

    def __call__(self, **identity: str) -> bool:
        self._count += 1
        body = {"id": f"n{self._count}", "identity": identity, "channel": "sms", "action": "card"}
        return bool(self.server.call("/v1/contacts", body)["allowed"])


def nobody(servers: list[Bank], **contact: object) -> Asking:
    files = bank(**(contact or ONE_A_WEEK))
    files["policies/consent.yaml"] = {"purposes": {"marketing": {"consent": "not_required"}}}
    files["identity.yaml"] = {
        "namespaces": [{"name": "crm", "unique": True}, {"name": "mail"}, {"name": "phone"}]
    }
    server = Bank(files, START)
    servers.append(server)
    return Asking(server)


@pytest.mark.parametrize(
    "next_one",
    [{"mail": "a@x.se", "phone": "1"}, {"phone": "1", "mail": "a@x.se"}, {"mail": "a@x.se"}, {"phone": "1"}],
)
def test_of_somebody_unknown_any_identifier_counts(servers: list[Bank], next_one: dict[str, str]) -> None:
    asks = nobody(servers)
    assert asks(phone="1", mail="a@x.se")
    assert not asks(**next_one)
    assert asks(mail="b@x.se")
    shown = asks.server.call("/v1/decide", {"identity": next_one, "reserve": True})
    assert shown["actions"] == []
    assert asks.server.call("/v1/decide", {"identity": {"mail": "c@x.se"}})["actions"] != []


def test_a_failed_contact_is_free_under_every_identifier(servers: list[Bank]) -> None:
    asks = nobody(servers)
    assert asks(phone="1", mail="a@x.se")
    assert asks.server.call("/v1/contacts/n1/fail", {})["state"] == "released"
    assert asks(mail="a@x.se")
    assert not asks(phone="1", mail="a@x.se")
    assert asks(phone="1")


def test_once_they_are_somebody_a_contact_counts_once(servers: list[Bank]) -> None:
    asks = nobody(servers, caps=[{"name": "week", "limit": 2, "rolling": "P7D"}])
    assert asks(phone="1", mail="a@x.se")
    asks.server.collect({"type": "identify", "userId": "c1", "traits": {"mail": "a@x.se"}})
    told = asks.server.get("/v1/profiles/crm/c1")["contacts"]
    assert told == {"sms": {"reserved": 1, "committed": 0}}
    assert asks(crm="c1")
    assert not asks(mail="a@x.se")


def test_an_id_that_another_contact_has_reserves_nothing(servers: list[Bank]) -> None:
    server = opened(servers, bank(**ONE_A_WEEK))
    server.meet("c2")
    first = {"id": "r1", "identity": {"crm": "c1"}, "channel": "sms", "action": "card"}
    answer = server.call("/v1/contacts", first)
    assert answer["allowed"]
    assert server.call("/v1/contacts", first) == answer
    others: list[dict[str, Any]] = [
        {"identity": {"crm": "c2"}},
        {"channel": "email"},
        {"action": "loan"},
    ]
    for other in others:
        told = server.call("/v1/contacts", {**first, **other})
        assert (told["allowed"], told["reason"]) == (False, "id_taken")
    denied = {"id": "r2", "identity": {"crm": "c1"}, "channel": "email", "action": "card"}
    assert server.call("/v1/contacts", denied)["reason"] == "cap:week"
    assert server.call("/v1/contacts", {**denied, "identity": {"crm": "c2"}})["reason"] == "id_taken"
    both = [{**first, "id": "r3", "identity": {"crm": name}} for name in ("c2", "c1")]
    told = server.call("/v1/contacts/batch", both)["contacts"]
    assert [one["reason"] for one in told] == [None, "id_taken"]


def test_the_same_customer_by_another_identifier_gets_the_first_answer(servers: list[Bank]) -> None:
    server = opened(servers, bank(**ONE_A_WEEK))
    server.collect({"type": "identify", "userId": "c1", "traits": {"mail": "a@x.se"}})
    asked = {"id": "r1", "identity": {"crm": "c1"}, "channel": "sms", "action": "card"}
    assert server.call("/v1/contacts", asked)["allowed"]
    assert server.call("/v1/contacts", {**asked, "identity": {"mail": "a@x.se"}})["allowed"]


@pytest.mark.parametrize(
    ("needed", "answered"), [("required", True), ("unless_refused", True), ("not_required", False)]
)
def test_an_explanation_tells_what_permitted_a_contact(
    servers: list[Bank], needed: str, answered: bool
) -> None:
    files = bank(**ONE_A_WEEK)
    files["policies/consent.yaml"] = {"purposes": {"marketing": {"consent": needed}}}
    server = opened(servers, files)
    server.now += timedelta(days=3)
    made = server.decide(count=1)
    (told,) = server.get(f"/v1/decisions/{made['decision_id']}/explain")["chosen"]
    said = None if told["answered"] is None else datetime.fromisoformat(told["answered"])
    assert (told["basis"], said) == (needed, START if answered else None)


def test_an_explanation_tells_the_reason_of_each_channel(servers: list[Bank]) -> None:
    files = bank(caps=[{"name": "mails", "limit": 0, "calendar": "day", "applies_to": {"channel": "email"}}])
    server = opened(servers, files)
    no = {"purpose": "marketing", "channel": "sms", "granted": "false"}
    server.now += timedelta(seconds=1)
    server.collect({"type": "track", "event": "Answered", "userId": "c1", "properties": no})
    made = server.decide(count=1)
    assert [one["action"] for one in made["actions"]] == ["tip"]
    told = server.get(f"/v1/decisions/{made['decision_id']}/explain")
    lost = {one["action"]: one for one in told["not_chosen"]}
    against = {one["channel"]: (one["reason"], one["words"]) for one in lost["card"]["channels"]}
    assert against == {
        "email": (
            "contact_policy:cap:mails",
            "The contact policy forbids it: contacted as often as 'mails' allows.",
        ),
        "sms": (
            "contact_policy:no_consent:marketing/sms",
            "The contact policy forbids it: no consent to marketing by text message.",
        ),
    }
    assert lost["card"]["reason"] == against["email"][0]
    assert [one["channel"] for one in lost["loan"]["channels"]] == ["email"]


def test_what_gave_way_to_another_contact_might_have_been_first(servers: list[Bank]) -> None:
    """Of two actions that are drawn for, each is first about every other time, and the log knows it."""
    files = bank(caps=[{"name": "day", "limit": 1, "calendar": "day"}])
    files["policies/arbitration.yaml"] = {"slots": 2, "exploration": {"method": "thompson"}}
    for name in ("one", "two"):
        files[f"actions/{name}/action.yaml"] = {
            "title": name,
            "group": "tips",
            "propensity": {"adaptive": {"base_rate": 0.2, "evidence": 10}},
            "value": 100,
        }
        files[f"actions/{name}/banner.en.yaml"] = {"body": "Hello"}
    server = opened(servers, files)
    then, times, chances = Then(server.server.force.workspace), 100, []
    seen = Counter[str]()
    for _ in range(times):
        made = server.decide(channel="banner", reserve=False)
        row = server.wait(server.store.decision(bytes.fromhex(made["decision_id"])))
        assert row is not None
        logged = read_logged(row.body)
        assert difference(then, row, logged) is None
        seen.update(one["action"] for one in made["actions"])
        chances.append(firsts(selection_of(then, logged, row.id, row.at)))
    assert set(seen) == {"one", "two"}
    assert sum(seen.values()) == times
    for name in seen:
        expected = sum(each.get(name, 0.0) for each in chances) / times
        assert expected == pytest.approx(0.5, abs=0.03)
        assert abs(seen[name] / times - expected) < 3.3 * 0.05  # standard errors of a share of 100
