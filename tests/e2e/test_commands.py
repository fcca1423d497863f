"""Every command: its help, its JSON, its exit codes, and its faults as text."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Commands, parameters, run

from tilltal.cli import main as command_line
from tilltal.runtime.answers.decide import decisions_of
from tilltal.runtime.answers.snapshot import open_snapshot
from tilltal.workspace.check import usable

COMMANDS = parameters()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(tilltal: Commands, command: str) -> None:
    answer = tilltal(*command.split(), "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"Usage: tilltal {command} ")
    for name in COMMANDS[command]:
        assert name in answer.out.upper() or name in answer.out


def test_without_a_command_there_is_help(tilltal: Commands) -> None:
    answer = tilltal()
    assert answer.code == 0
    assert all(command.split()[0] in answer.out for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check",),
        ("test",),
        ("kpis", "--last", "2"),
        ("decide",),
        ("allocate",),
        ("quarantine list",),
        ("ingest",),
        ("ingest", "logins"),
    ],
)
def test_the_json_of_a_command_is_json_alone(
    refreshed: Path, tilltal: Commands, arguments: tuple[str, ...]
) -> None:
    command, *rest = arguments
    answer = tilltal(*command.split(), refreshed, *rest, "--json")
    assert answer.code == 0
    assert isinstance(answer.json, dict | list)
    assert answer.err == ""


WRONG: list[tuple[tuple[str, ...], int, str]] = [
    (("chekc", "BANK"), 64, r"C104 No such command 'chekc'."),
    (("check",), 64, "C104 Missing argument 'WORKSPACE'. See tilltal check --help."),
    (("check", "BANK", "--nope"), 64, "C104 No such option: --nope"),
    (("decide", "BANK", "--slots", "0"), 64, "C104 Invalid value for '--slots'"),
    (("kpis", "BANK", "--last", "many"), 64, "C104 Invalid value for '--last'"),
    (("quarantine",), 64, "C104 Missing command. See tilltal quarantine --help."),
    (("check", "BANK/nowhere"), 2, "W101 There is no such folder."),
    (("ingest", "BANK", "logons"), 3, "S310 There is no source 'logons'. Valid: logins."),
    (("decide", "BANK", "--context", "page", "--context", "=x"), 1, "C102 --context 'page' is no KEY=VALUE."),
    (("refresh", "BANK", "--as-of", "May"), 1, "C101 --as-of 'May' is no instant."),
    (("explain", "BANK", "nobody"), 4, "P365 Nobody is known as 'nobody'."),
    (("kpis", "BANK", "--kpi", "churn"), 4, "E510 There is no key figure 'churn'."),
    (("quarantine", "show", "BANK", "nothing"), 4, "S345"),
    (("test", "BANK", "none.yaml"), 4, "none.yaml E511 There is no such case file."),
    (("init", "BANK"), 2, "W150"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG)
def test_what_is_wrong_is_said_in_one_line_and_in_the_exit_code(
    refreshed: Path, tilltal: Commands, arguments: tuple[str, ...], code: int, message: str
) -> None:
    given = [each.replace("BANK", str(refreshed)) for each in arguments]
    answer = tilltal(*given)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert "Traceback" not in answer.err
    as_json = tilltal(*given, "--json")
    if "--json" in COMMANDS.get(" ".join(arguments[:1]), ()):
        assert as_json.code == code
        (fault, *_) = as_json.json["faults"]
        assert f"{fault['code']} {fault['message']}" in answer.err


def test_all_faults_of_a_workspace_are_told_with_their_places(bank: Path, tilltal: Commands) -> None:
    (bank / "audiences/active.yaml").write_text("condition: logns_90d > 3\n", encoding="utf-8")
    (bank / "traits/logins.yaml").write_text("measure: cont\nfrom: [login]\n", encoding="utf-8")
    for command in ("check", "refresh", "test", "ingest", "decide", "report"):
        answer = tilltal(command, bank)
        assert answer.code == 2, command
        assert "traits/logins.yaml:1:10 W113" in answer.err
    assert len(tilltal("check", bank, "--json").json["faults"]) == answer.err.count("\n")


def test_a_source_that_cannot_be_read_ends_with_3_and_keeps_what_there_was(
    bank: Path, tilltal: Commands
) -> None:
    (bank / "data/logins.csv").write_bytes(b"\x00\xff\x00\xff" * 100)
    answer = tilltal("ingest", bank)
    assert answer.code == 3
    assert "S3" in answer.err
    assert tilltal("explain", bank, "1001").code == 0


def test_a_case_that_differs_ends_with_1(bank: Path, tilltal: Commands) -> None:
    cases = bank / "cases/savings.yaml"
    cases.write_text(
        cases.read_text(encoding="utf-8").replace("decision: open_savings", "decision: none"), "utf-8"
    )
    answer = tilltal("test", bank)
    assert answer.code == 1
    assert "DIFF  An active customer" in answer.out
    assert "      decision: expected none, got open_savings\n" in answer.out
    assert "3 cases, 1 differ" in answer.out
    report = tilltal("test", bank, "--json")
    assert report.code == 1
    assert [len(case["differences"]) for case in report.json["cases"]] == [1, 0, 0]


def test_the_quarantine_can_be_looked_at_corrected_and_emptied(
    bank: Path, tilltal: Commands, tmp_path: Path
) -> None:
    lines = (bank / "data/logins.csv").read_text(encoding="utf-8").splitlines()
    (bank / "data/logins.csv").write_text("\n".join([*lines, "1001,,not a time,start", ""]), encoding="utf-8")
    taken = tilltal("ingest", bank, "logins")
    assert taken.code == 0
    assert f"1 row is in quarantine: tilltal quarantine list {bank} shows why." in taken.out
    (row,) = tilltal("quarantine", "list", bank, "--json").json
    assert row["source"] == "logins"
    assert "not a time" in tilltal("quarantine", "show", bank, row["id"]).out
    assert tilltal("quarantine", "export", bank, "logins", tmp_path / "logins.csv").code == 0
    text = (tmp_path / "logins.csv").read_text(encoding="utf-8")
    (tmp_path / "logins.csv").write_text(text.replace("not a time", "2026-01-30T10:00:00"), encoding="utf-8")
    assert tilltal("quarantine", "retry", bank, "logins", tmp_path / "logins.csv").code == 0
    assert tilltal("quarantine", "list", bank, "--json").json == []


def test_an_interrupt_ends_with_130(refreshed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "app", interrupted)
    assert run("check", refreshed) == 130


def test_tables_are_whole_where_nobody_reads_them_on_a_screen(refreshed: Path, tilltal: Commands) -> None:
    out = tilltal("kpis", refreshed, "--kpi", "gross_churn_rate").out
    head, line = out.splitlines()[1:3]
    assert "gross_churn_rate" in line
    assert "2026-01" in head


def test_texts_of_customers_are_not_taken_for_markup(bank: Path, tilltal: Commands) -> None:
    action = bank / "actions/travel_card/action.yaml"
    text = action.read_text(encoding="utf-8").replace("Card with travel insurance", "'[red]Card[/red] [/]'")
    action.write_text(text, encoding="utf-8")
    answer = tilltal("decide", bank)
    assert answer.code == 0
    assert "[red]Card[/red] [/]" in answer.out


def test_a_folder_without_permission_is_no_traceback(bank: Path, tilltal: Commands) -> None:
    shutil.rmtree(bank / ".tilltal")
    (bank / ".tilltal").write_text("in the way", encoding="utf-8")
    answer = tilltal("ingest", bank)
    assert answer.code == 5
    assert "E505" in answer.err


def test_the_version_is_that_of_the_installation(tilltal: Commands) -> None:
    answer = tilltal("--version")
    assert (answer.code, answer.out) == (0, f"tilltal {version('tilltal')}\n")


def test_a_second_ingest_says_that_there_is_nothing_new(bank: Path, tilltal: Commands) -> None:
    answer = tilltal("ingest", bank)
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "There is nothing new.")


def test_the_json_of_an_ingest_that_failed_says_what_failed_and_what_did_not(
    bank: Path, tilltal: Commands
) -> None:
    (bank / "data/logins.csv").write_bytes(b"\x00\xff\x00\xff" * 100)
    answer = tilltal("ingest", bank, "--json")
    assert (answer.code, answer.err) == (3, "")
    assert [fault["code"][:2] for fault in answer.json["faults"]] == ["S3"]
    assert {file["source"] for file in answer.json["files"]} == {
        "consents",
        "customers",
        "products",
        "transactions",
    }


def test_a_key_of_the_moment_that_no_rule_asks_for_is_told(bank: Path, tilltal: Commands) -> None:
    asked = tilltal("decide", bank, "--context", "page=savings", "--json")
    assert (asked.code, asked.err) == (0, "")
    for command in (("decide", bank), ("explain", bank, "1001")):
        answer = tilltal(*command, "--context", "pgae=savings")
        assert answer.code == 0
        assert answer.err == "note: no context rule or condition uses 'pgae'; did you mean 'page'?\n"


def test_control_characters_of_data_never_steer_the_terminal(bank: Path, tilltal: Commands) -> None:
    text = (bank / "data/logins.csv").read_text(encoding="utf-8")
    (bank / "data/logins.csv").write_text(
        text.replace("customer_id", "customer_id\x1b[2J", 1), encoding="utf-8"
    )
    answer = tilltal("ingest", bank)
    assert answer.code == 3
    assert "Valid: customer_id\\x1b[2J" in answer.err
    assert "\x1b" not in answer.err + answer.out


def test_somebody_is_there_to_be_explained_though_no_model_gave_a_reason(
    refreshed: Path, tilltal: Commands
) -> None:
    workspace = usable(refreshed)
    with open_snapshot(workspace) as snapshot:
        assert snapshot.engine.rows("SELECT count(*) FROM decisions WHERE len(reasons) > 0") == [(0,)]
    assert tilltal("explain", refreshed, decisions_of(workspace).example).code == 0
