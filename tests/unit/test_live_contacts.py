"""The contact policy over a live profile: what came as events stands against the next decision."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tilltal.core.instants import micros
from tilltal.customers.live.facts.consent_answers import ConsentFact
from tilltal.customers.live.facts.pending import Fact
from tilltal.customers.live.facts.records import RecordFact
from tilltal.customers.live.profile import ProfileProgram, ProfileState, Reference
from tilltal.customers.traits.online import Event
from tilltal.decisions.contacting.policy import Made, Past
from tilltal.decisions.live.decider import LiveDecider, LiveDecision
from tilltal.decisions.plan import DecisionPlan
from tilltal.rules.clock import Clock
from tilltal.runtime.live.contacting import LiveContacts
from tilltal.runtime.refresh.deciding import decision_plan
from tilltal.workspace.check import usable
from tilltal.workspace.workspace import Workspace

FILES = {
    "tilltal.yaml": "{name: bank, time_zone: Europe/Stockholm}",
    "sources/people.yaml": """
        kind: record
        read: {files: people.csv}
        identities: {customer: id}
        effective: 2026-01-01
        fields: {home_zone: text, country: text}""",
    "sources/campaigns.yaml": """
        kind: event
        read: {files: campaigns.csv}
        identities: {customer: id}
        event: {column: type, map: {S: sent, D: declined}}
        at: at
        fields: {action: text, channel: text}""",
    "policies/consent.yaml": """
        purposes:
          marketing: {consent: unless_refused}
        jurisdiction: country
        jurisdictions: {SE: {marketing: {consent: unless_refused}}, NO: {marketing: {consent: required}}}""",
    "policies/contact.yaml": """
        events: [sent]
        outcomes: {declined: rejected}
        time_zone: home_zone
        caps: [{name: day, limit: 1, calendar: day, applies_to: {channel: email}}]
        cooldowns: [{name: rest, outcome: rejected, times: 2, for: P7D, scope: group}]
        quiet_hours: [{from: '21:00', to: '08:00', applies_to: {channel: sms}}]""",
    "policies/arbitration.yaml": """
        influencers: [{on: rejected, scope: group, weight: -40, half_life: P10D}]""",
    "policies/engagement.yaml": """
        groups: {cards: {suitability: [{name: not_pressed, when: history.group.cards.contact_7d < 3}]}}""",
    "actions/card/action.yaml": "{title: Card, group: cards}",
    "actions/card/email.en.yaml": "body: Hello",
    "actions/card/sms.en.yaml": "body: Hello",
    "actions/loan/action.yaml": "{title: Loan, group: loans}",
    "actions/loan/sms.en.yaml": "body: Hello",
}
NOON = datetime(2026, 5, 4, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("contacts")
    for name, text in FILES.items():
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return usable(root)


class Bank:
    """A workspace's definitions, compiled as the server does."""

    def __init__(self, workspace: Workspace) -> None:
        self.zone = workspace.zone
        self.plan: DecisionPlan = decision_plan(workspace, Clock(NOON, self.zone))
        self.contacts = LiveContacts(workspace, self.plan)
        self.program = ProfileProgram(workspace, Reference(), self.contacts.families)
        self.decider = LiveDecider(self.plan)
        self.names = tuple(sorted(self.plan.names & self.program.names.keys()))

    def state(self, *facts: Fact) -> ProfileState:
        state = self.program.new()
        for fact in facts:
            self.program.add(state, 1, fact, Clock(NOON, self.zone))
        return self.program.decode(self.program.encode(state))

    def decided(self, state: ProfileState, now: datetime, reserved: Past | None = None) -> LiveDecision:
        clock = Clock(now, self.zone)
        values = self.program.values(state, clock, self.names)
        moment = self.contacts.moment(values, clock, 7)
        past = self.contacts.past(self.program, state, moment.now, reserved or Past())
        values.update(self.contacts.readings(past, moment))
        return self.decider.decide(self.decider.values_of(values), clock, {}, count=9)

    def levers(self, state: ProfileState, now: datetime) -> dict[str, float]:
        """Action → its L."""
        return {one.action: one.L for one in self.decided(state, now).shown}

    def decide(self, state: ProfileState, now: datetime, reserved: Past | None = None) -> dict[str, str]:
        """Action → its channel, or why not."""
        decided = self.decided(state, now, reserved)
        shown = {one.action: one.channel for one in decided.shown}
        return shown | {one.action: one.reason for one in decided.explain().ranking.lost}


@pytest.fixture(scope="module")
def bank(workspace: Workspace) -> Bank:
    return Bank(workspace)


def person(zone: str | None = None, country: str | None = "SE") -> Fact:
    fields: dict[str, object] = {"home_zone": zone, "country": country}
    at = NOON - timedelta(days=90)
    return RecordFact(source="people", at=at, received=at, event_id=f"{99:032x}", fields=fields)


def event(kind: str, at: datetime, action: str, channel: str, number: int = 1) -> Event:
    fields = {"action": action, "channel": channel}
    return Event(type=kind, at=at, received=at, event_id=f"{number:032x}", fields=fields)


def answer(granted: bool, at: datetime) -> Fact:
    return ConsentFact(purpose="marketing", channel="*", granted=granted, at=at, received=at)


def test_with_nothing_before_the_first_channel_is_taken(bank: Bank) -> None:
    assert bank.decide(bank.state(person()), NOON) == {"card": "email", "loan": "sms"}


def test_a_contact_of_the_day_counts_in_the_customers_own_day(bank: Bank) -> None:
    sent = event(
        "sent", NOON - timedelta(hours=6), "card", "email"
    )  # 04:00 UTC: in New York it is 4 May, too
    assert bank.decide(bank.state(person(), sent), NOON)["card"] == "sms"
    sent = event("sent", NOON - timedelta(hours=11), "card", "email")  # 23:00 UTC: 3 May in New York only
    assert bank.decide(bank.state(person(), sent), NOON)["card"] == "sms"
    assert bank.decide(bank.state(person("America/New_York"), sent), NOON)["card"] == "email"
    assert bank.decide(bank.state(person("Mars/Olympus"), sent), NOON)["card"] == "sms"


def test_quiet_hours_hold_by_the_customers_clock(bank: Bank) -> None:
    evening = NOON + timedelta(hours=9, minutes=30)  # 21:30 in Stockholm, 15:30 in New York
    quiet = "contact_policy:quiet_hours"
    assert bank.decide(bank.state(person()), evening) == {"card": "email", "loan": quiet}
    assert bank.decide(bank.state(person("America/New_York")), evening)["loan"] == "sms"


def test_outcomes_silence_their_group(bank: Bank) -> None:
    first = event("declined", NOON - timedelta(days=2), "loan", "sms")
    second = event("declined", NOON - timedelta(days=1), "loan", "email", 2)
    assert bank.decide(bank.state(person(), first), NOON)["loan"] == "sms"
    state = bank.state(person(), first, second)
    assert bank.decide(state, NOON) == {"card": "email", "loan": "contact_policy:cooldown:rest"}
    assert bank.decide(state, NOON + timedelta(days=6))["loan"] == "sms"  # seven days after the second


def test_the_law_of_the_place_permits_or_not(bank: Bank) -> None:
    denied = {
        name: f"contact_policy:no_consent:marketing/{by}" for name, by in (("card", "email"), ("loan", "sms"))
    }
    allowed = {"card": "email", "loan": "sms"}
    yes, no = answer(True, NOON - timedelta(days=1)), answer(False, NOON - timedelta(days=1))
    assert bank.decide(bank.state(person(country="NO")), NOON) == denied
    assert bank.decide(bank.state(person(country=None)), NOON) == denied
    assert bank.decide(bank.state(), NOON) == denied
    assert bank.decide(bank.state(person(country="SE"), no), NOON) == denied
    assert bank.decide(bank.state(person(country="NO"), yes), NOON) == allowed


def test_what_was_reserved_counts_with_what_came_as_events(bank: Bank) -> None:
    (mail,) = [one for one in bank.plan.contacts if one.action == "card" and one.channel == "email"]
    reserved = Past([Made(micros(NOON), mail)])
    assert bank.decide(bank.state(person()), NOON, reserved)["card"] == "sms"


def test_conditions_see_the_history_and_outcomes_influence_l(bank: Bank) -> None:
    sent = [event("sent", NOON - timedelta(days=day), "card", "sms", day) for day in (2, 3, 6)]
    assert bank.decide(bank.state(person(), *sent[:2]), NOON)["card"] == "email"
    pressed = bank.state(person(), *sent)
    assert bank.decide(pressed, NOON)["card"] == "suitability:not_pressed"
    assert bank.decide(pressed, NOON + timedelta(days=2))["card"] == "email"
    declined = bank.state(person(), event("declined", NOON - timedelta(days=10), "loan", "sms"))
    assert bank.levers(declined, NOON) == {"card": 1.0, "loan": 0.8}
    assert bank.levers(declined, NOON + timedelta(days=10)) == {"card": 1.0, "loan": 0.9}
