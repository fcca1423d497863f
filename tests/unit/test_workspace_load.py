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
