"""Decisions that reserve: what one shows counts for the next, whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.cases.serving import CaseServer

from tilltal.decisions.contacting.policy import Past
from tilltal.models.adaptive.team import Team
from tilltal.runtime.live.answers.deciding import read_logged
from tilltal.runtime.live.answers.replaying import Then, difference
from tilltal.runtime.live.contacts import reserving
from tilltal.runtime.live.serving import in_time

START = datetime(2026, 5, 4, 10, tzinfo=UTC)
IDS = {"crm": "userId"}


def bank(**contact: object) -> dict[str, object]:
    """A bank with three actions: `card` by e-mail or SMS, `loan` by e-mail, `tip` as a banner."""
    actions = {"card": (9, ("email", "sms")), "loan": (5, ("email",)), "tip": (1, ("banner",))}
    files: dict[str, object] = {
        "tilltal.yaml": {"name": "bank", "channels": ["email", "sms", "banner"], "time_zone": "UTC"},
        "identity.yaml": {"namespaces": [{"name": "crm", "unique": True}, {"name": "mail"}]},
        "sources/people.yaml": {
            "kind": "record",
            "read": {"collector": ["identify"]},
            "identities": {**IDS, "mail": "traits.mail"},
            "fields": {"town": {"type": "text", "column": "traits.town"}},
        },
        "sources/answers.yaml": {
            "kind": "consent",
            "read": {"collector": ["track"], "event": ["Answered"]},
            "identities": IDS,
            "purpose": {"column": "properties.purpose"},
            "channel": {"column": "properties.channel"},
            "granted": "properties.granted",
        },
        "policies/consent.yaml": {"purposes": {"marketing": {"consent": "required"}}},
        "policies/contact.yaml": contact,
        "policies/arbitration.yaml": {"slots": 3},
    }
    for name, (value, channels) in actions.items():
        files[f"actions/{name}/action.yaml"] = {
            "title": name,
            "group": "offers",
            "propensity": 0.5,
            "value": value,
        }
        for channel in channels:
            files[f"actions/{name}/{channel}.en.yaml"] = {"body": "Hello"}
    return files


THREE_BY_MAIL = {"name": "mails", "limit": 3, "rolling": "P7D", "applies_to": {"channel": "email"}}
ONE_A_WEEK = {"caps": [{"name": "week", "limit": 1, "rolling": "P7D"}], "reservation_ttl": "PT15M"}


class Bank(CaseServer):
    """A bank whose customers said yes."""

    def meet(self, *customers: str) -> None:
        """Let customers be known, with a consent."""
        said = {"purpose": "marketing", "channel": "*", "granted": "true"}
        for name in customers:
            self.collect({"type": "identify", "userId": name, "traits": {}})
            self.collect({"type": "track", "event": "Answered", "userId": name, "properties": said})

    def decide(self, customer: str = "c1", **asked: object) -> Any:
        """Ask for a decision."""
        return self.call("/v1/decide", {"identity": {"crm": customer}, **asked})

    def shown(self, customer: str = "c1", **asked: object) -> list[tuple[str, str]]:
        """Ask for a decision; return actions and channels."""
        return [(one["action"], one["channel"]) for one in self.decide(customer, **asked)["actions"]]

    def respond(self, decision: Any, action: str, kind: str) -> None:
        """Tell what came of a shown action."""
        name, at = f"{decision['decision_id']}-{action}-{kind}", self.now.isoformat()
        told = {"id": name, "action": action, "kind": kind, "at": at}
        found = self.call("/v1/responses", {**told, "decision_id": decision["decision_id"]})
        assert [one["outcome"] for one in found["outcomes"]] == ["accepted"]

    def get(self, url: str) -> Any:
        """Ask for something."""
        answer = self.wait(self.api.get(url))
        assert answer.status == 200, answer.body
        return answer.json()


@pytest.fixture
def opened() -> Iterator[list[Bank]]:
    found: list[Bank] = []
    yield found
    for one in found:
        one.close()


def open_bank(opened: list[Bank], **contact: object) -> Bank:
    found = Bank(bank(**contact), START)
    opened.append(found)
    found.meet("c1", "c2")
    return found


def test_of_two_actions_of_one_decision_the_first_takes_the_last_slot(opened: list[Bank]) -> None:
    server = open_bank(opened, **ONE_A_WEEK)
    made = server.decide()
    assert [(one["action"], one["channel"]) for one in made["actions"]] == [("card", "email")]
    assert made["actions"][0]["contact"] == f"{made['decision_id']}.card"
    told = server.get(f"/v1/decisions/{made['decision_id']}/explain")
    reasons = {one["action"]: one["reason"] for one in told["not_chosen"]}
    assert reasons == {"loan": "contact_policy:cap:week", "tip": "contact_policy:cap:week"}
    assert [one["action"] for one in told["chosen"]] == ["card"]
    assert told["is_proved"]


def test_what_is_reserved_counts_for_the_next_decision_of_the_same_customer_alone(opened: list[Bank]) -> None:
    server = open_bank(opened, **ONE_A_WEEK)
    assert server.shown()[0] == ("card", "email")
    assert server.shown() == []
    assert server.shown("c2")[0] == ("card", "email")


def test_a_reservation_lapses_unless_it_is_committed(opened: list[Bank]) -> None:
    server = open_bank(opened, **ONE_A_WEEK)
    made = {name: server.decide(name)["actions"][0]["contact"] for name in ("c1", "c2")}
    server.now += timedelta(minutes=14)
    assert server.call(f"/v1/contacts/{made['c1']}/commit", {})["state"] == "committed"
    server.now += timedelta(minutes=1)
    assert server.shown("c1") == []
    assert server.shown("c2")[0] == ("card", "email")
    late = server.call(f"/v1/contacts/{made['c2']}/commit", {})
    assert (late["state"], late["reason"]) == ("refused", "lapsed")


def test_a_failed_delivery_frees_the_slot_and_a_response_commits(opened: list[Bank]) -> None:
    server = open_bank(opened, **ONE_A_WEEK)
    first = server.decide()
    server.respond(first, "card", "failed")
    second = server.decide()
    assert second["actions"][0]["action"] == "card"
    server.respond(second, "card", "delivered")
    server.now += timedelta(days=6)
    assert server.shown() == []
    server.now += timedelta(days=1)
    assert server.shown()[0] == ("card", "email")


def test_by_a_channel_that_does_not_reserve_a_contact_counts_when_it_was_seen(opened: list[Bank]) -> None:
    server = open_bank(opened, **ONE_A_WEEK)
    made = server.decide(channel="banner")
    assert server.shown(channel="banner") == [("tip", "banner")]
    server.respond(made, "tip", "impression")
    assert server.shown(channel="banner") == []
    assert server.shown() == []


def test_another_channel_takes_the_place_of_one_that_is_full(opened: list[Bank]) -> None:
    cap = {"name": "mails", "limit": 1, "calendar": "day", "applies_to": {"channel": "email"}}
    server = open_bank(opened, caps=[cap])
    assert server.shown() == [("card", "email"), ("tip", "banner")]
    assert server.shown() == [("card", "sms"), ("tip", "banner")]


def test_a_request_may_ask_for_a_reservation_or_do_without(opened: list[Bank]) -> None:
    server = open_bank(opened, **ONE_A_WEEK)
    assert server.shown(reserve=False) == server.shown(reserve=False) == [("card", "email")]
    assert server.shown(reserve=True, channel="banner") == [("tip", "banner")]
    assert server.shown() == []


def test_outcomes_of_reserved_contacts_silence(opened: list[Bank]) -> None:
    rest = {"name": "rest", "outcome": "reject", "scope": "group", "for": "P30D"}
    server = open_bank(opened, cooldowns=[rest])
    made = server.decide(count=1)
    server.respond(made, "card", "impression")
    assert server.shown(count=1) == [("card", "email")]
    server.respond(made, "card", "reject")
    assert server.shown() == []
    server.now += timedelta(days=30)
    assert len(server.shown()) == 3


def test_an_impression_that_nobody_answers_is_ignored_in_the_end(opened: list[Bank]) -> None:
    rest = {"name": "rest", "outcome": "ignored", "scope": "action", "for": "P30D"}
    server = open_bank(opened, cooldowns=[rest])
    made = server.decide()
    server.respond(made, "card", "impression")
    server.respond(made, "loan", "impression")
    server.respond(made, "loan", "accept")
    server.now += timedelta(days=7)
    while server.wait(server.server._time_out_portion()):
        pass
    assert server.shown() == [("loan", "email"), ("tip", "banner")]


@pytest.mark.parametrize("kind", ["impression", "delivered"])
def test_a_silence_that_has_taught_is_ignored_only_when_the_wait_is_over(
    opened: list[Bank], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(Team, "patience", lambda *_: 0)
    rest = {"name": "rest", "outcome": "ignored", "scope": "action", "for": "P30D"}
    files = bank(cooldowns=[rest])
    learned = {"propensity": {"adaptive": {"base_rate": 0.5, "wait": "3 days"}}}
    files["actions/card/action.yaml"] = {"title": "card", "group": "offers", "value": 9, **learned}
    server = Bank(files, START)
    opened.append(server)
    server.meet("c1")
    made = server.decide()
    server.respond(made, "card", kind)
    assert server.decide()["actions"][0]["factors"]["P"] < made["actions"][0]["factors"]["P"]
    for days, is_shown in ((0, True), (2, True), (3, False)):
        server.now = START + timedelta(days=days)
        while server.wait(server.server._time_out_portion()):
            pass
        assert (("card", "email") in server.shown()) is is_shown, days
    server.respond(made, "card", "click")
    server.now += timedelta(days=29)
    assert ("card", "email") not in server.shown()
    server.now += timedelta(days=2)
    while server.wait(server.server._time_out_portion()):
        pass
    assert ("card", "email") in server.shown(), "it was ignored once"


def test_consent_is_asked_again_at_the_last_moment(opened: list[Bank]) -> None:
    server = open_bank(opened, **ONE_A_WEEK)
    made = server.decide()
    no = {"purpose": "marketing", "channel": "email", "granted": "false"}
    server.collect({"type": "track", "event": "Answered", "userId": "c1", "properties": no})
    found = server.call(f"/v1/contacts/{made['actions'][0]['contact']}/commit", {})
    assert (found["state"], found["reason"]) == ("refused", "no_consent:marketing/email")
    assert server.shown() == [("card", "sms")]


def test_contacts_are_counted_for_all_identifiers_of_a_customer(opened: list[Bank]) -> None:
    server = open_bank(opened, **ONE_A_WEEK)
    server.collect({"type": "identify", "userId": "c1", "traits": {"mail": "a@x.se"}})
    assert server.call("/v1/decide", {"identity": {"mail": "a@x.se"}})["actions"][0]["action"] == "card"
    assert server.shown() == []
    asked = {"id": "r1", "identity": {"mail": "a@x.se"}, "channel": "sms", "action": "card"}
    assert server.call("/v1/contacts", asked)["reason"] == "cap:week"


def test_after_many_refusals_what_nobody_judged_is_not_tried(
    opened: list[Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def as_of_before(*_: object) -> Past:
        return Past()

    monkeypatch.setattr(reserving, "_ROUNDS", 1)
    monkeypatch.setattr(in_time, "reserved_for", as_of_before)
    cap = {"name": "week", "limit": 1, "rolling": "P7D", "applies_to": {"channel": "email"}}
    server = open_bank(opened, caps=[cap])
    assert server.shown(count=1, reserve=True) == [("card", "email")]
    made = server.decide(count=1, reserve=True)
    assert made["actions"] == []
    told = server.get(f"/v1/decisions/{made['decision_id']}/explain")
    (tip,) = [one for one in told["not_chosen"] if one["action"] == "tip"]
    assert tip["reason"] == "contact_policy:not_tried"
    assert tip["words"].endswith("it: so many others were refused that it was not tried.")
    assert told["is_proved"]


@pytest.mark.parametrize("is_judged", [False, True], ids=["before it is judged", "as it is stored"])
def test_what_comes_too_late_takes_no_slot(
    opened: list[Bank], monkeypatch: pytest.MonkeyPatch, is_judged: bool
) -> None:
    cap = {"name": "week", "limit": 1, "rolling": "P7D"}
    files = bank(caps=[cap])  # reservations never lapse
    files["actions/card/action.yaml"] = {
        "title": "card",
        "group": "offers",
        "propensity": 0.5,
        "value": 9,
        "capacity": {"limit": 1, "per": "month"},
    }
    server = Bank(files, START)
    opened.append(server)
    server.meet("c1", "c2")
    transaction, gate = server.store.transaction, asyncio.Event()

    @asynccontextmanager
    async def held_up() -> AsyncIterator[Any]:
        async with transaction() as tx:
            if not is_judged:
                await gate.wait()
            yield tx
            await gate.wait()

    async def late() -> Any:
        asked = {"identity": {"crm": "c1"}, "budget_ms": 400}  # so long that a busy machine decides meanwhile
        answer = (await server.api.post("/v1/decide", asked)).json()
        gate.set()
        await server.server._in_time.finish()
        return answer

    monkeypatch.setattr(server.store, "transaction", held_up)
    answer = server.wait(late())
    assert answer["is_fallback"]
    assert answer["actions"] == []
    assert server.shown("c1")[0] == ("card", "email")  # its own slot, and the only one of all
    server.now += timedelta(seconds=1)
    entries = server.get("/v1/profiles/crm/c1/timeline")["entries"]
    states = sorted(one["fields"]["state"] for one in entries if one["kind"] == "contact")
    assert states == (["released", "reserved"] if is_judged else ["reserved"])
    stored = server.wait(server.server.decisions("crm", "c1"))
    assert stored is not None
    assert len(stored) == len(states)  # the fallback is nobody's


def test_many_at_once_never_get_more_than_there_is(opened: list[Bank]) -> None:
    cap = {"name": "week", "limit": 3, "rolling": "P7D", "applies_to": {"channel": ["email", "sms"]}}
    server = open_bank(opened, caps=[cap])

    async def all_at_once() -> list[Any]:
        bodies = [
            {"identity": {"crm": f"c{1 + number % 2}"}, "count": 1, "budget_ms": 20_000}
            for number in range(200)
        ]
        return await asyncio.gather(*(server.api.post("/v1/decide", body) for body in bodies))

    found = [one.json()["actions"] for one in server.wait(all_at_once())]
    contacts = [one["contact"] for actions in found for one in actions if one["channel"] != "banner"]
    assert len(contacts) == len(set(contacts)) == 6


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"channel": "pigeon"}, "C112"),
        ({"identity": {"nothing": "x"}}, "C110"),
        ({"action": "unknown"}, "C130"),
        ({"identity": {"crm": ""}}, "C131"),
    ],
)
def test_what_cannot_be_asked_is_told(opened: list[Bank], changes: dict[str, object], code: str) -> None:
    server = open_bank(opened, **ONE_A_WEEK)
    asked = {"id": "r1", "identity": {"crm": "c1"}, "channel": "sms", "action": "card", **changes}
    answer = server.wait(server.api.post("/v1/contacts", asked))
    assert (answer.status, answer.json()["code"]) == (400, code)


def test_profile_and_timeline_tell_of_contacts(opened: list[Bank]) -> None:
    server = open_bank(opened, caps=[{"name": "week", "limit": 9, "rolling": "P7D"}])
    first, second = server.decide(count=1), server.decide(count=1)
    server.respond(first, "card", "delivered")
    server.respond(first, "card", "reject")
    server.now += timedelta(seconds=1)
    told = server.get("/v1/profiles/crm/c1")["contacts"]
    assert told == {"email": {"reserved": 1, "committed": 1}}
    entries = [
        one for one in server.get("/v1/profiles/crm/c1/timeline")["entries"] if one["kind"] == "contact"
    ]
    found = {
        one["fields"]["contact"]: (one["name"], one["fields"]["state"], one["fields"]["outcomes"])
        for one in entries
    }
    assert found == {
        first["actions"][0]["contact"]: ("card", "committed", ["reject"]),
        second["actions"][0]["contact"]: ("card", "reserved", []),
    }


@pytest.mark.parametrize("rules", [ONE_A_WEEK, {"caps": [THREE_BY_MAIL]}])
def test_what_was_decided_around_a_contact_that_was_refused_is_decided_again_equal(
    opened: list[Bank], rules: dict[str, object]
) -> None:
    server = open_bank(opened, **rules)
    for _ in range(3):
        made = server.decide()
        row = server.wait(server.store.decision(bytes.fromhex(made["decision_id"])))
        assert row is not None
        logged = read_logged(row.body)
        assert difference(Then(server.server.force.workspace), row, logged) is None
