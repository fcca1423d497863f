"""Scenarios on a small bank on disk: where definitions come from, what they change, what is written."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from tests.bank import NOW, Bank

from tilltal.core.errors import DataError, TilltalError, WorkspaceError
from tilltal.insight.simulation.data import Findings, Simulation
from tilltal.runtime.answers.simulation.planning import Plan, plan
from tilltal.runtime.answers.simulation.rebuilt import profiles_under
from tilltal.runtime.answers.simulation.scenarios import scenarios_of
from tilltal.runtime.answers.simulation.simulate import Request, simulate
from tilltal.runtime.answers.snapshot import open_snapshot
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.run import refresh

AS_OF = datetime(2026, 5, 1, 12, tzinfo=UTC)
PEOPLE = """
    kind: record
    read: {files: data/people.csv}
    identities: {crm: customer}
    at: since
    fields: {age: integer, home: text}
"""
ROWS = "customer,since,age,home\n" + "".join(
    f"K-{number},2026-01-01,{age},{home}\n"
    for number, (age, home) in enumerate(
        [(20, "a"), (30, "a"), (40, "b"), (50, "b"), (60, ""), (70, "b"), (16, "a"), (17, "")]
    )
)
CARD = """
    title: A card
    group: cards
    purpose: service
    eligibility: [{name: adult, when: age >= 18}]
    propensity: 0.1
    value: 50
"""
FUND = """
    title: A fund
    group: savings
    purpose: service
    eligibility: [{name: adult, when: age >= 18}]
    applicability: [{name: settled, when: audience.settled}]
    propensity: 0.02
    value: 10 * age
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bank = Bank(tmp_path_factory.mktemp("simulated") / "bank")
    bank.write("sources/people.yaml", PEOPLE)
    bank.write("data/people.csv", ROWS)
    bank.write("policies/consent.yaml", "purposes: {service: {consent: not_required}}\n")
    bank.write("audiences/settled.yaml", "condition: age >= 40\n")
    for name, action in (("card", CARD), ("fund", FUND)):
        bank.write(f"actions/{name}/action.yaml", action)
        bank.write(f"actions/{name}/email.en.yaml", "body: Hello\n")
    bank.ingest()
    refresh(bank.workspace, now=NOW, progress=Silent(), as_of=AS_OF, retrain=False)
    return bank.root


@pytest.fixture
def bank(made: Path, tmp_path: Path) -> Bank:
    """A copy that a test may change."""
    copy = tmp_path / "bank"
    shutil.copytree(made, copy, symlinks=True)
    return Bank(copy)


def variant(bank: Bank, name: str, file: str, old: str, new: str) -> Path:
    """The bank's definitions in a folder of their own, one of them changed."""
    folder = bank.root.parent / name
    shutil.copytree(bank.root, folder, ignore=shutil.ignore_patterns(".tilltal", "data"))
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    return folder


def run(bank: Bank, *scenarios: str, experiments: bool = False, **options: object) -> Simulation:
    found = scenarios_of(bank.workspace, scenarios, with_experiments=experiments)
    request = msgspec.structs.replace(Request(scenarios=found), **options)
    return simulate(request, Silent())


def planned(bank: Bank) -> Plan:
    return plan(bank.workspace, {}, Silent())


def firsts(one: Findings) -> dict[str, int]:
    return {each.action: each.first for each in one.actions}


# By hand: card 5 for the six adults; fund 8, 10, 12, 14 for those of 40, 50, 60, 70.


def test_the_workspace_as_it_is(bank: Bank) -> None:
    made = run(bank, by=("home",))
    (now,) = made.scenarios
    assert (now.name, made.customers, made.known, made.money) == ("now", 8, 8, "SEK")
    assert firsts(now) == {"fund": 4, "card": 2}
    assert (now.totals.reached, now.totals.contacts) == (6, 6)
    assert now.totals.expected == pytest.approx(54)
    assert [(each.factor, each.changed) for each in now.sensitivity] == [
        ("P", 0),
        ("C", 0),
        ("V", 4),
        ("L", 0),
    ]
    assert {(each.group, each.totals.customers, each.totals.reached) for each in now.segments} == {
        ("a", 3, 2),
        ("b", 3, 3),
        ("(missing)", 2, 1),
    }
    assert [(each.winner, each.loser, each.customers) for each in now.beats] == [("fund", "card", 4)]


def test_a_folder_with_another_action_beside_it(bank: Bank) -> None:
    folder = variant(bank, "dear", "actions/card/action.yaml", "value: 50", "value: 110")
    _, dear = run(bank, f"dear={folder}").scenarios
    assert firsts(dear) == {"card": 4, "fund": 2}  # 11 is more than 8 and 10
    assert dear.overall is not None
    assert (dear.overall.changed, dear.overall.gained, dear.overall.lost) == (2, 0, 0)
    assert dear.overall.expected == pytest.approx(2 * 6 + 3 + 1)
    assert {(m.before, m.after): m.customers for m in dear.moves} == {
        ("fund", "card"): 2,
        ("fund", "fund"): 2,
        ("card", "card"): 2,
        ("", ""): 2,
    }


def test_another_audience_makes_the_profiles_anew(bank: Bank) -> None:
    folder = variant(bank, "late", "audiences/settled.yaml", "age >= 40", "age >= 65")
    now, late, then = run(bank, f"late={folder}", f"then={bank.root}").scenarios
    assert firsts(late) == {"card": 5, "fund": 1}
    assert firsts(now) == firsts(then), "the snapshot's own profiles are back"


def test_profiles_made_anew_are_those_of_the_refresh(bank: Bank) -> None:
    bank.write("audiences/elders.yaml", "condition: age > 65\n")
    with open_snapshot(bank.workspace) as snapshot, profiles_under(snapshot, bank.workspace, Silent()):
        engine = snapshot.engine
        columns = ", ".join(f'"{row[0]}"' for row in engine.rows("DESCRIBE present.profiles"))
        assert '"audience.settled"' in columns
        query = f"SELECT {columns} FROM {{}} ORDER BY profile"
        assert engine.rows(query.format("profiles")) == engine.rows(query.format("present.profiles"))
        assert engine.rows('SELECT count(*) FROM profiles WHERE "audience.elders"') == [(1,)]


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=bank", "-c", "user.email=bank@example.com"]
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_commit_and_a_patch_of_the_workspace(bank: Bank) -> None:
    git(bank.root.parent, "init", "--quiet")
    git(bank.root, "add", "tilltal.yaml", "identity.yaml", "sources", "policies", "audiences", "actions")
    git(bank.root, "commit", "--quiet", "-m", "as it was")
    path = bank.root / "actions/card/action.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("value: 50", "value: 110"), encoding="utf-8")
    whole, own = bank.root.parent / "whole.patch", bank.root.parent / "own.diff"
    whole.write_text(git(bank.root, "diff"), encoding="utf-8")
    own.write_text(git(bank.root, "diff", "--relative"), encoding="utf-8")
    git(bank.root, "checkout", "--quiet", "--", "actions")
    patches = run(bank, f"whole={whole}", f"own={own}").scenarios
    assert [firsts(each)["card"] for each in patches] == [2, 4, 4]
    bank.write("actions/card/action.yaml", CARD.replace("value: 50", "value: 110"))
    now, last = run(bank, "last=HEAD").scenarios
    assert (firsts(now)["card"], firsts(last)["card"]) == (4, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dear", "C119 --scenario 'dear' is no NAME=SOURCE"),
        ("now=.", "C119 --scenario 'now=.' is no NAME=SOURCE, or its name is taken"),
        ("a/b=.", "C119 --scenario 'a/b=.' is no NAME=SOURCE"),
        ("dear=--all", "C119 The scenario '--all' cannot be had: it is no folder, no patch, and no commit"),
        ("dear=none.patch", "C119 The scenario 'none.patch' cannot be had: there is no such file"),
    ],
)
def test_scenarios_that_cannot_be_had(bank: Bank, text: str, message: str) -> None:
    with pytest.raises(TilltalError, match="C119") as caught:
        run(bank, text)
    assert str(caught.value).startswith(message)


def test_a_patch_that_does_not_fit_says_so(bank: Bank) -> None:
    patch = bank.root.parent / "odd.patch"
    patch.write_text(
        "--- a/tilltal.yaml\n+++ b/tilltal.yaml\n@@ -1 +1 @@\n-nothing: 1\n+nothing: 2\n", encoding="utf-8"
    )
    with pytest.raises(TilltalError, match=r"C119 .*odd.patch' cannot be had: it does not fit the workspace"):
        run(bank, f"odd={patch}")


def test_faults_of_a_scenario_name_it(bank: Bank) -> None:
    folder = variant(bank, "bad", "actions/card/action.yaml", "age >= 18", "agee >= 18")
    with pytest.raises(WorkspaceError, match=r"^bad: actions/card/action.yaml:\d+:\d+ D203"):
        run(bank, f"bad={folder}")


def test_other_customers_are_no_scenario(bank: Bank) -> None:
    folder = variant(bank, "zone", "tilltal.yaml", "Europe/Stockholm", "Europe/Oslo")
    with pytest.raises(TilltalError, match="C121 The scenario 'zone' has another time_zone"):
        run(bank, f"zone={folder}")


def test_experiments_stand_beside_and_can_be_repeated(bank: Bank) -> None:
    names = [each.name for each in run(bank, experiments=True).scenarios]
    assert names[0] == "now"
    assert len(names) == 6
    first, second = (run(bank, experiments=True, seed=3).scenarios for _ in range(2))
    assert [each.totals for each in first] == [each.totals for each in second]
    by_name = {each.name: each for each in first}
    assert firsts(by_name["propensity_only"]) == {"card": 6, "fund": 0}
    assert firsts(by_name["eligibility_only"]) == {"fund": 5, "card": 1}  # 6 for who is 30
    assert by_name["eligibility_only"].totals.expected == pytest.approx(54 + 1)


def test_a_sample_is_seeded_and_the_same_for_all_scenarios(bank: Bank, tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        made = run(bank, f"then={bank.root}", sample=5, seed=2, target=tmp_path / name)
        assert (made.customers, made.known) == (5, 8)
        files.append(pq.read_table(tmp_path / name / "customers.parquet").to_pylist())
    assert files[0] == files[1]
    now, then = ([row for row in files[0] if row["scenario"] == name] for name in ("now", "then"))
    assert [row["profile"] for row in now] == [row["profile"] for row in then]


def test_who_has_nothing_is_described_so_that_it_can_be_an_audience(bank: Bank) -> None:
    finder = run(bank).scenarios[0].value_finder
    assert (finder.without, finder.customers) == (2, 8)
    (niche,) = finder.niches
    assert (niche.condition, niche.customers, niche.under_served) == ("age <= 18", 2, 2)
    bank.write("audiences/forgotten.yaml", f"condition: {niche.condition}\n")
    found = {each.audience: each for each in planned(bank).audiences}
    assert (found["forgotten"].before, found["forgotten"].after) == (None, 2)


def test_an_improbable_action_is_under_served_too(bank: Bank) -> None:
    finder = run(bank, threshold=0.2).scenarios[0].value_finder
    assert (finder.without, finder.improbable) == (2, 6)


def test_fairness_by_groups_and_numbers(bank: Bank) -> None:
    now = run(bank, fair=("home", "age")).scenarios[0]
    any_action = {each.group: (each.chosen, each.customers) for each in now.ratios if not each.action}
    assert any_action == {"a": (2, 3), "b": (3, 3), "(missing)": (1, 2)}
    fund = next(each for each in now.leans if each.action == "fund")
    assert fund.gini == pytest.approx(0.5)  # the four oldest of eight


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": ("hom",)}, "C120 --by 'hom' is no name of the profile. Valid: home"),
        ({"by": ("age",)}, "C120 --by 'age' is no trait that makes groups."),
        ({"fair": ("agee",)}, "C120 --fair 'agee' is no name of the profile. Valid: age"),
    ],
)
def test_traits_that_make_no_groups_are_refused(bank: Bank, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TilltalError, match="C120") as caught:
        run(bank, **options)
    assert str(caught.value).startswith(message)


def test_an_action_of_a_model_that_was_never_learned_is_refused(bank: Bank) -> None:
    model = "outcome: {events: [payment]}\nhorizon: 30 days\nfeatures: [age]\n"
    payments = "kind: event\nread: {files: data/payments*.csv}\nidentities: {crm: customer}\nat: time\n"
    bank.write("sources/payments.yaml", payments + "event: payment\nfields: {shop: text}\n")
    bank.write("models/buys.yaml", model)
    assert planned(bank).after.reached == 6  # nobody asks for its score
    bank.write("actions/card/action.yaml", CARD.replace("propensity: 0.1", "propensity: buys"))
    with pytest.raises(DataError, match=r"E514 The actions need score.buys"):
        planned(bank)


def test_a_plan_after_a_refresh_changes_nothing(bank: Bank) -> None:
    made = planned(bank)
    assert made.is_same
    assert not made.is_rebuilt
    assert made.before == made.after
    assert all(each.gained == each.lost == 0 for each in made.actions)


def test_what_is_planned_is_what_the_next_refresh_does(bank: Bank) -> None:
    bank.write("audiences/settled.yaml", "condition: age >= 55\n")
    bank.write("actions/card/action.yaml", CARD.replace("value: 50", "value: 130"))
    made = planned(bank)
    assert not made.is_same
    assert made.is_rebuilt
    (settled,) = made.audiences
    assert (settled.before, settled.after, settled.entered, settled.left) == (4, 2, 0, 2)
    changed = {each.action: (each.before, each.after, each.gained, each.lost) for each in made.actions}
    assert changed == {"card": (2, 5, 3, 0), "fund": (4, 1, 0, 3)}
    refresh(bank.workspace, now=NOW, progress=Silent(), as_of=AS_OF, retrain=False)
    after = planned(bank)
    assert after.is_same
    assert after.before == made.after


def test_only_actions_changed_need_no_new_profiles(bank: Bank) -> None:
    bank.write("actions/card/action.yaml", CARD.replace("value: 50", "value: 130"))
    made = planned(bank)
    assert not made.is_same
    assert not made.is_rebuilt


def test_the_files(bank: Bank, tmp_path: Path) -> None:
    folder = variant(bank, "dear", "actions/card/action.yaml", "value: 50", "value: 110")
    made = run(bank, f"dear={folder}", experiments=True, fair=("home", "age"), target=tmp_path / "out")
    assert [Path(file).name for file in made.files] == [
        "simulation.html",
        "simulation.json",
        "customers.parquet",
    ]
    rows = pq.read_table(tmp_path / "out/customers.parquet").to_pylist()
    assert len(rows) == 8 * len(made.scenarios)
    shown = [row for row in rows if row["scenario"] == "dear" and row["action"] == "card"]
    assert len(shown) == 4
    assert {(row["channel"], row["contacts"]) for row in shown} == {("email", 1)}
    assert all(row["profile"].startswith("p") and row["expected"] == pytest.approx(11) for row in shown)
    told = msgspec.json.decode((tmp_path / "out/simulation.json").read_bytes(), type=Simulation)
    assert msgspec.structs.replace(told, files=made.files) == made
    page = (tmp_path / "out/simulation.html").read_text(encoding="utf-8")
    for text in ("dear: who gains, who loses", "A card", "age &lt;= 18", "<svg", "Fairness"):
        assert text in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
