"""An outbound run from a snapshot: candidates, the limits of the workspace, the files, and what is said."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.bank import NOW, Bank

from tilltal.core.errors import DataError, Fault, TilltalError
from tilltal.runtime.answers.allocate import Allocated, allocate_outbound
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.run import refresh
from tilltal.workspace.check import check_folder

PEOPLE = """
    kind: record
    read: {files: data/people.csv}
    identities: {crm: customer}
    at: since
    fields: {income: number, home: text}
"""
CALL = """
    title: A call
    group: advice
    purpose: service
    propensity: 0.5
    value: income * 2
"""
LOGINS = """
    kind: event
    read: {files: data/logins.csv}
    identities: {crm: customer}
    at: time
    event: login
    fields: {}
"""
LETTER = """
    title: A letter
    group: advice
    purpose: service
    propensity: 0.5
    value: income
"""
LIMITS = """
    resources:
      call_hours:
        limit: 1
        unit: hour
        uses: [{applies_to: {channel: call}, amount: 0.5}]
      letters:
        limit: 100
        uses: [{applies_to: {action: letter}}]
    households: {by: home}
    minimums: {letter: 3}
"""
ROWS = """\
customer,since,income,home
K-1,2026-01-01,10,a
K-2,2026-01-01,20,a
K-3,2026-01-01,30,b
K-4,2026-01-01,5,
K-5,2026-01-01,40,
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bank = Bank(tmp_path_factory.mktemp("outbound") / "bank")
    bank.write("sources/people.yaml", PEOPLE)
    bank.write("data/people.csv", ROWS)
    bank.write("policies/consent.yaml", "purposes: {service: {consent: not_required}}\n")
    for name, action in (("call", CALL), ("letter", LETTER)):
        bank.write(f"actions/{name}/action.yaml", action)
        bank.write(f"actions/{name}/{name}.en.yaml", "body: Hello\n")
    bank.ingest()
    as_of = datetime(2026, 5, 1, 12, tzinfo=UTC)
    refresh(bank.workspace, now=NOW, progress=Silent(), as_of=as_of, retrain=False)
    return bank.root


@pytest.fixture
def bank(made: Path, tmp_path: Path) -> Bank:
    """A copy that a test may change."""
    copy = tmp_path / "bank"
    shutil.copytree(made, copy, symlinks=True)
    return Bank(copy)


def outbound(bank: Bank, target: Path | None = None, picture: Path | None = None) -> Allocated:
    return allocate_outbound(bank.workspace, {}, target=target, picture=picture, progress=Silent())


def test_without_limits_everybody_gets_the_action_of_most_worth(bank: Bank) -> None:
    run = outbound(bank)
    assert [(share.action, share.channel, share.customers) for share in run.shares] == [("call", "call", 5)]
    assert (run.value, run.bound, run.gap) == (105, 105, 0)
    assert not run.usage
    assert not run.minimums


def test_limits_of_the_workspace_hold_and_are_told_in_words(bank: Bank, tmp_path: Path) -> None:
    bank.write("policies/allocation.yaml", LIMITS)
    target, picture = tmp_path / "run.parquet", tmp_path / "worth.png"
    run = outbound(bank, target, picture)
    # one hour is two calls; of home `a` the better customer; three letters leave one call
    assert [(share.action, share.customers, share.value) for share in run.shares] == [
        ("letter", 3, 27.5),
        ("call", 1, 40),
    ]
    assert (run.customers, run.contacts, run.money) == (5, 4, "SEK")
    rows = pq.read_table(target).to_pylist()
    assert sorted((row["action"], row["value"]) for row in rows) == [
        ("call", 40),
        ("letter", 2.5),
        ("letter", 10),
        ("letter", 15),
    ]
    assert {row["channel"] for row in rows} == {"call", "letter"}
    assert all(row["profile"].startswith("p") and not row["mandatory"] for row in rows)
    hours, letters = run.usage
    assert (hours.used, letters.used) == (0.5, 3)
    assert hours.words == "More of call_hours is worth nothing: 0.5 of 1 (hour) are left over."
    assert run.minimums[0].reached == 3
    assert run.minimums[0].words.startswith("The last of at least 3 contacts for letter costs ")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_scarce_resource_has_a_price_and_a_vain_minimum_a_reason(bank: Bank) -> None:
    bank.write("policies/allocation.yaml", LIMITS.replace("letter: 3", "call: 3"))
    run = outbound(bank)
    assert run.usage[0].words.startswith("One more hour of call_hours is worth ")
    assert run.minimums[0].words == (
        "At least 3 contacts for call cannot be met; 2 are. call_hours is enough for 2 contacts at most."
    )


def test_a_budget_of_money_is_spent_by_what_contacts_cost(bank: Bank) -> None:
    bank.write("policies/arbitration.yaml", "costs: {letter: 1, call: 9}\n")
    bank.write("actions/call/action.yaml", CALL + "    cost: 4\n")
    bank.write("policies/allocation.yaml", "resources: {budget: {limit: 10, uses: [{amount: cost}]}}\n")
    run = outbound(bank)
    # per krona: letters to all but the poorest, then calls in their place to the two richest
    assert {share.action: share.customers for share in run.shares} == {"call": 2, "letter": 2}
    assert run.value == (40 - 4) + (30 - 4) + (10 - 1) + (5 - 1)
    (budget,) = run.usage
    assert (budget.unit, budget.limit, budget.used) == ("SEK", 10, 10)
    bank.write("policies/allocation.yaml", "resources: {budget: {limit: 12, uses: [{amount: cost}]}}\n")
    # next is a call for a letter to the third: 20 - 4, not 10 - 1, for 3 kronor more, of which 2 are left
    words = outbound(bank).usage[0].words
    assert words == "One more SEK of budget brings 2.33 SEK beyond what it costs."


def test_an_action_goes_by_whichever_allowed_channel_there_is_room_in(bank: Bank) -> None:
    shutil.rmtree(bank.root / "actions/call")
    bank.write("actions/letter/call.en.yaml", "body: Hello\n")
    bank.write("policies/arbitration.yaml", "costs: {letter: 1, call: 4}\n")
    limits = "resources: {letters: {limit: 2, uses: [{applies_to: {channel: letter}}]}}\n"
    bank.write("policies/allocation.yaml", limits)
    run = outbound(bank)
    # worth 5, 10, 15, 2.50 and 20: a letter saves 3 of a call's 4 kronor, and nobody is called for 2.50
    assert [(share.channel, share.customers) for share in run.shares] == [("call", 2), ("letter", 2)]
    assert run.value == 5 + 10 + 15 + 20 - 2 * 4 - 2 * 1
    assert run.gap < 1e-6
    assert run.usage[0].price == pytest.approx(3)
    (bank.root / "policies/allocation.yaml").unlink()
    assert {share.channel: share.customers for share in outbound(bank).shares} == {"letter": 5}


def test_what_contexts_and_levers_weigh_is_points_and_what_to_expect_is_money(bank: Bank) -> None:
    costs, letters = "costs: {letter: 1, call: 1}\n", "resources: {letters: {limit: 2}}\n"
    bank.write("policies/allocation.yaml", letters)
    bank.write("policies/arbitration.yaml", costs)
    plain = outbound(bank)
    assert (plain.money, plain.value, plain.expected) == ("SEK", 70 - 2, 70 - 2)
    bank.write("policies/arbitration.yaml", costs + "levers: {action: {letter: 900}}\n")
    pulled = outbound(bank)
    assert [(share.action, share.value, share.expected) for share in pulled.shares] == [
        ("letter", (15 + 20) * 10 - 2, 15 + 20 - 2)
    ]
    assert (pulled.money, pulled.value, pulled.expected) == ("points", 348, 33)
    assert pulled.usage[0].words.endswith("points.")
    bank.write("policies/arbitration.yaml", "factors: {V: false}\n")
    assert (outbound(bank).money, outbound(bank).expected) == ("points", None)


def test_files_of_another_kind_are_refused_before_any_work(bank: Bank, tmp_path: Path) -> None:
    for target, picture in ((tmp_path / "run.xlsx", None), (None, tmp_path / "worth.pdf")):
        with pytest.raises(TilltalError, match="C103"):
            outbound(bank, target, picture)


def test_households_the_snapshot_does_not_know_are_refused(bank: Bank) -> None:
    bank.write("sources/people.yaml", PEOPLE.replace("home: text", "home: text, region: text"))
    bank.write("policies/allocation.yaml", "households: {by: region}\n")
    with pytest.raises(DataError, match="E514 Households are told by region"):
        outbound(bank)


def faults(bank: Bank, text: str) -> list[Fault]:
    bank.write("policies/allocation.yaml", text)
    return list(check_folder(bank.root))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("minimums: {leter: 3}", "1:19 W130 There is no action 'leter'. Valid: letter, call."),
        ("households: {by: hme}", "1:18 W130 There is no name 'hme'. Valid: home"),
        (
            "resources: {hours: {limit: 1, uses: [{applies_to: {channel: cal}}]}}",
            "1:61 W130 There is no channel 'cal'. Valid: call",
        ),
        ("resources: {hours: {limit: -1}}", "1:28 W114"),
        (
            "resources: {budget: {limit: 5, uses: [{amount: cost}]}}",
            "1:38 W121 The resource 'budget' counts costs, and nothing costs anything.",
        ),
        ("resources: {hours: {}}", "1:20 W111"),
    ],
)
def test_faults_of_the_limits_are_found_where_they_are_written(bank: Bank, text: str, message: str) -> None:
    found = [str(fault) for fault in faults(bank, text)]
    assert len(found) == 1
    assert found[0].startswith(f"policies/allocation.yaml:{message}")


def test_limits_that_make_sense_have_no_fault(bank: Bank) -> None:
    assert faults(bank, LIMITS) == []


def test_the_capacity_of_an_action_limits_a_run_and_has_a_price(bank: Bank, tmp_path: Path) -> None:
    bank.write("actions/call/action.yaml", CALL + "    capacity: {limit: 2, per: day}\n")
    run = outbound(bank, tmp_path / "run.parquet")
    assert {share.action: share.customers for share in run.shares} == {"call": 2, "letter": 3}
    (usage,) = run.usage
    assert (usage.resource, usage.limit, usage.used) == ("capacity of call", 2, 2)
    assert usage.words.startswith("One more contact of capacity of call is worth ")
    rows = pq.read_table(tmp_path / "run.parquet").to_pylist()
    assert {(row["send_at"], row["send_reason"]) for row in rows} == {(None, None)}


def test_a_run_says_when_each_message_is_sent(bank: Bank, tmp_path: Path) -> None:
    bank.write("sources/logins.yaml", LOGINS)
    bank.write("data/logins.csv", "customer,time\nK-1,2026-04-30T17:30:00Z\nK-5,2026-04-29T05:10:00Z\n")
    bank.write("policies/sending.yaml", "channels: [letter]\nevents: [login]\n")
    bank.write("actions/call/action.yaml", CALL + "    capacity: {limit: 0}\n")
    bank.ingest("logins")
    refresh(bank.workspace, now=NOW, progress=Silent(), as_of=datetime(2026, 5, 1, 12, tzinfo=UTC))
    outbound(bank, tmp_path / "run.parquet")
    rows = sorted(pq.read_table(tmp_path / "run.parquet").to_pylist(), key=lambda row: -row["value"])
    best, poorest = rows[0], next(row for row in rows if row["value"] == 5)
    assert (best["send_at"], best["send_reason"]) == (datetime(2026, 5, 2, 5), "own_rhythm")
    assert (poorest["send_at"], poorest["send_reason"]) == (datetime(2026, 5, 1, 17), "own_rhythm")
    assert {row["send_reason"] for row in rows} == {"own_rhythm", "population_rhythm"}
