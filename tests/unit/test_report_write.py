"""The report's file: written whole, from the snapshot in force, the same bytes each time."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.bank import Bank
from tests.report_bank import HASH, report_bank
from tests.unit.test_report_worth import VIEW

from tilltal.core.errors import DataError, EngineError
from tilltal.runtime.answers.report import write_report
from tilltal.runtime.answers.studies import keep_study


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


def test_a_study_that_was_kept_is_in_every_later_report(tmp_path: Path) -> None:
    bank = report_bank(tmp_path / "bank")
    page = write_report(bank.workspace)
    assert "What each step is worth" not in page.read_text()
    keep_study(bank.workspace, VIEW)
    first = write_report(bank.workspace).read_text()
    assert first.count('<section id="worth"') == 1
    assert "data or definitions have changed since" not in first
    assert write_report(bank.workspace).read_text() == first


def test_a_page_says_that_a_study_was_made_before_definitions_changed(tmp_path: Path) -> None:
    bank = report_bank(tmp_path / "bank")
    keep_study(bank.workspace, VIEW)
    manifest = bank.store.current_snapshot() / "manifest.json"
    manifest.write_text(manifest.read_text().replace(HASH, HASH[::-1]))
    assert "data or definitions have changed since" in write_report(bank.workspace).read_text()


def test_a_damaged_study_is_an_error_in_words(tmp_path: Path) -> None:
    bank = report_bank(tmp_path / "bank")
    keep_study(bank.workspace, VIEW)
    (bank.store.root / "worth.json").write_text("{")
    with pytest.raises(DataError, match="E515 What a study found cannot be read"):
        write_report(bank.workspace)


def test_decisions_whose_values_are_less_of_costs_are_read_as_they_were_meant(tmp_path: Path) -> None:
    bank = report_bank(tmp_path / "bank")
    path = bank.store.current_snapshot() / "decisions.parquet"
    table = pq.read_table(path)
    free = table.set_column(
        table.schema.get_field_index("cost"), "cost", pa.nulls(len(table)).cast("double").fill_null(0)
    )
    pq.write_table(free, path)
    page = write_report(bank.workspace).read_text()
    pq.write_table(free.drop_columns(["cost"]), path)
    assert write_report(bank.workspace).read_text() == page


def test_an_old_page_stays_if_the_new_one_fails(tmp_path: Path) -> None:
    bank = report_bank(tmp_path)
    (tmp_path / "report.html").write_text("old")
    (tmp_path / ".tilltal/snapshots/one/decisions.parquet").write_bytes(b"broken")
    with pytest.raises(EngineError, match="E503"):
        write_report(bank.workspace)
    assert (tmp_path / "report.html").read_text() == "old"
    assert [path.name for path in tmp_path.glob("*report*")] == ["report.html"]
