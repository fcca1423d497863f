"""Caps where the moment is chosen: they hold for when messages are sent, not for when that was decided."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from tests.live.test_reserving import START as START
from tests.live.test_reserving import Bank, bank

from tilltal.core.instants import micros
from tilltal.decisions.contacting.parts import Contact
from tilltal.decisions.contacting.policy import ContactPolicy, Made, Moment, Past
from tilltal.decisions.contacting.reservations import Contacted
from tilltal.runtime.live.contacts.entries import Entry
from tilltal.workspace.definitions.contact import Cap
from tilltal.workspace.definitions.contact import Contact as Terms
from tilltal.workspace.definitions.policies import Consent, Purpose

HOUR = timedelta(hours=1)
STOCKHOLM = ZoneInfo("Europe/Stockholm")
NIGHT = {"from": "21:00", "to": "09:00", "applies_to": {"channel": "email"}}
ONE_A_DAY = {"name": "many", "limit": 1, "calendar": "day"}
ONE_IN_SIX_HOURS = {"name": "many", "limit": 1, "rolling": "PT6H"}
TWO_IN_TWELVE_HOURS = {"name": "many", "limit": 2, "rolling": "PT12H"}
CAPS = (ONE_A_DAY, ONE_IN_SIX_HOURS, TWO_IN_TWELVE_HOURS)


@pytest.fixture
def servers() -> Iterator[list[Bank]]:
    found: list[Bank] = []
    yield found
    for one in found:
        one.close()


def opened(servers: list[Bank], cap: dict[str, object]) -> Bank:
    """A bank that sends no e-mail at night, but in the morning after; text messages it sends at once."""
    files = bank(caps=[cap], quiet_hours=[NIGHT], reservation_ttl="P1D")
    files["policies/sending.yaml"] = {"channels": ["email"], "horizon": "24 hours"}
    server = Bank(files, START)
    servers.append(server)
    server.meet("c1")
    return server


def sent(server: Bank, **asked: object) -> list[datetime]:
    """Ask for a decision; return when what it reserves is sent."""
    shown = [one for one in server.decide("c1", **asked)["actions"] if one.get("contact")]
    return [datetime.fromisoformat(one["send_at"]) if one["send_at"] else server.now for one in shown]


def is_within(cap: dict[str, object], moments: list[datetime]) -> bool:
    """True if no window, wherever it begins, and no local day holds more than a cap allows."""
    limit, rolling = cap["limit"], cap.get("rolling")
    assert isinstance(limit, int)
    if rolling is None:
        days = [one.date() for one in moments]
        return all(days.count(day) <= limit for day in days)
    length = {"PT6H": 6 * HOUR, "PT12H": 12 * HOUR}[str(rolling)]
    return all(sum(first <= one < first + length for one in moments) <= limit for first in moments)


@pytest.mark.parametrize("cap", [ONE_A_DAY, ONE_IN_SIX_HOURS])
def test_two_evenings_messages_do_not_leave_in_the_same_second(
    servers: list[Bank], cap: dict[str, object]
) -> None:
    server = opened(servers, cap)
    server.now = datetime(2026, 5, 4, 22, tzinfo=UTC)
    morning = datetime(2026, 5, 5, 9, tzinfo=UTC)
    assert sent(server, channel="email") == [morning]
    server.now = datetime(2026, 5, 5, 5, tzinfo=UTC)
    assert sent(server, channel="email") == []
    server.now = morning + (24 * HOUR if cap is ONE_A_DAY else 6 * HOUR)
    assert sent(server, channel="email") == [server.now]


def test_what_is_sent_tomorrow_leaves_today_to_others(servers: list[Bank]) -> None:
    server = opened(servers, ONE_A_DAY)
    server.now = datetime(2026, 5, 4, 22, tzinfo=UTC)
    assert sent(server, channel="email") == [datetime(2026, 5, 5, 9, tzinfo=UTC)]
    assert sent(server, channel="sms") == [server.now]
    assert sent(server, channel="sms") == []
    server.now = datetime(2026, 5, 5, 1, tzinfo=UTC)
    assert sent(server, channel="sms") == []


@pytest.mark.parametrize("cap", CAPS)
def test_no_window_of_what_is_sent_holds_more_than_its_cap(
    servers: list[Bank], cap: dict[str, object]
) -> None:
    random, moments = Random(11), list[datetime]()
    server = opened(servers, cap)
    for _ in range(40):
        server.now += random.choice((1, 4, 9, 25)) * HOUR
        asked = random.choice(({}, {}, {"channel": "email"}, {"channel": "sms"}))
        moments += sent(server, **asked)
        assert is_within(cap, moments)
    assert len(moments) > 8


def test_judged_is_the_moment_it_is_sent_and_what_is_sent_around_it() -> None:
    caps = (Cap(name="day", limit=1, calendar="day"), Cap(name="six", limit=2, rolling="PT6H"))
    policy = ContactPolicy(Terms(caps=caps), Consent(purposes={"service": Purpose(consent="not_required")}))
    contact = Contact(action="a", group=None, issue=None, channel="email", purpose="service")
    now = datetime(2026, 5, 4, 20, tzinfo=UTC)
    decided, moment, random = micros(now), Moment(micros(now), STOCKHOLM), Random(3)
    for _ in range(400):
        instants = [now + random.randint(-60, 60) * HOUR / 2 for _ in range(4)]
        sends, *others = instants
        past = Past([Made(decided - 1, contact, micros(one)) for one in others])
        found = set(policy.judge(contact, past, moment, micros(sends)).reasons)
        days = [one.astimezone(STOCKHOLM).date() for one in others]
        near = sum(abs(one - sends) < 6 * HOUR for one in others)
        expected = {"cap:day"} if sends.astimezone(STOCKHOLM).date() in days else set()
        assert found == expected | ({"cap:six"} if near >= 2 else set())


def test_a_contact_is_read_for_as_long_as_its_sending_matters() -> None:
    contact = Contact(action="a", group=None, issue=None, channel="email", purpose="service")
    policy = ContactPolicy(Terms(), Consent(purposes={"service": Purpose(consent="not_required")}))
    permit = policy.permit(contact, (), Moment(0, STOCKHOLM))
    assert permit is not None
    made = Contacted(id="x", token=1, at=5, contact=contact, permit=permit, expires=None, sends=90)
    entry = Entry(id="x", token=1, at=5, contacted=made)
    assert [row.last for row in entry.rows()] == [90]
    assert [row.last for row in entry.with_outcome("accept", 95).rows()] == [95]
    assert entry.made(10) == Made(5, contact, 90)
