"""`tilltal test`: cases that hold, cases that differ, and cases that speak of what does not exist."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from tests.bank import Bank

from tilltal.core.errors import TilltalError
from tilltal.runtime.cases.testing import CaseReport, run_cases
from tilltal.workspace.init import init
from tilltal.workspace.load import load

ROOT = Path(__file__).resolve().parents[2]

FILES = {
    "sources/register.yaml": """
        kind: record
        read: {files: data/register*.csv}
        identities: {crm: customer}
        at: updated
        fields: {birth_year: integer, born: date, town: text, vip: boolean, balance: money, answer: any}
        """,
    "sources/payments.yaml": """
        kind: event
        read: {files: data/payments*.csv}
        identities: {crm: customer}
        at: time
        event: payment
        fields: {amount: money, weight: number, due: timestamp, pieces: integer}
        """,
    "sources/products.yaml": """
        kind: holding
        read: {files: data/products*.csv}
        identities: {crm: customer}
        product: {column: product, values: [account, card]}
        opened: opened
        closed: closed
        """,
    "traits/spend.yaml": "{measure: sum, of: amount, from: [payment], window: 7 days}",
    "traits/weight.yaml": "{measure: max, of: weight, from: [payment]}",
    "audiences/spenders.yaml": "condition: spend > 100",
    "audiences/here.yaml": "condition: is_known",
    "models/buys.yaml": "{outcome: {holding: card}, horizon: 30 days, features: [spend]}",
    "policies/contact.yaml": "caps: []",
    "actions/card/action.yaml": """
        title: A card
        group: cards
        eligibility:
          - {name: no_card, when: NOT holding.card}
        propensity: buys
        value: 100
        """,
    "actions/card/email.en.yaml": "body: A card",
    "actions/talk/action.yaml": "{title: A talk, group: service, propensity: 0.1, value: 200}",
    "actions/talk/email.en.yaml": "body: A talk",
}


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    made = Bank(tmp_path)
    made.write(
        "tilltal.yaml", "{name: b, time_zone: Europe/Stockholm, currency: SEK, channels: [email, push]}"
    )
    for file, content in FILES.items():
        made.write(file, content)
    return made


def report_of(bank: Bank, customer: str, expect: str, as_of: str = "2026-05-04T12:00") -> CaseReport:
    """Run one case, whose customer and expectation are flow mappings."""
    bank.write(
        "cases/one.yaml",
        f"cases:\n  - title: it\n    as_of: '{as_of}'\n    customer: {customer}\n    expect: {expect}\n",
    )
    return run_cases(bank.workspace, None)


def differences(bank: Bank, customer: str, expect: str, as_of: str = "2026-05-04T12:00") -> tuple[str, ...]:
    (case,) = report_of(bank, customer, expect, as_of).cases
    return case.differences


CONSENT = "consents: [{purpose: marketing, granted: true, at: '2026-01-01'}]"
PAID = "{type: payment, at: '2026-05-04T11:00', fields: {amount: 150.25}}"


def test_everything_a_case_can_tell_reaches_the_profile(bank: Bank) -> None:
    register = "{birth_year: 1980, born: '1980-02-29', town: Umeå, vip: true, balance: 12.50, answer: x}"
    event = "{type: payment, at: '2026-05-01T08:00', fields: {amount: 1, weight: 2, due: '2026-05-01'}}"
    customer = (
        f"{{records: {{register: {register}}}, events: [{event}, {PAID}], {CONSENT}, scores: {{buys: 0.25}}, "
        "holdings: [{product: account, opened: '2020-01-01'}, "
        "{product: card, opened: '2020-01-01', closed: '2021-01-01'}]}"
    )
    expect = (
        "{profile: {birth_year: 1980, born: '1980-02-29', town: Umeå, vip: true, balance: 12.5, answer: x, "
        "spend: 151.25, weight: 2, holdings: 1, holding.account: true, holding.card: false, score.buys: 0.25,"
        " consent.marketing.email: true, consent.marketing.push: true, is_known: true}, "
        "audiences: [here, spenders], within: [spenders], decision: card, actions: [card], "
        "reasons: {talk: 'outranked:card'}}"
    )
    assert differences(bank, customer, expect) == ()


def test_differences_are_lines_that_can_be_read(bank: Bank) -> None:
    expect = (
        "{profile: {spend: 150, town: Umeå, spendd: 1, vip: false}, audiences: [here], within: [spenders], "
        "decision: card, actions: [card, talk], reasons: {card: 'eligibility:no_card', talk: not_positive}}"
    )
    customer = f"{{events: [{PAID}], {CONSENT}, scores: {{buys: 0.1}}}}"
    assert differences(bank, customer, expect) == (
        "spend: expected 150, got 150.25",
        "town: expected Umeå, got null",
        "spendd: the profile has no such name; nearest: spend",
        "vip: expected False, got null",
        "audiences: expected here, got here, spenders",
        "decision: expected card, got talk",
        "actions: expected card, talk, got talk",
        "card: expected eligibility:no_card, got outranked:talk",
        "talk: expected not_positive, got shown",
    )


def test_a_report_counts_the_cases_that_differ(bank: Bank) -> None:
    bank.write(
        "cases/two.yaml",
        """
        cases:
          - {title: holds, as_of: 2026-05-04T12:00, expect: {decision: none}}
          - {title: differs, as_of: 2026-05-04T12:00, expect: {decision: talk}}
        """,
    )
    report = run_cases(bank.workspace, None)
    assert report.failed == 1
    assert [(case.file, case.title, bool(case.differences)) for case in report.cases] == [
        ("two.yaml", "holds", False),
        ("two.yaml", "differs", True),
    ]


def test_nothing_is_seen_that_happens_after_the_instant(bank: Bank) -> None:
    assert differences(bank, f"{{events: [{PAID}]}}", "{profile: {spend: null}}", "2026-05-04T10:59:59") == ()
    assert differences(bank, f"{{events: [{PAID}]}}", "{profile: {spend: 150.25}}", "2026-05-04T11:00") == ()


def test_times_without_an_offset_are_local(bank: Bank) -> None:
    events = (
        "{events: [{type: payment, at: '2026-05-03T22:30:00Z', fields: {amount: 7}}]}"  # 00:30 on the 4th
    )
    assert differences(bank, events, "{profile: {spend: 7}}", "2026-05-10T23:59") == ()
    assert differences(bank, events, "{profile: {spend: null}}", "2026-05-11T00:00") == ()


def test_an_answer_is_a_consent_until_it_is_taken_back(bank: Bank) -> None:
    taken = "{purpose: marketing, channel: email, granted: false, at: '2026-02-01'}"
    back = CONSENT.replace("]", f", {taken}]")
    reason = "contact_policy:no_consent:marketing/email"
    assert differences(bank, "{}", f"{{decision: none, reasons: {{talk: '{reason}'}}}}") == ()
    assert differences(bank, f"{{{CONSENT}}}", "{decision: card}") == ()
    assert differences(bank, f"{{{back}}}", f"{{decision: none, reasons: {{talk: '{reason}'}}}}") == ()


@pytest.mark.parametrize(
    ("customer", "expect", "message"),
    [
        (
            "{events: [{type: paymnt, at: '2026-05-01'}]}",
            "{}",
            r"There is no event type 'paymnt'\. Valid: payment",
        ),
        ("{events: [{type: payment, at: soon}]}", "{}", r"'soon' is no instant\. Write one such as"),
        (
            "{events: [{type: payment, at: '2026-05-01', fields: {amunt: 1}}]}",
            "{}",
            r"no field 'amunt'\. Valid: amount",
        ),
        ("{events: [{type: payment, at: '2026-05-01', fields: {amount: much}}]}", "{}", "'much' is no money"),
        ("{events: [{type: payment, at: '2026-05-01', fields: {amount: true}}]}", "{}", "True is no money"),
        ("{events: [{type: payment, at: '2026-05-01', fields: {pieces: 1.5}}]}", "{}", r"1\.5 is no integer"),
        (
            "{events: [{type: payment, at: '2026-05-01', fields: {due: later}}]}",
            "{}",
            "'later' is no timestamp",
        ),
        ("{records: {register: {vip: 1}}}", "{}", "1 is no boolean"),
        ("{records: {register: {born: '1981-02-29'}}}", "{}", "'1981-02-29' is no date"),
        ("{records: {register: {town: true}}}", "{}", "True is no text"),
        ("{records: {registr: {}}}", "{}", r"no record source 'registr'\. Valid: register"),
        (
            "{holdings: [{product: acount, opened: '2020-01-01'}]}",
            "{}",
            r"no product 'acount'\. Valid: account, card",
        ),
        ("{holdings: [{product: card, opened: '2020-01-01T10:00'}]}", "{}", "'2020-01-01T10:00' is no date"),
        ("{consents: [{purpose: marketin, granted: true, at: '2026-01-01'}]}", "{}", "no purpose 'marketin'"),
        (
            "{consents: [{purpose: marketing, channel: mail, granted: true, at: '2026-01-01'}]}",
            "{}",
            "no channel 'mail'",
        ),
        ("{scores: {buy: 0.5}}", "{}", r"no model 'buy'\. Valid: buys"),
        ("{}", "{within: [spender]}", r"no audience 'spender'\. Valid: spenders"),
        ("{}", "{audiences: [her]}", "no audience 'her'"),
        ("{}", "{decision: crd}", r"no action 'crd'\. Valid: card"),
        ("{}", "{reasons: {tlk: not_positive}}", "no action 'tlk'"),
    ],
)
def test_a_case_about_what_does_not_exist_is_an_error(
    bank: Bank, customer: str, expect: str, message: str
) -> None:
    with pytest.raises(TilltalError, match=rf"one\.yaml E512 it: .*{message}"):
        report_of(bank, customer, expect)


def test_faults_of_a_case_file_are_told_like_those_of_definitions(bank: Bank) -> None:
    bank.write("cases/one.yaml", "cases:\n  - title: it\n    as_of: 2026-05-04\n    expects: {}\n")
    with pytest.raises(TilltalError, match=r"one\.yaml:4:5 W110 .*Valid: .*expect"):
        run_cases(bank.workspace, None)
    bank.write("cases/one.yaml", b"cases: \xff")
    with pytest.raises(TilltalError, match=r"one\.yaml W104"):
        run_cases(bank.workspace, None)


def test_no_cases_at_all_is_told(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(TilltalError, match=r"E511 There are no cases to run\. Write some: .*cases"):
        run_cases(bank.workspace, None)
    with pytest.raises(TilltalError, match=r"missing\.yaml E511"):
        run_cases(bank.workspace, [tmp_path / "missing.yaml"])


def test_personas_are_unknown_before_the_first_snapshot(bank: Bank) -> None:
    bank.write(
        "personas.yaml", "{financial: {spend: {value: spend, missing: 0}}, clusters: 2, names: [low, high]}"
    )
    expect = "{profile: {persona.name: null, persona.low: null}, decision: talk}"
    assert differences(bank, f"{{events: [{PAID}], {CONSENT}, scores: {{buys: 0.1}}}}", expect) == ()


def test_the_moment_counts(bank: Bank) -> None:
    bank.write(
        "policies/arbitration.yaml",
        "context_rules: [{key: page, value: cards, weight: 900, applies_to: {group: cards}}]",
    )
    bank.write(
        "cases/one.yaml",
        """
        cases:
          - title: it
            as_of: 2026-05-04T12:00
            customer: {consents: [{purpose: marketing, granted: true, at: '2026-01-01'}], scores: {buys: 0.1}}
            context: {page: cards}
            expect: {decision: card}
        """,
    )
    assert run_cases(bank.workspace, None).failed == 0


def test_the_cases_of_the_example_and_of_the_how_to_hold(tmp_path: Path) -> None:
    init(tmp_path / "bank", "bank")
    text = (ROOT / "docs/how-to/test-definitions.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    (tmp_path / "bank/cases/how_to.yaml").write_text(textwrap.dedent(example), encoding="utf-8")
    report = run_cases(load(tmp_path / "bank"), None)
    assert len(report.cases) == 4
    assert [case.differences for case in report.cases] == [()] * 4
