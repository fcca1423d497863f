"""The plan of decisions: which names it reads, when an action lives, and the words of an explanation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tilltal.core.errors import WorkspaceError
from tilltal.decisions.explanation import chosen_actions, other_actions
from tilltal.decisions.plan import DecisionPlan, Policies, plan_decisions
from tilltal.decisions.single import as_row, decide
from tilltal.decisions.words.saying import Speaker
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.actions import Action, Condition
from tilltal.workspace.definitions.contact import Cap, Contact
from tilltal.workspace.definitions.policies import Arbitration, Consent, ContextRule, Levers, Purpose

SCHEMA = {
    "age": Type.INTEGER,
    "spend": Type.NUMBER,
    "answer": Type.ANY,
    "score.card": Type.NUMBER,
    "consent.marketing.email": Type.BOOLEAN,
    "lifecycle.stage": Type.TEXT,
}
NOW = Clock(datetime(2026, 5, 4, 10, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
ADULT = Condition(name="adult", when="age >= 18", description="Only for adults.")


def plan(
    arbitration: Arbitration | None = None, caps: tuple[Cap, ...] = (), **actions: Action
) -> DecisionPlan:
    policies = Policies(
        arbitration=arbitration or Arbitration(),
        consent=Consent(purposes={"marketing": Purpose()}),
        contact=Contact(caps=caps),
    )
    return plan_decisions(actions, dict.fromkeys(actions, ("email",)), SCHEMA, policies, NOW)


def test_a_plan_tells_every_name_it_reads() -> None:
    made = plan(
        Arbitration(
            context_rules=(
                ContextRule(key="lifecycle.stage", value="New", weight=10),
                ContextRule(key="page", value="cards", weight=10),
            )
        ),
        (Cap(name="week", limit=1, rolling="P7D", each=("channel",)),),
        card=Action(title="", group="cards", eligibility=(ADULT,), propensity="card", value="0.1 * spend"),
    )
    assert made.names == {
        "age",
        "spend",
        "score.card",
        "consent.marketing.email",
        "contacts.cap.week.email",
        "lifecycle.stage",
    }


def test_all_faulty_rules_of_an_action_are_refused() -> None:
    wrong = Condition(name="adult", when="agee >= 18")
    with pytest.raises(WorkspaceError, match="D203"):
        plan(card=Action(title="", group="cards", suitability=(wrong,)))


@pytest.mark.parametrize(
    ("starts", "ends", "reason"),
    [
        (None, None, None),
        ("2026-05-04T12:00", None, None),  # local time: 10:00 in UTC, which is now
        ("2026-05-04T12:00:00.000001", None, "eligibility:not_started"),
        ("2026-05-04T12:00Z", None, "eligibility:not_started"),
        (None, "2026-05-04T12:00", "eligibility:expired"),  # the end is the first instant after its life
        (None, "2026-05-04T12:00:00.000001", None),
        (None, "2026-05-05", None),
        ("2026-05-04", "2026-05-05", None),
    ],
)
def test_an_action_lives_from_its_start_until_its_end(
    starts: str | None, ends: str | None, reason: str | None
) -> None:
    made = plan(card=Action(title="", group="cards", starts=starts, ends=ends))
    assert made.actions[0].outside_life(NOW) == reason
    assert made.actions[0].outside_life(Clock(NOW.now - timedelta(days=400), NOW.zone)) == (
        "eligibility:not_started" if starts else None
    )


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("eligibility:adult", "The customer may not have it. Needed: adult."),
        ("eligibility:not_started", "The customer may not have it: it has not started yet."),
        ("eligibility:expired", "The customer may not have it: it has ended."),
        ("applicability:is_new", "It is not relevant now. Needed: is new."),
        ("suitability:debt", "It is not in the customer's interest. Needed: debt."),
        (
            "contact_policy:no_consent:marketing/email",
            "The contact policy forbids it: no consent to marketing by e-mail.",
        ),
        (
            "contact_policy:cap:a_week",
            "The contact policy forbids it: contacted as often as 'a week' allows.",
        ),
        (
            "contact_policy:quiet_hours",
            "The contact policy forbids it: it is the time of day at which nobody is disturbed.",
        ),
        (
            "contact_policy:cooldown:after_no",
            "The contact policy forbids it: left alone by 'after no' after an earlier answer.",
        ),
        (
            "contact_policy:holdout:base",
            "The contact policy forbids it: held out by 'base', to measure what contacts are worth.",
        ),
        ("contact_policy:no_channel", "The contact policy forbids it: there is no channel to say it in."),
        ("outranked:loan", "loan has a higher priority."),
        ("tie_name:loan", "loan has the same priority and comes first by name."),
        ("mandatory:loan", "loan is mandatory and goes first."),
        ("group_limit:loan", "loan of the same group is shown already."),
        ("not_positive", "It is worth nothing, or less, to the bank."),
        ("invalid_propensity", "Its probability is no number between 0 and 1."),
        ("invalid_value", "Its value is no finite number."),
    ],
)
def test_every_reason_is_a_sentence(reason: str, words: str) -> None:
    assert Speaker().reason(reason) == words


def test_an_explanation_names_rules_by_their_description_and_shows_what_they_saw() -> None:
    made = plan(
        Arbitration(levers=Levers(action={"loan": 10})),
        card=Action(title="A card", group="cards", eligibility=(ADULT,), value=100),
        fund=Action(title="A fund", group="funds", value=50),
        loan=Action(title="A loan", group="loans", value=100, propensity="card"),
    )
    row = {"age": 17, "consent.marketing.email": True, "score.card": 0.25}
    decision = decide(made, row, NOW, {})
    (shown,) = chosen_actions(made, decision, {"loan": ("spends a lot",)})
    assert (shown.action, shown.title, shown.channel, shown.because) == (
        "loan",
        "A loan",
        "email",
        ("spends a lot",),
    )
    assert (shown.P, shown.C, shown.V, shown.L, shown.priority) == (0.25, 1.0, 100.0, 1.1, 27.5)
    fund, card = other_actions(made, decision)  # the one that came nearest stands first
    assert (fund.action, fund.words, fund.priority) == ("fund", "A loan has a higher priority.", 25.0)
    assert (fund.stage, fund.code, fund.rule, fund.P, fund.V) == (
        "arbitration",
        "outranked",
        "loan",
        0.5,
        50.0,
    )
    assert (card.action, card.priority, card.saw) == ("card", None, {"age": 17})
    assert card.words == "The customer may not have it. Needed: Only for adults."


def test_a_contact_that_is_refused_shows_the_counter() -> None:
    cap = Cap(name="week", limit=2, rolling="P7D")
    made = plan(caps=(cap,), card=Action(title="", group="cards"))
    decision = decide(made, {"consent.marketing.email": True, "contacts.cap.week": 2}, NOW, {})
    (lost,) = other_actions(made, decision)
    assert (lost.stage, lost.code, lost.rule, lost.P) == ("contact_policy", "cap", "week", None)
    assert (lost.reason, lost.saw) == ("contact_policy:cap:week", {"contacts.cap.week": 2})


def test_a_stored_row_is_read_as_expressions_read_it() -> None:
    stored = {"age": 7, "spend": float("nan"), "answer": '"yes"', "lifecycle.stage": '"as is"', "other": None}
    assert as_row(stored, SCHEMA) == {
        "age": 7,
        "spend": None,
        "answer": "yes",
        "lifecycle.stage": '"as is"',
        "other": None,
    }
    assert as_row({"answer": "12.5"}, SCHEMA) == {"answer": 12.5}
    assert as_row({"answer": "true"}, SCHEMA) == {"answer": True}
