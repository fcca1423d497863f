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
        ("resources: {hours: {}}", "1:20 W111"),
    ],
)
def test_faults_of_the_limits_are_found_where_they_are_written(bank: Bank, text: str, message: str) -> None:
    found = [str(fault) for fault in faults(bank, text)]
    assert len(found) == 1
    assert found[0].startswith(f"policies/allocation.yaml:{message}")


def test_limits_that_make_sense_have_no_fault(bank: Bank) -> None:
    assert faults(bank, LIMITS) == []
