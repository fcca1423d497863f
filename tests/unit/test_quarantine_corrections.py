"""Quarantine: listed, shown, exported, corrected, and taken in after all."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.bank import NOW, PAYMENTS, Bank

from tilltal.core.errors import DataError, SourceError
from tilltal.runtime.intake import correction, quarantine
from tilltal.runtime.intake.ingest import IngestReport, reingest

HEAD = "message,customer,time,amount,shop\n"
ROWS = 'm1,K-1,2026-05-01,1.00,"A, B"\nm2,,2026-05-01,x,"one\ntwo"\nm3,K-3\n'


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    bank = Bank(tmp_path)
    bank.write("sources/payments.yaml", PAYMENTS + "max_rejects: 1\n")
    bank.write("data/payments.csv", HEAD + ROWS)
    bank.ingest()
    return bank


def export(bank: Bank) -> Path:
    with bank.vault() as vault:
        (path,) = correction.export(
            bank.store, vault, "payments", bank.workspace.sources["payments"], bank.root / "fix.csv"
        )
    return path


def retry(bank: Bank, path: Path | None) -> IngestReport:
    return reingest(bank.workspace, "payments", path, now=NOW)


def test_entries_name_file_row_codes_and_keep_the_rest_sealed(bank: Bank) -> None:
    first, second = quarantine.entries(bank.store)
    assert (first.file, first.row, first.codes) == ("data/payments.csv", 2, ("S332", "S337"))
    assert (second.row, second.codes) == (3, ("S321",))
    with bank.vault() as vault:
        content = quarantine.opened(vault, quarantine.one(bank.store, first.id))
    assert content.raw == 'm2,,2026-05-01,x,"one\ntwo"'
    assert content.reasons == (
        "amount is 'x', which is no money",
        "has no usable identifier: all are blank, blocked or unreadable",
    )


def test_an_unknown_entry_is_refused(bank: Bank) -> None:
    with pytest.raises(DataError, match="S345"):
        quarantine.one(bank.store, "q0")


def test_rows_go_out_in_the_form_they_came_in(bank: Bank) -> None:
    first, second = quarantine.entries(bank.store)
    assert export(bank).read_text() == (
        "_quarantine,message,customer,time,amount,shop\n"
        f'{first.id},m2,,2026-05-01,x,"one\ntwo"\n'
        f"{second.id},m3,K-3\n"
    )


def test_corrected_rows_leave_the_quarantine_and_the_others_stay(bank: Bank) -> None:
    path = export(bank)
    path.write_text(path.read_text().replace("m2,,2026-05-01,x", "m2,K-2,2026-05-01,2.00"))
    report = retry(bank, path)
    assert (report.taken, report.quarantined) == (1, 1)
    assert bank.rows("events/payment", "amount, shop") == [(100, "A, B"), (200, "one\ntwo")]
    (left,) = quarantine.entries(bank.store)
    assert left.codes == ("S321",)


def test_a_correction_that_is_wrong_too_stays_with_its_new_reason(bank: Bank) -> None:
    path = export(bank)
    path.write_text(path.read_text().replace("m2,,2026-05-01,x", "m2,K-2,yesterday,2.00"))
    retry(bank, path)
    codes = sorted(entry.codes for entry in quarantine.entries(bank.store))
    assert codes == [("S321",), ("S332",)]


def test_lines_left_out_of_the_correction_stay_in_quarantine(bank: Bank) -> None:
    path = export(bank)
    head, rest = path.read_text().split("\n", 1)
    fixed = next(line for line in rest.split("\n") if "m3" in line) + ",2026-05-01,3.00,\n"
    path.write_text(f"{head}\n{fixed}")
    assert retry(bank, path).taken == 1
    assert [entry.row for entry in quarantine.entries(bank.store)] == [2]


def test_without_a_file_all_rows_are_tried_again_under_todays_definition(bank: Bank) -> None:
    bank.write("data/payments.csv", HEAD + "m8,K-8,01.05.2026,8.00,\n")
    bank.ingest()
    dotted = PAYMENTS.replace("at: time", "at: {column: time, format: '%d.%m.%Y'}")
    bank.write("sources/payments.yaml", dotted + "max_rejects: 1\n")
    report = retry(bank, None)
    assert (report.taken, report.quarantined) == (1, 2)
    assert (800,) in bank.rows("events/payment", "amount")
    assert len(quarantine.entries(bank.store)) == 2


def test_the_same_bad_row_in_a_grown_file_is_one_entry_and_a_settled_one_stays_settled(bank: Bank) -> None:
    bank.write("data/payments.csv", HEAD + ROWS + "m4,K-4,2026-05-01,4.00,\n")
    (file,) = bank.ingest().files
    assert (file.taken, file.quarantined) == (1, 2)
    assert len(quarantine.entries(bank.store)) == 2
    path = export(bank)
    path.write_text(path.read_text().replace("m2,,2026-05-01,x", "m2,K-2,2026-05-01,2.00"))
    retry(bank, path)
    bank.write("data/payments.csv", HEAD + ROWS + "m5,K-5,2026-05-01,5.00,\n")
    bank.ingest()
    assert [entry.codes for entry in quarantine.entries(bank.store)] == [("S321",)]


def test_equal_bad_rows_are_entries_of_their_own(bank: Bank) -> None:
    bank.write("data/payments.csv", HEAD + "m7,K-7\n" * 3)
    bank.ingest()
    ragged = [entry for entry in quarantine.entries(bank.store) if entry.codes == ("S321",)]
    assert sorted(entry.row for entry in ragged) == [1, 2, 3, 3]
    assert len({entry.id for entry in ragged}) == 4


def test_json_rows_go_out_and_come_back_also_broken_ones(bank: Bank) -> None:
    bank.write(
        "sources/payments.yaml", PAYMENTS.replace("data/payments*.csv", "data/p.jsonl") + "max_rejects: 1\n"
    )
    bank.write(
        "data/p.jsonl",
        '{"message": "j1", "customer": "K-1", "time": "2026-05-01", "amount": "x"}\n'
        '{"message": "j2", broken\n',
    )
    bank.ingest()
    found = [entry for entry in quarantine.entries(bank.store) if entry.file == "data/p.jsonl"]
    assert [(entry.row, entry.codes) for entry in found] == [(1, ("S332",)), (2, ("S326",))]
    path = bank.write(
        "fixed.jsonl",
        f'{{"_quarantine": "{found[0].id}", "message": "j1", "customer": "K-1", '
        '"time": "2026-05-01", "amount": 1}\n'
        f'{{"_quarantine": "{found[1].id}", "_raw": "{{\\"message\\": \\"j2\\", still broken"}}\n',
    )
    report = retry(bank, path)
    assert (report.taken, report.quarantined) == (1, 1)


@pytest.mark.parametrize(
    "content", ["message,customer,time,amount,shop\nm2,K-2,2026-05-01,1,\n", '{"message": "m2"}\n']
)
def test_a_file_without_marks_is_refused(bank: Bank, content: str) -> None:
    before = bank.tree()
    with pytest.raises(SourceError, match="S346"):
        retry(bank, bank.write("fix.txt", content))
    assert bank.tree() == before


def test_nothing_in_quarantine_is_said(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.write("sources/payments.yaml", PAYMENTS)
    with pytest.raises(DataError, match="S345"):
        retry(bank, None)
