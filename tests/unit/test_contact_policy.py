"""Contact policy: what is counted in which window, and what a count then allows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from tilltal.core.time import parse_instant
from tilltal.decisions.contacting.batch import counts_sql
from tilltal.decisions.contacting.checks import Check, checks, count_name
from tilltal.decisions.contacting.parts import contact_of
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.contact import AppliesTo, Cap, Contact
from tilltal.workspace.definitions.policies import Consent, Purpose

STOCKHOLM = ZoneInfo("Europe/Stockholm")
ACTIONS = {
    "card": Action(title="", group="cards"),
    "gold": Action(title="", group="cards"),
    "loan": Action(title="", group="loans", issue="retention"),
    "survey": Action(title="", group="service", issue="service", purpose="service"),
}
Sent = tuple[str, str, str]  # local time, action, channel


def counted(caps: Iterable[Cap], sent: Iterable[Sent], now: str, contact: tuple[str, str]) -> dict[str, int]:
    """The counters of one contact's caps, by name, for a customer with past contacts."""
    clock = Clock(parse_instant(now, STOCKHOLM), STOCKHOLM)
    action, channel = contact
    rows = [
        {"profile": 1, "at": parse_instant(at, STOCKHOLM).replace(tzinfo=None), "action": name, "channel": by}
        for at, name, by in sent
    ]
    kinds = [("profile", pa.int64()), ("at", pa.timestamp("us")), ("action", pa.string())]
    table = pa.Table.from_pylist(rows, schema=pa.schema([*kinds, ("channel", pa.string())]))
    wanted = contact_of(action, ACTIONS[action], channel)
    terms = Contact(caps=tuple(caps), events=("sent",))
    sql = counts_sql([wanted], terms, ACTIONS, clock, "profiles")
    assert sql is not None
    with DuckDBEngine(threads=1) as engine:
        engine.register("event.sent", table)
        found = engine.arrow(sql).to_pylist()
    return {name: value for name, value in found[0].items() if name != "profile"} if found else {}


def of(cap: Cap, sent: Iterable[Sent], now: str, contact: tuple[str, str] = ("card", "email")) -> int:
    wanted = contact_of(contact[0], ACTIONS[contact[0]], contact[1])
    return counted([cap], sent, now, contact).get(count_name(cap, wanted) or "", 0)


def mails(*times: str) -> list[Sent]:
    return [(at, "card", "email") for at in times]


def test_a_rolling_window_is_exact_to_the_second() -> None:
    cap = Cap(name="week", limit=1, rolling="P7D")
    on_the_border, inside = "2026-05-04T12:00:00", "2026-05-04T12:00:01"
    assert of(cap, mails(on_the_border), "2026-05-11T12:00:00") == 0
    assert of(cap, mails(inside), "2026-05-11T12:00:00") == 1


def test_a_rolling_day_is_24_hours_even_when_the_clocks_change() -> None:
    cap = Cap(name="day", limit=1, rolling="P1D")
    # 28 March 2026, 12:00 to 29 March 12:00 is 23 hours: summer time begins.
    assert of(cap, mails("2026-03-28T11:30:00"), "2026-03-29T12:00:00") == 1
    assert of(cap, mails("2026-10-24T12:30:00"), "2026-10-25T12:00:00") == 0


@pytest.mark.parametrize(
    ("span", "now", "before", "first"),
    [
        ("day", "2026-05-04T09:00", "2026-05-03T23:59:59", "2026-05-04T00:00:00"),
        ("day", "2026-03-29T23:00", "2026-03-28T23:59:59", "2026-03-29T00:00:00"),  # a day of 23 hours
        ("day", "2026-10-25T23:59", "2026-10-24T23:59:59", "2026-10-25T00:00:00"),  # a day of 25 hours
        ("week", "2026-05-10T23:00", "2026-05-03T23:59:59", "2026-05-04T00:00:00"),  # weeks begin on Monday
        ("week", "2026-05-04T00:00", "2026-05-03T23:59:59", "2026-05-04T00:00:00"),
        ("week", "2026-04-01T12:00", "2026-03-29T23:59:59", "2026-03-30T00:00:00"),  # over the month's end
        ("month", "2026-03-31T12:00", "2026-02-28T23:59:59", "2026-03-01T00:00:00"),
        ("month", "2026-01-01T00:00", "2025-12-31T23:59:59", "2026-01-01T00:00:00"),
    ],
)
def test_calendar_windows_begin_at_local_midnight(
    span: Literal["day", "week", "month"], now: str, before: str, first: str
) -> None:
    cap = Cap(name="cap", limit=1, calendar=span)
    assert of(cap, mails(before), now) == 0
    assert of(cap, mails(before, first), now) == 1


def test_local_midnight_is_not_that_of_utc() -> None:
    cap = Cap(name="day", limit=1, calendar="day")
    assert of(cap, mails("2026-05-03T23:30:00"), "2026-05-04T00:30:00") == 0  # 21:30 and 22:30 in UTC
    assert of(cap, mails("2026-05-04T00:10:00"), "2026-05-04T13:00:00") == 1


SENT = [
    ("2026-05-04T08:00:00", "card", "email"),
    ("2026-05-04T08:01:00", "gold", "push"),
    ("2026-05-04T08:02:00", "loan", "email"),
    ("2026-05-04T08:03:00", "survey", "push"),
    ("2026-05-04T08:04:00", "forgotten", "email"),  # an action of the past that no longer exists
]
NOW = "2026-05-04T12:00:00"


@pytest.mark.parametrize(
    ("applies_to", "each", "count"),
    [
        (AppliesTo(), (), 5),
        (AppliesTo(), ("channel",), 3),
        (AppliesTo(), ("group",), 2),
        (AppliesTo(), ("action",), 1),
        (AppliesTo(), ("group", "channel"), 1),
        (AppliesTo(), ("purpose",), 3),
        (AppliesTo(channel="email"), (), 3),
        (AppliesTo(group="cards"), (), 2),
        (AppliesTo(group="cards"), ("channel",), 1),
        (AppliesTo(issue="sales"), (), 2),
        (AppliesTo(purpose="marketing"), (), 3),
    ],
)
def test_what_a_cap_counts_for_a_card_by_mail(
    applies_to: AppliesTo, each: tuple[str, ...], count: int
) -> None:
    assert of(Cap(name="cap", limit=9, rolling="P7D", applies_to=applies_to, each=each), SENT, NOW) == count


@pytest.mark.parametrize(
    "applies_to", [AppliesTo(channel="push"), AppliesTo(group="loans"), AppliesTo(action="gold")]
)
def test_a_cap_that_does_not_apply_is_not_asked(applies_to: AppliesTo) -> None:
    cap = Cap(name="cap", limit=0, rolling="P7D", applies_to=applies_to)
    contact = contact_of("card", ACTIONS["card"], "email")
    terms = Contact(caps=(cap,), events=("sent",))
    assert checks(contact, terms, Consent(purposes={"marketing": Purpose(consent="not_required")})) == ()
    assert counts_sql([contact], terms, ACTIONS, Clock(datetime.now(UTC), STOCKHOLM), "profiles") is None


def test_no_two_counters_share_a_column() -> None:
    actions = {name: Action(title="", group=name) for name in ("card", "Card", "c.ard", "ÅR", "år")}
    caps = [
        Cap(name="a", limit=1, rolling="P7D", each=("action",)),
        Cap(name="a.card", limit=1, rolling="P7D"),
        Cap(name="A", limit=1, rolling="P7D", each=("action",)),
    ]
    contacts = [contact_of(name, action, "email") for name, action in actions.items()]
    names = {str(count_name(cap, contact)).lower() for cap in caps for contact in contacts}
    assert len(names) == 5 + 1 + 5
    clock = Clock(parse_instant(NOW, STOCKHOLM), STOCKHOLM)
    sql = counts_sql(contacts, Contact(caps=tuple(caps), events=("sent",)), actions, clock, "profiles")
    with DuckDBEngine(threads=1) as engine:
        engine.run(
            'CREATE TABLE "event.sent" AS SELECT 1 AS profile, TIMESTAMP \'2026-05-04\' AS "at", action, '
            "'email' AS channel FROM (VALUES ('Card'), ('Card'), ('card')) AS sent(action)"
        )
        (found,) = engine.arrow(str(sql)).to_pylist()
    counts = {
        action: found[str(count_name(caps[0], contact_of(action, actions[action], "email")))]
        for action in actions
    }
    assert counts == {"card": 1, "Card": 2, "c.ard": 0, "ÅR": 0, "år": 0}


def test_where_nothing_was_ever_a_contact_every_count_is_nought() -> None:
    cap = Cap(name="cap", limit=1, rolling="P7D")
    contact = contact_of("card", ACTIONS["card"], "email")
    clock = Clock(parse_instant(NOW, STOCKHOLM), STOCKHOLM)
    sql = counts_sql([contact], Contact(caps=(cap,)), ACTIONS, clock, "profiles")
    assert sql is not None
    with DuckDBEngine(threads=1) as engine:
        found = engine.arrow(sql)
    assert found.column_names == ["profile", "contacts.cap.cap"]
    assert found.num_rows == 0


def test_several_types_of_events_are_contacts_together() -> None:
    clock = Clock(parse_instant(NOW, STOCKHOLM), STOCKHOLM)
    cap = Cap(name="cap", limit=1, rolling="P7D")
    terms = Contact(caps=(cap,), events=("sent", "called"))
    sql = counts_sql([contact_of("card", ACTIONS["card"], "email")], terms, ACTIONS, clock, "profiles")
    with DuckDBEngine(threads=1) as engine:
        for name in ("sent", "called"):
            engine.run(
                f'CREATE TABLE "event.{name}" AS SELECT 1 AS profile, TIMESTAMP \'2026-05-04\' AS "at", '
                "'card' AS action, 'email' AS channel"
            )
        assert engine.rows(str(sql)) == [(1, 2)]


def test_consent_goes_before_caps_and_is_needed_for_what_no_policy_knows() -> None:
    terms = Contact(
        caps=(Cap(name="first", limit=1, rolling="P7D"), Cap(name="second", limit=1, calendar="day"))
    )
    consent = Consent(purposes={"marketing": Purpose(), "service": Purpose(consent="not_required")})
    asked = checks(contact_of("card", ACTIONS["card"], "email"), terms, consent)
    assert [check.reason for check in asked] == ["no_consent:marketing/email", "cap:first", "cap:second"]
    assert [
        check.reason for check in checks(contact_of("survey", ACTIONS["survey"], "push"), Contact(), consent)
    ] == []
    unknown = checks(contact_of("card", ACTIONS["card"], "email"), Contact(), Consent(purposes={}))
    assert [check.reason for check in unknown] == ["no_consent:marketing/email"]


@pytest.mark.parametrize(("value", "passes"), [(True, True), (False, False), (None, False), (1, False)])
def test_only_a_yes_is_a_consent(value: object, passes: bool) -> None:
    assert Check(reason="", name="x").passes(value) is passes


@pytest.mark.parametrize(
    ("count", "limit", "passes"),
    [(None, 1, True), (0, 1, True), (1, 1, False), (0, 0, False), (None, 0, False)],
)
def test_a_contact_passes_if_it_does_not_pass_the_limit(count: int | None, limit: int, passes: bool) -> None:
    check = Check(reason="", name="x", limit=limit)
    assert check.passes(count) is passes
    shown = "NULL" if count is None else str(count)
    with DuckDBEngine(threads=1) as engine:
        assert engine.rows(f"SELECT {check.sql(f'CAST({shown} AS BIGINT)')}") == [(passes,)]
