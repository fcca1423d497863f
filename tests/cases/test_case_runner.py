"""The runner itself: it must fail on what is wrong, and say what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cases import contact_policy
from tests.cases.__main__ import main
from tests.cases.files import CaseFileError, read_document
from tests.postgres_server import PostgresServer, postgres

__all__ = ["postgres"]
ROOT = Path(__file__).resolve().parents[2]
RULES = {"namespaces": [{"name": "crm", "unique": True}, {"name": "device", "kind": "device"}]}


def document(**case: Any) -> dict[str, Any]:
    full = {
        "id": "X1",
        "rules": RULES,
        "observations": [
            {"id": "o1", "at": "2026-03-01T10:00:00Z", "ids": {"crm": "A", "device": "d"}},
            {"id": "o2", "at": "2026-03-01T11:00:00Z", "ids": {"device": "d"}},
        ],
        "expect": {"people": [["crm:A", "device:d"]], "anonymous_owner": {"o2": "crm:A"}},
    }
    return {"kind": "identity", "version": 1, "cases": [full | case]}


def run(folder: Path, content: dict[str, Any]) -> int:
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump(content))
    return main([str(path)])


def test_a_case_that_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, document()) == 0
    assert "ok    X1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"expect": {"people": [["crm:A"], ["device:d"]]}}, "people after o2"),
        (
            {"expect": {"dropped_links": [{"link": ["crm:A", "device:d"], "reason": "x"}]}},
            "dropped_links after",
        ),
        ({"expect": {"anonymous_owner": {"o2": "unclaimed"}}}, "anonymous_owner after o2"),
        ({"expect": {"anonymous_owner": {"o1": "crm:A"}}}, "not anonymous"),
        ({"checkpoints": [{"after": "o1", "people": [["crm:A"]]}]}, "people after o1"),
        ({"expect": {"persons": []}}, "unknown keys in expect"),
        ({"surprise": 1}, "unknown keys in the case"),
        ({"rules": RULES | {"surprise": 1}}, "unknown field"),
        ({"observations": [{"id": "o1", "at": "2026-03-01T10:00:00Z"}]}, "content of o1"),
        ({"observations": [{"id": "o1", "at": "soon", "ids": {"crm": "A"}}]}, "cannot be run"),
        ({"observations": [{"id": "o1", "at": "2026-03-01", "ids": {"crn": "A"}}]}, "no namespace is called"),
    ],
)
def test_a_case_that_differs_is_shown(
    case: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, document(**case)) == 1
    shown = capsys.readouterr().out
    assert "DIFF  X1" in shown
    assert said in shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no case file"),
        ("kind: identity\ncases: []\n", "at least one case"),
        ("kind: surprise\ncases: [{id: a}]\n", "kind 'surprise' is not supported"),
        ("kind: identity\nversion: 2\ncases: [{id: a}]\n", "version 2 is not supported"),
        ("kind: identity\nextra: 1\ncases: [{id: a}]\n", "unknown keys extra"),
        ("kind: identity\ncases: [{id: a}, {id: a}]\n", "same id"),
        ("kind: identity\ncases: [{id: a, id: b}]\n", "stands twice"),
        ("kind: [", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_run_is_named(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(text)
    assert main([str(path)]) == 2
    shown = capsys.readouterr().out
    assert str(path) in shown
    assert said in shown


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaseFileError, match="cannot be read"):
        read_document(tmp_path / "none.yaml")


def test_words_and_dates_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text("kind: identity\ncases: [{id: a, on: yes, n: 2026-03-01, b: true}]\n")
    assert read_document(path)["cases"] == [{"id": "a", "on": "yes", "n": "2026-03-01", "b": True}]


@pytest.mark.slow
def test_contact_policy_cases_hold_in_postgres(postgres: PostgresServer) -> None:
    folder = Path(os.environ.get("TILLTAL_SHARED", str(ROOT.parent / "shared"))) / "cases"
    files = [*folder.glob("contact_policy*.yaml"), *(ROOT / "tests/cases/own").glob("contact_policy*.yaml")]
    if not files:
        pytest.skip("no cases at hand; set TILLTAL_SHARED")
    for path in files:
        assert contact_policy.run(read_document(path), postgres.new_dsn) == []
