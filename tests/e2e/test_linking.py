"""`tilltal link` on a bank of two registers without a common key: run, review, undo; who is who then."""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.bank import NOW, Bank
from tests.commands import Commands
from tests.link_people import LINKING, Person, people

from tilltal.core.errors import DataError
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock
from tilltal.runtime.linking import review
from tilltal.runtime.linking.queue import Case, cases
from tilltal.runtime.linking.run import LinkReport, link
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.identities import resolve_identities
from tilltal.runtime.refresh.views import open_history
from tilltal.runtime.storage.store import Store
from tilltal.workspace.load import load

pytestmark = pytest.mark.slow

IDENTITY = """
namespaces:
  - {name: crm, unique: true}
  - {name: account, unique: true}
linking:
  compare:
    given_name: name
    family_name: name
    birth_date: date
    street: name
    postcode: postcode
    phone: number
    email: email
  blocking:
    - [birth_date, 'family_name:1']
    - [birth_date, 'given_name:1']
    - [phone]
    - [email]
    - [family_name, postcode]
    - [given_name, street]
"""
FIELDS = ("given_name", "family_name", "birth_date", "street", "phone", "email")
SOURCE = """
kind: record
read: {files: data/%s.csv}
identities: {%s: number}
effective: '2026-01-01T00:00:00Z'
fields:
  postcode: text
"""


def source(name: str, key: str) -> str:
    secret = "".join(f"  {field}: {{type: text, labels: [identity]}}\n" for field in FIELDS)
    return SOURCE % (name, key) + secret


def table(rows: Sequence[tuple[str, Person]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["number", *FIELDS, "postcode"])
    for number, person in rows:
        writer.writerow([number, *(person.told.get(field, "") for field in (*FIELDS, "postcode"))])
    return out.getvalue()


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LinkReport, dict[int, int]]:
    """A bank after one run; its report; whose each token truly is."""
    bank = Bank(tmp_path_factory.mktemp("linking"))
    bank.write("identity.yaml", IDENTITY)
    made = people(1_500, seed=3)
    sides: dict[str, list[tuple[str, Person]]] = {"crm": [], "account": []}
    for number, person in enumerate(made):
        key = ("crm", "account")[number % 2]
        sides[key].append((f"{key}-{number}", person))
    for name, key in (("customers", "crm"), ("broker", "account")):
        bank.write(f"sources/{name}.yaml", source(name, key))
        bank.write(f"data/{name}.csv", table(sides[key]))
    bank.ingest()
    report = link(bank.workspace, now=NOW, progress=Silent())
    with bank.vault() as vault:
        pseudonyms = vault.pseudonymiser
        truth = {
            pseudonyms.token(key, number): person.truth
            for key, rows in sides.items()
            for number, person in rows
        }
    return bank.root, report, truth


@pytest.fixture
def bank(linked: tuple[Path, LinkReport, dict[int, int]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(linked[0], tmp_path / "bank", symlinks=True))


def profiles(root: Path) -> dict[int, int]:
    """Token → profile, as a refresh resolves."""
    workspace = load(root)
    with DuckDBEngine() as engine:
        open_history(engine, workspace, Store(root / ".tilltal"))
        resolve_identities(engine, workspace, Clock(now=NOW, zone=workspace.zone), "history")
        return dict(engine.rows("SELECT identity, profile FROM history.people"))


def of(root: Path, state: str) -> list[Case]:
    return [one for one in cases(Store(root / ".tilltal")) if one.state == state]


def test_sure_pairs_are_linked_and_are_truly_one(linked: tuple[Path, LinkReport, dict[int, int]]) -> None:
    root, report, truth = linked
    assert report.records == 1_500
    assert report.trained
    found = of(root, "linked")
    assert len(found) == report.linked > 150
    wrong = [one for one in found if truth[one.a] != truth[one.b]]
    assert len(wrong) <= 1
    resolved = profiles(root)
    assert all(resolved[one.a] == resolved[one.b] for one in found)


def test_two_numbers_of_one_register_are_never_linked(
    linked: tuple[Path, LinkReport, dict[int, int]],
) -> None:
    root = linked[0]
    twins = [one for one in of(root, "refused") if one.namespace_a == one.namespace_b]
    assert twins, "the made-up people hold duplicates within one register"
    assert {one.objection for one in twins} <= {"unique_namespace:crm", "unique_namespace:account"}
    with pytest.raises(DataError, match="P377"):
        review.accept(load(root), [twins[0].id], now=NOW)


def test_a_second_run_finds_the_same_and_links_nothing_twice(bank: Path) -> None:
    before = {one.id: one.state for one in cases(Store(bank / ".tilltal"))}
    weights = (bank / ".tilltal/links/weights.json").read_bytes()
    report = link(load(bank), now=NOW, progress=Silent())
    assert (report.linked, report.trained) == (0, False)
    assert (bank / ".tilltal/links/weights.json").read_bytes() == weights
    after = {one.id: one.state for one in cases(Store(bank / ".tilltal"))}
    assert {one for one, state in after.items() if state == "linked"} == {
        one for one, state in before.items() if state == "linked"
    }


def without_twins(root: Path, truth: dict[int, int]) -> Case:
    """A linked pair of a person without further records, so that no other link takes its place."""
    counts = Counter(truth.values())
    return next(one for one in of(root, "linked") if counts[truth[one.a]] == 2)


def test_an_undone_link_parts_the_people_and_waits_for_a_person(
    bank: Path, linked: tuple[Path, LinkReport, dict[int, int]]
) -> None:
    pair = without_twins(bank, linked[2])
    review.undo(load(bank), [pair.id], now=NOW)
    resolved = profiles(bank)
    assert resolved[pair.a] != resolved[pair.b]
    link(load(bank), now=NOW, progress=Silent())
    assert ("undone", pair.id) in {(one.objection, one.id) for one in of(bank, "waiting")}
    review.accept(load(bank), [pair.id], now=NOW)
    resolved = profiles(bank)
    assert resolved[pair.a] == resolved[pair.b]


def test_a_rejected_pair_is_never_one_nor_proposed_again(
    bank: Path, linked: tuple[Path, LinkReport, dict[int, int]]
) -> None:
    pair = without_twins(bank, linked[2])
    review.reject(load(bank), [pair.id], now=NOW)
    link(load(bank), now=NOW, progress=Silent())
    assert pair.id in {one.id for one in of(bank, "rejected")}
    resolved = profiles(bank)
    assert resolved[pair.a] != resolved[pair.b]
    with pytest.raises(DataError, match="P377"):
        review.accept(load(bank), [pair.id], now=NOW)


def test_no_name_lies_in_clear_in_the_store(linked: tuple[Path, LinkReport, dict[int, int]]) -> None:
    root, _, _ = linked
    names = {one.told["family_name"].encode() for one in people(1_500, seed=3) if "family_name" in one.told}
    long = [name for name in names if len(name) > 8]
    assert len(long) > 100
    for file in (root / ".tilltal").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(name in content for name in long), file
    listed = {path.name for path in (root / ".tilltal/links").iterdir()}
    assert listed == {"queue.jsonl", "queue.lock", "weights.json"}


def test_the_commands_show_and_decide(bank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tilltal = Commands(capsys)
    pair = of(bank, "linked")[0]
    shown = tilltal("link", "show", bank, pair.id, "--json")
    assert shown.code == 0
    assert {one["field"] for one in shown.json["fields"]} == set(LINKING.compare)
    assert any(one["agreement"] == "same" and one["weight"] > 0 for one in shown.json["fields"])
    listed = tilltal("link", "list", bank, "--state", "linked", "--json")
    assert pair.id in {one["id"] for one in listed.json}
    assert tilltal("link", "reject", bank, pair.id).code == 0
    assert tilltal("link", "undo", bank, pair.id).code == 0
    assert tilltal("link", "undo", bank, pair.id).code == DataError.exit_code
    assert "P375" in tilltal("link", "show", bank, "nonsense").err
