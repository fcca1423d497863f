"""An action with a capacity is never handed out more often than that, whoever asks, of whichever server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.cases.serving import CaseServer
from tests.live.clients import SPEED
from tests.live.rationing import LIMITS, START, Crowd, Place, Told, bank, contacts_of, recount
from tests.postgres_server import PostgresServer, postgres

from tilltal.core.instants import micros

__all__ = ["postgres"]
_ROOT = Path(__file__).resolve().parents[2]
ONE = {"gift": 1, "call": 40}
_SPEED = SPEED / timedelta(microseconds=1)  # of the servers' clocks, in a second


def decide(server: CaseServer, customer: str | None = "c1", **more: object) -> dict[str, Any]:
    """Ask for one customer, or for somebody unnamed."""
    identity = {} if customer is None else {"crm": customer}
    found: dict[str, Any] = server.call("/v1/decide", {"identity": identity, **more})
    return found


def first(found: dict[str, Any]) -> str:
    """Return the first action's name."""
    return str(found["actions"][0]["action"])


@pytest.fixture
def server() -> Any:
    """A bank with one gift a day."""
    made = CaseServer(bank(ONE), START - timedelta(hours=3))
    yield made
    made.close()


def explained(server: CaseServer, found: dict[str, Any], language: str = "en") -> dict[str, Any]:
    """Return why a decision gave no gift."""
    answer = server.wait(
        server.api.get(f"/v1/decisions/{found['decision_id']}/explain?language={language}")
    ).json()
    assert answer["is_proved"]
    (gift,) = [one for one in answer["not_chosen"] if one["action"] == "gift"]
    return dict(gift)


def test_the_last_one_is_given_once_and_the_explanation_says_so(server: CaseServer) -> None:
    got = decide(server, "c1")
    assert first(got) == "gift"
    assert got["actions"][0]["contact"] == f"{got['decision_id']}.gift"
    second, third = decide(server, "c2"), decide(server, "c3")  # denied at its reservation, then known
    for found in (second, third):
        assert first(found) == "call"
        why = explained(server, found)
        assert why["reason"] == "contact_policy:capacity:day"
        assert (why["stage"], why["code"], why["rule"]) == ("contact_policy", "capacity", "day")
        assert why["words"] == "The contact policy forbids it: as many as there are have been given out."
    assert explained(server, third, "ru")["words"].endswith("всё, что было, уже роздано.")
    assert explained(server, third, "nb")["words"] != explained(server, third, "sv")["words"]


def test_what_is_released_or_lapses_can_be_given_again(server: CaseServer) -> None:
    got = decide(server, "c1")
    server.now += timedelta(seconds=10)
    assert first(decide(server, "c2")) == "call"
    server.call(f"/v1/contacts/{got['actions'][0]['contact']}/fail", {})
    server.now += timedelta(seconds=2)  # the server remembers for a second that it was used up
    assert first(decide(server, "c3")) == "gift"
    server.now += timedelta(seconds=40)
    assert first(decide(server, "c4")) == "call"
    server.now += timedelta(seconds=110)  # ninety seconds, to the next whole minute
    assert first(decide(server, "c5")) == "gift"


def test_what_is_committed_stays_so_until_the_period_ends() -> None:
    server = CaseServer(bank(ONE), START - timedelta(hours=20))
    try:
        got = decide(server, "c1")
        server.call(f"/v1/contacts/{got['actions'][0]['contact']}/commit", {})
        server.now += timedelta(hours=19)
        assert first(decide(server, "c2")) == "call"
        server.now = START + timedelta(minutes=1)  # midnight in Stockholm
        assert first(decide(server, "c2")) == "gift"
    finally:
        server.close()


def test_a_reservation_that_lapsed_is_committed_no_more_once_another_has_its_place(
    server: CaseServer,
) -> None:
    got = decide(server, "c1")
    server.now += timedelta(seconds=151)
    assert first(decide(server, "c2")) == "gift"
    server.now -= timedelta(seconds=100)  # another server's clock
    late = server.call(f"/v1/contacts/{got['actions'][0]['contact']}/commit", {})
    assert (late["state"], late["reason"]) == ("refused", "lapsed")
    body = {"id": "s", "decision_id": got["decision_id"], "action": "gift", "kind": "impression"}
    assert server.call("/v1/responses", body)["outcomes"][0]["outcome"] == "accepted"
    earlier, later = sorted(contacts_of(server), key=lambda one: one["at"])
    assert later["committed"] is None
    assert earlier["committed"] is None or earlier["committed"] >= later["expires"]


def test_nobody_unnamed_and_nobody_in_a_hurry_gets_one(server: CaseServer) -> None:
    found = decide(server, None)
    assert first(found) == "fund"
    assert explained(server, found)["reason"] == "contact_policy:not_named"
    assert first(decide(server, "c1", reserve=False)) == "gift"
    assert first(decide(server, "c2", reserve=False)) == "call"


def test_a_sender_is_refused_with_the_reason(server: CaseServer) -> None:
    decide(server, "c1")
    body = {"id": "mine", "identity": {"crm": "c2"}, "channel": "banner", "action": "gift"}
    refused = server.call("/v1/contacts", body)
    assert (refused["allowed"], refused["reasons"]) == (False, ["capacity:day"])
    assert server.call("/v1/contacts", {**body, "id": "x", "action": "fund"})["allowed"]


def test_figures_tell_what_is_taken(server: CaseServer) -> None:
    for customer in ("c1", "c2", "c3"):
        decide(server, customer)
    figures = {
        (one.name, one.labels["action"]): one.value
        for one in server.server.metrics()
        if one.name.startswith("tilltal_capacity_")
    }
    assert figures["tilltal_capacity_limit", "gift"] == 1
    assert figures["tilltal_capacity_taken", "gift"] == 1
    assert figures["tilltal_capacity_taken", "call"] == 2
    assert figures["tilltal_capacity_refused_total", "gift"] == 1  # the third was not even tried


def test_what_is_taken_survives_a_restart_and_a_change_of_the_definitions() -> None:
    server = CaseServer(bank(ONE), START)
    try:
        decide(server, "c1")
        server.change(bank({"gift": 2, "call": 40}))
        assert first(decide(server, "c2")) == "gift"
        assert first(decide(server, "c3")) == "call"
        server.change(bank(ONE))
        assert first(decide(server, "c4")) == "call"
    finally:
        server.close()


def test_a_contact_takes_one_of_the_day_on_which_it_is_sent() -> None:
    quiet = [{"from": "20:00", "to": "08:00"}]
    files: dict[str, Any] = bank({"gift": 0, "call": 1}, quiet_hours=quiet)
    files["actions/call/action.yaml"]["capacity"]["per"] = "day"
    files["policies/sending.yaml"] = {"channels": ["call"], "events": ["login"]}
    files["sources/logins.yaml"] = {
        "kind": "event",
        "read": {"collector": ["track"]},
        "identities": {"crm": "userId"},
        "event": "login",
    }
    server = CaseServer(files, START - timedelta(hours=3))  # 20:59 in Stockholm
    try:
        got = decide(server, "c1")["actions"][0]
        assert (got["action"], got["send_at"]) == ("call", "2026-05-05T06:00:00Z")
        assert got["send_reason"] == "first_allowed"
        assert decide(server, "c2")["actions"] == []  # banners wait for the morning, and calls are used up
        server.now = START + timedelta(hours=8, minutes=2)  # 8:01
        assert server.call(f"/v1/contacts/{got['contact']}/commit", {})["state"] == "committed"
        server.now += timedelta(hours=9)
        assert first(decide(server, "c3")) == "fund"
        server.now += timedelta(hours=5)  # an evening again, for the next day
        found = decide(server, "c3")["actions"][0]
        assert (found["action"], found["send_at"]) == ("call", "2026-05-06T06:00:00Z")
    finally:
        server.close()


def test_however_many_capacities_are_used_up_a_customer_gets_what_is_left() -> None:
    files = bank(ONE)
    for number in range(8):
        files[f"actions/card{number}/action.yaml"] = {
            "title": "Card",
            "group": f"cards{number}",
            "purpose": "service",
            "propensity": 0.5,
            "value": 100 - number,
            "capacity": {"limit": 1 if number < 7 else 100, "per": "week"},
        }
        files[f"actions/card{number}/banner.en.yaml"] = {"body": "Hello"}
    files["policies/contact.yaml"] = {}  # reservations never lapse
    server = CaseServer(files, START - timedelta(hours=3))
    try:
        given = []
        for number in range(9):
            server.now += timedelta(seconds=2)  # longer than it is remembered what is used up
            found = decide(server, f"c{number}", count=1)
            given.append(first(found))
        assert given == [*(f"card{number}" for number in range(8)), "card7"]
        answer = server.wait(server.api.get(f"/v1/decisions/{found['decision_id']}/explain")).json()
        assert answer["is_proved"]
        reasons = {one["action"]: one["reason"] for one in answer["not_chosen"]}
        assert {reasons.pop(f"card{number}") for number in range(7)} == {"contact_policy:capacity:week"}
        assert reasons == dict.fromkeys(("gift", "call", "fund"), "outranked:card7")
    finally:
        server.close()


def test_what_is_used_up_today_is_not_so_for_what_is_sent_tomorrow() -> None:
    quiet = [{"from": "20:00", "to": "08:00", "applies_to": {"channel": "call"}}]
    files: dict[str, Any] = bank({"gift": 1, "call": 1}, quiet_hours=quiet)
    files["actions/call/action.yaml"]["capacity"]["per"] = "day"
    files["policies/sending.yaml"] = {"channels": ["call"], "events": ["login"]}
    files["sources/logins.yaml"] = {
        "kind": "event",
        "read": {"collector": ["track"]},
        "identities": {"crm": "userId"},
        "event": "login",
    }
    server = CaseServer(files, START - timedelta(hours=10))  # 13:59 in Stockholm
    try:
        for one in decide(server, "c1", count=2)["actions"]:
            assert one["action"] in ("gift", "call")
            assert server.call(f"/v1/contacts/{one['contact']}/commit", {})["state"] == "committed"
        assert first(decide(server, "c2", count=1)) == "fund"
        server.now = START - timedelta(hours=3)  # 20:59: the gift is refused, the call is tomorrow's
        found = decide(server, "c2", count=1)["actions"][0]
        assert (found["action"], found["send_at"]) == ("call", "2026-05-05T06:00:00Z")
    finally:
        server.close()


def test_a_recount_finds_what_is_over() -> None:
    body = {"contact": {"action": "gift"}, "at": 0, "committed": None, "released": None, "expires": 9}
    one, other = {**body, "id": "one"}, {**body, "id": "other", "expires": 12}

    def over(*found: dict[str, Any], **places: Place) -> int:
        return recount(found, places, float, {"gift": 1})["overshoots"]

    assert over(one, other, one=Place(5), other=Place(6)) == 1
    assert over(one, other, one=Place(5), other=Place(9)) == 0  # the first has lapsed
    assert over(one, other, one=Place(5, given_back=6), other=Place(6)) == 0
    assert over(one, other, one=Place(5, given_back=7), other=Place(6)) == 1
    made = {**one, "committed": 8}
    assert over(made, other, one=Place(5, stepped=8), other=Place(11)) == 1
    assert over(made, other, one=Place(5, stepped=10), other=Place(9)) == 1
    assert over(made, other, one=Place(5, stepped=12), other=Place(9)) == 0  # nobody knows that both had it
    tomorrow = {**other, "at": 86_400_000_000}
    assert over(made, tomorrow, one=Place(5, stepped=8), other=Place(6)) == 0


def crowded(place: str | None, count: int) -> Counter[str]:
    """Let a crowd ask a new server; return what was seen, with the recount."""
    server = CaseServer(bank(), START, place)
    try:
        crowd = Crowd(server, 3)
        crowd.run(count)
        return crowd.seen + recount(contacts_of(server), crowd.places, crowd.reached)
    finally:
        server.close()


def held(seen: Counter[str]) -> None:
    """Check that capacities held, that they were reached, and that what came back was given again."""
    print(dict(seen))
    assert seen["overshoots"] == 0
    assert seen["errors"] == seen["fallback"] == 0
    for action, limit in LIMITS.items():  # what lapses comes back to the minute: a few may be missing
        assert limit - 5 <= seen[f"most {action}"] <= limit
    assert seen["gift"] > LIMITS["gift"]
    assert seen["call"] > 2 * LIMITS["call"]  # of one week
    assert seen["gift"] + seen["call"] == seen["given"]
    assert seen["committed"] > 10 < seen["released"]
    assert seen["periods"] >= 2


def test_capacities_hold_under_many_clients() -> None:
    seen = crowded(None, 1500)
    held(seen)
    assert all(seen[f"most {action}"] == limit for action, limit in LIMITS.items())  # all at some instant


@pytest.mark.slow
def test_capacities_hold_in_postgres(postgres: PostgresServer) -> None:
    held(crowded(postgres.new_dsn(), 20_000))


@pytest.mark.slow
def test_capacities_hold_in_two_servers_on_one_postgres(postgres: PostgresServer) -> None:
    place = postgres.new_dsn()
    server = CaseServer(bank(), START, place, 11)
    try:
        begun = time.monotonic()
        command = [sys.executable, "-m", "tests.live.rationing", place, "11", str(begun)]
        others = [
            subprocess.Popen([*command, str(seed), "10000"], cwd=_ROOT, stdout=subprocess.PIPE, text=True)
            for seed in (1, 2)
        ]
        told = [one.communicate(timeout=1500)[0] for one in others]
        assert [one.returncode for one in others] == [0, 0]
        both = [msgspec.json.decode(one, type=Told) for one in told]
        seen: Counter[str] = sum((Counter(one.seen) for one in both), Counter())
        places = both[0].places | both[1].places
        held(seen + recount(contacts_of(server), places, lambda at: begun + (at - micros(START)) / _SPEED))
        assert all(one.seen["given"] > 20 for one in both)
    finally:
        server.close()
