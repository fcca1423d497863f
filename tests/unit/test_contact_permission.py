"""What permits a contact: the purpose, the law of where a customer lives, and the customer's answers."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from tilltal.core.instants import micros
from tilltal.decisions.contacting.ledger import Ledger, Request
from tilltal.decisions.contacting.parts import Contact
from tilltal.decisions.contacting.permission import Answer, Answers, Permit, answers_of, permit
from tilltal.decisions.contacting.policy import ContactPolicy
from tilltal.workspace.definitions.contact import Contact as Terms
from tilltal.workspace.definitions.policies import Consent

LAWS = msgspec.convert(
    {
        "purposes": {
            "marketing": {"consent": "unless_refused", "channels": {"call": "required"}},
            "service": {"consent": "not_required"},
        },
        "jurisdiction": "country",
        "jurisdictions": {
            "SE": {"marketing": {"consent": "unless_refused", "channels": {"sms": "required"}}},
            "NO": {"marketing": {"consent": "required"}, "service": {"consent": "unless_refused"}},
        },
    },
    Consent,
)
NOW = micros(datetime(2026, 5, 4, tzinfo=UTC))
YES = Answer("marketing", "*", True, NOW - 1)
NO = Answer("marketing", "*", False, NOW - 1)


@pytest.mark.parametrize(
    ("place", "purpose", "channel", "answers", "is_allowed"),
    [
        ("SE", "marketing", "email", [], True),  # nobody refused
        ("SE", "marketing", "email", [NO], False),
        ("SE", "marketing", "sms", [], False),
        ("SE", "marketing", "sms", [YES], True),
        ("NO", "marketing", "email", [], False),
        ("NO", "marketing", "email", [YES], True),
        ("NO", "service", "email", [], True),
        ("NO", "service", "email", [Answer("service", "email", False, NOW)], False),
        ("SE", "service", "email", [Answer("service", "email", False, NOW)], True),  # as everywhere else
        ("DK", "marketing", "email", [], False),  # no law known: a consent, whatever the purpose says
        (None, "marketing", "email", [], False),
        (None, "marketing", "email", [YES], True),
        (None, "service", "email", [], True),
        ("SE", "surveys", "email", [], False),  # not declared
    ],
)
def test_a_contact_needs_what_the_law_of_the_place_says(
    place: str | None, purpose: str, channel: str, answers: list[Answer], is_allowed: bool
) -> None:
    assert (permit(LAWS, purpose, channel, answers, NOW, place) is not None) is is_allowed


def test_where_one_law_holds_the_purpose_itself_says_what_is_needed() -> None:
    one_law = msgspec.structs.replace(LAWS, jurisdiction=None, jurisdictions={})
    assert permit(one_law, "marketing", "email", [], NOW) == Permit(
        "marketing", "email", "unless_refused", None
    )
    assert permit(one_law, "marketing", "call", [], NOW) is None


def test_the_answer_that_permits_is_told() -> None:
    later = Answer("marketing", "sms", True, NOW)
    future = Answer("marketing", "sms", False, NOW + 1)
    found = permit(LAWS, "marketing", "sms", [later, NO, future], NOW, "SE")
    assert found == Permit("marketing", "sms", "required", later)
    assert permit(LAWS, "marketing", "sms", [later, future], NOW + 1, "SE") is None


def test_the_answers_of_a_live_profile_are_numbers() -> None:
    numbers = {"marketing": {"*": 2 * NOW, "sms": 2 * NOW + 1}}
    assert set(answers_of(numbers)) == {
        Answer("marketing", "*", True, NOW),
        Answer("marketing", "sms", False, NOW),
    }


def test_answers_are_read_each_time_and_only_where_they_matter() -> None:
    reads = []

    def read() -> dict[str, dict[str, int]]:
        reads.append(NOW)
        return {"marketing": {"sms": 2 * NOW}}

    one_law = msgspec.structs.replace(LAWS, jurisdiction=None, jurisdictions={})
    answers = Answers(read)
    assert permit(one_law, "service", "sms", answers, NOW) == Permit("service", "sms", "not_required", None)
    assert not reads
    said = Answer("marketing", "sms", True, NOW)
    for _ in range(2):
        assert permit(one_law, "marketing", "sms", answers, NOW) == Permit(
            "marketing", "sms", "unless_refused", said
        )
    assert len(reads) == 2


def test_a_contact_keeps_what_permitted_its_last_step() -> None:
    ledger = Ledger(ContactPolicy(Terms(), LAWS), ZoneInfo("UTC"), places={1: "SE"})
    contact = Contact(action="card", group="cards", issue="sales", channel="email", purpose="marketing")
    ledger.request(Request(id="r", token=1, contact=contact), NOW)
    (reserved,) = ledger.contacts(1)
    assert reserved.permit == Permit("marketing", "email", "unless_refused", None)
    ledger.answer(1, YES)
    ledger.commit("r", NOW + 5)
    (committed,) = ledger.contacts(1)
    assert committed.permit.answer == YES
    assert (reserved.state(NOW + 9), committed.state(NOW + 9)) == ("reserved", "committed")
