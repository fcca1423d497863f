"""Engagement policy: conditions of groups and issues, the request's context, costs, and saying nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tilltal.core.errors import Fault
from tilltal.decisions.arbitration import Candidate, Context, arbitrate
from tilltal.decisions.context import context_values
from tilltal.decisions.plan import DecisionPlan, Policies, plan_decisions
from tilltal.decisions.single import decide
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.check import check_folder
from tilltal.workspace.decision_names import read_history_name
from tilltal.workspace.definitions.actions import Action, Condition
from tilltal.workspace.definitions.engagement import EngagementPolicy, Tiers
from tilltal.workspace.definitions.policies import Arbitration, Consent, Nothing, Purpose

CLOCK = Clock(datetime(2026, 5, 4, 10, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
SCHEMA = {"age": Type.INTEGER}


def rule(name: str, when: str = "TRUE") -> tuple[Condition, ...]:
    return (Condition(name=name, when=when),)


def plan_of(engagement: EngagementPolicy, policy: Arbitration | None = None, **action: Any) -> DecisionPlan:
    given: dict[str, Any] = {"title": "", "group": "loans", "purpose": "service", "value": 10.0} | action
    policies = Policies(
        arbitration=policy or Arbitration(),
        consent=Consent(purposes={"service": Purpose(consent="not_required")}),
        engagement=engagement,
    )
    return plan_decisions({"loan": Action(**given)}, {"loan": ("email", "call")}, SCHEMA, policies, CLOCK)


def test_each_tier_asks_all_then_issue_then_group_then_the_action() -> None:
    def tiers(level: str) -> Tiers:
        return Tiers(eligibility=rule(f"{level}_may"), suitability=rule(f"{level}_good"))

    engagement = EngagementPolicy(
        all_=tiers("all"),
        issues={"sales": tiers("sales"), "service": tiers("service")},
        groups={"loans": tiers("loans"), "cards": tiers("cards")},
    )
    plan = plan_of(engagement, eligibility=rule("own_may"), applicability=rule("own_now"))
    assert [one.reason for one in plan.actions[0].rules] == [
        "eligibility:all_may",
        "eligibility:sales_may",
        "eligibility:loans_may",
        "eligibility:own_may",
        "applicability:own_now",
        "suitability:all_good",
        "suitability:sales_good",
        "suitability:loans_good",
    ]


def test_a_shared_condition_removes_and_is_the_reason() -> None:
    engagement = EngagementPolicy(groups={"loans": Tiers(eligibility=rule("of_age", "age >= 18"))})
    found = decide(plan_of(engagement, suitability=rule("own", "FALSE")), {"age": 17}, CLOCK, {})
    assert [one.reason for one in found.ranking.lost] == ["eligibility:of_age"]
    assert found.proposals["loan"].seen == {"age": 17}


def test_conditions_see_what_the_request_tells() -> None:
    engagement = EngagementPolicy(context={"page": "text", "amount": "number"})
    plan = plan_of(engagement, applicability=rule("now", "context.page = 'loans' AND context.amount > 5"))
    asked: tuple[tuple[Context, list[str]], ...] = (
        ({"page": "loans", "amount": 6}, ["loan"]),
        ({"page": "loans", "amount": "6"}, []),
        ({"page": "loans"}, []),
        ({}, []),
    )
    for told, shown in asked:
        found = decide(plan, context_values(engagement, told), CLOCK, told)
        assert [one.action for one in found.ranking.ranked] == shown


@pytest.mark.parametrize(
    ("kind", "told", "seen"),
    [
        ("text", "7", "7"),
        ("text", 7, None),
        ("integer", 7.0, 7),
        ("integer", 7.5, None),
        ("integer", True, None),
        ("integer", 10**400, None),
        ("number", 7, 7.0),
        ("number", float("inf"), None),
        ("boolean", True, True),
        ("boolean", 1, None),
        ("date", "2026-05-04", date(2026, 5, 4)),
        ("date", "tomorrow", None),
        ("timestamp", "2026-05-04T12:00:00+02:00", datetime(2026, 5, 4, 10)),
        ("timestamp", "2026-05-04T12:00:00", datetime(2026, 5, 4, 12)),
    ],
)
def test_the_context_has_its_declared_types(kind: Any, told: Any, seen: object) -> None:
    found = context_values(EngagementPolicy(context={"it": kind}), {"it": told})["context.it"]
    assert found == seen
    assert type(found) is type(seen)


def test_costs_are_those_of_the_channel_that_is_used_and_of_no_probability() -> None:
    def priority(policy: Arbitration, **action: Any) -> float:
        found = decide(plan_of(EngagementPolicy(), policy, propensity=0.5, **action), {}, CLOCK, {})
        return float(found.ranking.ranked[0].priority)

    by_channel = Arbitration(costs={"email": 0.5, "call": 60})
    assert priority(by_channel) == 4.5
    assert priority(by_channel, cost=2) == 3
    assert priority(by_channel, cost=0) == 5
    assert priority(by_channel, value="age") == -0.5  # unknown: half the default, less the cost


def test_what_is_worth_less_than_nothing_is_not_said() -> None:
    policy = Arbitration(slots=5, nothing=Nothing(below=5))
    given = [
        Candidate(action=name, group="g", issue="i", propensity=0.5, value=value, mandatory=name == "duty")
        for name, value in (("duty", 1.0), ("exact", 10.0), ("less", 9.99), ("more", 11.0))
    ]
    found = arbitrate(given, policy, {})
    assert [one.action for one in found.ranked] == ["duty", "more", "exact"]
    assert [(one.action, one.reason) for one in found.lost] == [("less", "below_nothing")]


def test_no_more_of_an_issue_than_allowed() -> None:
    policy = Arbitration(slots=3, max_per_issue=1)
    given = [
        Candidate(action=name, group=name, issue=issue, propensity=0.5, value=value)
        for name, issue, value in (("a", "sales", 3.0), ("b", "sales", 2.0), ("c", "service", 1.0))
    ]
    found = arbitrate(given, policy, {})
    assert [one.action for one in found.ranked] == ["a", "c"]
    assert [(one.action, one.reason) for one in found.lost] == [("b", "issue_limit:a")]


@pytest.mark.parametrize(
    "name",
    [
        "history.reject_30d",
        "history.any.reject",
        "history.any.reject_0d",
        "history.any.reject_366d",
        "history.any.group.loans.reject_30d",
        "history.colour.red.reject_30d",
        "contacts.any.reject_30d",
    ],
)
def test_what_is_no_name_of_the_history(name: str) -> None:
    assert read_history_name(name) is None


FILES = {
    "tilltal.yaml": "{name: bank, channels: [email, call]}",
    "policies/consent.yaml": "purposes: {marketing: {}}",
    "actions/loan/action.yaml": "{title: Loan, group: loans, eligibility: [{name: own, when: 'TRUE'}]}",
    "actions/loan/email.en.yaml": "body: Hello",
}


def faults(folder: Path, **files: str) -> list[Fault]:
    for name, text in {
        **FILES,
        **{key.replace("__", "/") + ".yaml": text for key, text in files.items()},
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(check_folder(folder))


def told(found: list[Fault]) -> list[tuple[str, int, str]]:
    return [(one.code, one.place.line, one.place.file) for one in found]


def test_a_policy_that_makes_sense_has_no_fault(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        policies__engagement="""
            context: {page: text}
            all: {eligibility: [{name: open, when: "context.page <> 'closed'"}]}
            issues: {sales: {applicability: [{name: calm, when: history.any.contact_7d < 3}]}}
            groups: {loans: {suitability: [{name: wants, when: history.channel.call.accept_9d = 0}]}}
            """,
        policies__arbitration="""
            nothing: {below: 1}
            costs: {email: 0.01}
            influencers: [{on: reject, weight: -50, half_life: P14D, applies_to: {issue: sales}}]
            """,
    )
    assert found == []


def test_faults_of_the_engagement_policy_are_told_where_they_are(tmp_path: Path) -> None:
    engagement = "\n".join(
        (
            "groups:",
            "  lones: {}",
            "  loans:",
            "    eligibility:",
            "      - {name: own, when: context.page = 'x'}",
            "      - {name: past, when: history.group.lones.reject_30d = 0}",
            "all:",
            "  eligibility: [{name: past, when: 'TRUE'}, {name: past, when: 'TRUE'}]",
        )
    )
    found = told(faults(tmp_path, policies__engagement=engagement))
    file = "policies/engagement.yaml"
    assert ("W130", 2, file) in found  # no such group
    assert ("D203", 5, file) in found  # no such field of the context
    assert ("D203", 6, file) in found  # no such name of the history
    assert ("W133", 6, file) in found  # the name of a condition of all
    assert ("W133", 8, file) in found  # twice in one list
    assert ("W133", 1, "actions/loan/action.yaml") in found
    assert len(found) == 6


def test_context_and_history_are_known_only_in_a_decision(tmp_path: Path) -> None:
    found = faults(tmp_path, audiences__calm="condition: history.any.contact_7d < 3")
    assert [(one.code, one.place.file) for one in found] == [("D203", "audiences/calm.yaml")]


def test_faults_of_influencers_costs_and_nothing(tmp_path: Path) -> None:
    arbitration = "\n".join(
        (
            "costs: {pigeon: 1}",
            "influencers:",
            "  - {on: rejected, weight: -50, half_life: P14D}",
            "  - {on: reject, weight: -50, half_life: soon}",
            "  - {on: reject, weight: -50, half_life: P14D, applies_to: {group: lones}}",
        )
    )
    found = told(faults(tmp_path, policies__arbitration=arbitration))
    assert [(code, line) for code, line, _ in found] == [("W130", 1), ("W130", 3), ("W122", 4), ("W130", 5)]


def test_labelled_data_serves_no_forbidden_purpose_through_a_shared_condition(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        sources__people="""
            kind: record
            read: {files: people.csv}
            identities: {crm: id}
            effective: 2026-01-01
            fields: {health: {type: text, labels: [sensitive]}}
            """,
        policies__data_use="forbid: {sensitive: [marketing]}",
        policies__engagement="issues: {sales: {suitability: [{name: healthy, when: health = 'good'}]}}",
    )
    assert [(one.code, one.place.file) for one in found] == [("W167", "actions/loan/action.yaml")]
