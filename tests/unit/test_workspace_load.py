import sys
from pathlib import Path

import pytest

from tilltal.core.errors import WorkspaceError
from tilltal.workspace.check import check, check_folder, usable
from tilltal.workspace.load import load
from tilltal.workspace.names import record_attributes

SOURCE = "kind: event\nread: {files: a.csv}\nidentities: {customer: id, device: dev}\nevent: buy\nat: at\n"
SMALLEST = {"tilltal.yaml": "name: bank\n", "sources/buys.yaml": SOURCE}


def write(root: Path, files: dict[str, str]) -> Path:
    for file, text in files.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text, encoding="utf-8")
    return root


def test_settings_and_one_source_are_a_workspace(tmp_path: Path) -> None:
    workspace = load(write(tmp_path, SMALLEST))
    assert check(workspace) == ()
    assert [namespace.name for namespace in workspace.identity.namespaces] == ["customer", "device"]
    assert workspace.lifecycle is None
    assert workspace.consent.purposes["marketing"].consent == "required"
    assert (workspace.currency, str(workspace.zone)) == ("EUR", "UTC")


def test_data_cases_and_hidden_files_are_left_alone(tmp_path: Path) -> None:
    extra = {
        "data/x.yaml": "]",
        "cases/one.yaml": "]",
        ".git/x.yaml": "]",
        "README.md": "",
        "sources/README.md": "",
        "traits/.hidden": "",
        "notes.txt": "",
    }
    assert load(write(tmp_path, SMALLEST | extra)).traits == {}


def test_actions_and_treatments_are_found_by_their_folder(tmp_path: Path) -> None:
    files = {
        "actions/card/action.yaml": "title: A\ngroup: cards\n",
        "actions/card/email.en.yaml": "body: Hello\n",
        "actions/card/sms.en.yaml": "body: Hi\n",
    }
    workspace = usable(write(tmp_path, SMALLEST | files))
    assert set(workspace.treatments["card"]) == {("email", "en"), ("sms", "en")}
    assert workspace.treatments["card"]["sms", "en"].body == "Hi"


@pytest.mark.parametrize("missing", ["folder", "settings"])
def test_what_is_no_workspace_says_so(tmp_path: Path, missing: str) -> None:
    root = tmp_path / "nowhere" if missing == "folder" else tmp_path
    with pytest.raises(WorkspaceError, match="W101") as caught:
        load(root)
    assert caught.value.exit_code == 2


def test_an_unreadable_file_is_a_fault_and_the_others_are_still_checked(tmp_path: Path) -> None:
    write(tmp_path, SMALLEST | {"traits/a.yaml": "x: 1\n"})
    (tmp_path / "traits/dir.yaml").mkdir()
    (tmp_path / "traits/link.yaml").symlink_to(tmp_path / "nowhere.yaml")
    (tmp_path / "traits/big.yaml").write_text("a: " + "x" * 1_100_000, encoding="utf-8")
    codes = {fault.place.file: fault.code for fault in check_folder(tmp_path)}
    assert codes == {
        "traits/a.yaml": "W110",
        "traits/dir.yaml": "W102",
        "traits/link.yaml": "W102",
        "traits/big.yaml": "W107",
    }


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    write(tmp_path, SMALLEST)
    (tmp_path / "tilltal.yaml").write_bytes(b"\xef\xbb\xbfname: bank\r\ncurrency: SEK\r\n")
    assert load(tmp_path).currency == "SEK"


def test_the_hash_follows_the_definitions_only(tmp_path: Path) -> None:
    first = load(write(tmp_path / "a", SMALLEST)).content_hash
    commented = {"tilltal.yaml": "# mine\nname:   'bank'\n", "README.md": "Hello"}
    assert load(write(tmp_path / "b", SMALLEST | commented)).content_hash == first
    renamed = {"tilltal.yaml": "name: bank\n", "sources/sales.yaml": SOURCE}
    assert load(write(tmp_path / "c", renamed)).content_hash != first
    changed = {"tilltal.yaml": "name: other\n"}
    assert load(write(tmp_path / "d", SMALLEST | changed)).content_hash != first


def test_huge_nesting_in_an_expression_or_a_file_never_overflows(tmp_path: Path) -> None:
    deep = {
        "audiences/deep.yaml": f"condition: {'(' * 2000}TRUE{')' * 2000}\n",
        "traits/deep.yaml": f"labels: {'[' * 900}{']' * 900}\n",
    }
    faults = check_folder(write(tmp_path, SMALLEST | deep))
    assert {fault.place.file for fault in faults} >= {"traits/deep.yaml"}
    assert sys.getrecursionlimit() < 10_000


def test_places_of_parts_are_known_after_loading(tmp_path: Path) -> None:
    trait = "measure: count\nfrom: [buy]\nwhere: >\n  source = 'x'\n"
    workspace = load(write(tmp_path, SMALLEST | {"traits/buys.yaml": trait}))
    assert str(workspace.place("traits/buys.yaml", "where")) == "traits/buys.yaml:3:8"
    assert str(workspace.key_place("traits/buys.yaml", "where")) == "traits/buys.yaml:3:1"
    assert str(workspace.place("traits/none.yaml", "where")) == "traits/none.yaml"
    assert workspace.states("traits/buys.yaml", "where")
    assert not workspace.states("traits/buys.yaml", "window")
    (fault,) = check(workspace)
    assert str(fault.place) == "traits/buys.yaml:4:3"


def test_a_circle_is_certain_whatever_else_cannot_be_read(tmp_path: Path) -> None:
    files = {
        "audiences/a.yaml": "condition: audience.b\n",
        "audiences/b.yaml": "condition: NOT audience.a\n",
        "traits/z.yaml": "measur: count\n",
    }
    faults = check_folder(write(tmp_path, SMALLEST | files))
    assert [(fault.code, fault.place.file) for fault in faults] == [
        ("W140", "audiences/a.yaml"),
        ("W110", "traits/z.yaml"),
    ]


def test_a_source_labelled_identity_as_a_whole_keeps_nothing_in_history(tmp_path: Path) -> None:
    person = "kind: record\nread: {files: p.csv}\nidentities: {customer: id}\nfields: {name: text}\n"
    plain = load(write(tmp_path / "plain", SMALLEST | {"sources/person.yaml": person}))
    direct = load(
        write(tmp_path / "direct", SMALLEST | {"sources/person.yaml": f"{person}labels: [identity]\n"})
    )
    assert "name" in record_attributes(plain)
    assert "name" not in record_attributes(direct)


BANK = SMALLEST | {
    "sources/sales.yaml": "kind: event\nread: {files: s.csv}\nidentities: {c: id}\nat: t\nevent: buy\n"
    "fields: {amount: money}\n",
}
CARD = "title: Card\ngroup: cards\n"
LIKE_Z = "lookalike: {of: z, features: [spe*], size: 1}\n"
UNKNOWN = {
    "audiences/typo.yaml": "condition: bouys > 3\n",
    "audiences/alike.yaml": "lookalike: {of: typoo, features: [nothing_*], size: 10}\n",
    "traits/buys.yaml": "measure: count\nfrom: [by]\n",
}


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ("traits/spend.yaml", "measure: summ\n"),
        ("audiences/vip.yaml", "condtion: TRUE\n"),
        ("models/churn.yaml", "outcom: {}\n"),
        ("actions/card/action.yaml", "titel: Card\n"),
        ("policies/contact.yaml", "cap: []\n"),
        ("kpis.yaml", "activ: []\n"),
    ],
)
def test_unknown_names_are_told_while_a_file_is_broken_that_cannot_define_them(
    tmp_path: Path, broken: str, text: str
) -> None:
    faults = check_folder(write(tmp_path, BANK | UNKNOWN | {broken: text}))
    told = {(fault.place.file, fault.code) for fault in faults}
    assert told >= {
        ("audiences/typo.yaml", "D203"),
        ("audiences/alike.yaml", "W130"),
        ("audiences/alike.yaml", "W136"),
        ("traits/buys.yaml", "W130"),
    }
    assert any(fault.place.file == broken for fault in faults)


@pytest.mark.parametrize(
    ("broken", "user"),
    [
        (
            "traits/spend.yaml",
            {"audiences/a.yaml": "condition: spend > 3 AND spend_30d = DATE '2026-01-01'\n"},
        ),
        ("traits/spend.yaml", {"traits/a.yaml": "expression: spend\n", "audiences/b.yaml": "condition: a\n"}),
        ("traits/spend.yaml", {"audiences/a.yaml": LIKE_Z, "audiences/z.yaml": "condition: is_known\n"}),
        ("audiences/vip.yaml", {"audiences/a.yaml": "condition: audience.vip\n"}),
        ("audiences/vip.yaml", {"audiences/a.yaml": "lookalike: {of: vip, features: [is_known], size: 1}\n"}),
        ("models/churn.yaml", {"audiences/a.yaml": "condition: score.churn > 0.5\n"}),
        ("sources/other.yaml", {"traits/a.yaml": "measure: sum\nof: total\nfrom: [buy, sell]\n"}),
        ("sources/other.yaml", {"audiences/a.yaml": "condition: age > 3 AND holding.card\n"}),
        ("value.yaml", {"audiences/a.yaml": "condition: value.segment = 'Royals'\n"}),
        ("actions/card/email.en.yaml", {"actions/card/action.yaml": CARD}),
        ("actions/card/action.yaml", {"policies/arbitration.yaml": "levers: {group: {cards: 5}}\n"}),
    ],
)
def test_what_a_broken_file_may_define_is_not_called_unknown(
    tmp_path: Path, broken: str, user: dict[str, str]
) -> None:
    faults = check_folder(write(tmp_path, BANK | user | {broken: "nonsense: 1\n"}))
    assert {fault.place.file for fault in faults} == {broken}


PERSONAS = "characteristics: {known: {value: 'IF(is_known, 1, 0)'}}\nclusters: 2\n"
STAGES = "Loyal, Retain, Regain, New comeback"


def test_a_text_that_a_segment_never_has_is_a_fault_with_the_nearest(tmp_path: Path) -> None:
    files = {
        "lifecycle.yaml": "opened: {first_event: [buy]}\n",
        "personas.yaml": f"{PERSONAS}names: [savers, spenders]\n",
        "audiences/a.yaml": "condition: lifecycle.stage = 'Nwe' OR persona.name IN ('savers', 'spendrs')\n",
        "audiences/b.yaml": "condition: CASE lifecycle.stage WHEN 'New' THEN 1=1 WHEN 'Lost' THEN 1=2 END\n",
        "audiences/c.yaml": "condition: lifecycle.stage <> 'Loyal' AND lifecycle.stage || 'x' = 'Nwex'\n",
    }
    told = [str(fault) for fault in check_folder(write(tmp_path, SMALLEST | files))]
    assert told == [
        f"audiences/a.yaml:1:30 W130 lifecycle.stage is never 'Nwe'. Valid: New, {STAGES}.",
        "audiences/a.yaml:1:66 W130 persona.name is never 'spendrs'. Valid: spenders, savers.",
        f"audiences/b.yaml:1:58 W130 lifecycle.stage is never 'Lost'. Valid: New, {STAGES}.",
    ]


def test_personas_that_get_their_names_later_may_have_any(tmp_path: Path) -> None:
    files = {
        "personas.yaml": PERSONAS,
        "audiences/a.yaml": "condition: persona.name = 'savers'\n",
    }
    assert check_folder(write(tmp_path, SMALLEST | files)) == ()


@pytest.mark.parametrize(("code", "valid"), [("SKE", "SEK"), ("ERU", "EUR"), ("sek", "SEK")])
def test_a_currency_nobody_pays_with_is_a_fault(tmp_path: Path, code: str, valid: str) -> None:
    (fault,) = check_folder(write(tmp_path, SMALLEST | {"tilltal.yaml": f"name: bank\ncurrency: {code}\n"}))
    assert (fault.code, str(fault.place)) == ("W122", "tilltal.yaml:2:11")
    assert valid in fault.valid


def test_names_that_differ_by_case_alone_are_a_fault(tmp_path: Path) -> None:
    record = "kind: record\nread: {files: p.csv}\nidentities: {customer: id}\nat: t\n"
    files = {
        "sources/buys.yaml": f"{SOURCE}fields: {{amount: money, Amount: money}}\n",
        "sources/sales.yaml": SOURCE.replace("buy", "sell") + "fields: {AMOUNT: money}\n",
        "sources/people.yaml": f"{record}fields: {{city: text}}\n",
        "sources/towns.yaml": f"{record}fields: {{City: text}}\n",
        "traits/CITY.yaml": "measure: count\nfrom: [buy]\n",
        "traits/buys.yaml": "measure: count\nfrom: [buy]\nwindows: [7 days, 30 days]\n",
        "traits/Buys_7d.yaml": "measure: count\nfrom: [buy]\n",
    }
    faults = check_folder(write(tmp_path, SMALLEST | files))
    assert [(fault.code, str(fault.place)) for fault in faults] == [
        ("W132", "sources/buys.yaml:6:25"),
        ("W132", "sources/sales.yaml:6:10"),
        ("W132", "sources/towns.yaml:5:10"),
        ("W132", "traits/CITY.yaml:1:1"),
        ("W132", "traits/buys.yaml:1:1"),
    ]
    assert "upper and lower case" in faults[0].message
