"""The report's file: written whole, from the snapshot in force, the same bytes each time."""

from pathlib import Path

import pytest
from tests.bank import Bank
from tests.report_bank import report_bank

from tilltal.core.errors import DataError, EngineError
from tilltal.runtime.answers.report import write_report


def test_the_page_lies_in_the_workspace_unless_told_otherwise(tmp_path: Path) -> None:
    bank = report_bank(tmp_path / "bank")
    assert write_report(bank.workspace) == tmp_path / "bank/report.html"
    elsewhere = tmp_path / "new folder/page.html"
    assert write_report(bank.workspace, elsewhere) == elsewhere
    assert elsewhere.read_bytes() == (tmp_path / "bank/report.html").read_bytes()


def test_without_a_snapshot_nothing_is_written(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    with pytest.raises(DataError, match="E507 There is no snapshot yet"):
        write_report(bank.workspace)
    assert not (tmp_path / "report.html").exists()


def test_a_target_that_cannot_be_written_is_an_error_in_words(tmp_path: Path) -> None:
    bank = report_bank(tmp_path / "bank")
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="E505"):
        write_report(bank.workspace, tmp_path / "file/report.html")


def test_an_old_page_stays_if_the_new_one_fails(tmp_path: Path) -> None:
    bank = report_bank(tmp_path)
    (tmp_path / "report.html").write_text("old")
    (tmp_path / ".tilltal/snapshots/one/decisions.parquet").write_bytes(b"broken")
    with pytest.raises(EngineError, match="E503"):
        write_report(bank.workspace)
    assert (tmp_path / "report.html").read_text() == "old"
    assert [path.name for path in tmp_path.glob("*report*")] == ["report.html"]
