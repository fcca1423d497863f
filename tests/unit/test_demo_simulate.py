"""The simulator writes the same bytes for the same seed, in files that its sources can read."""

from __future__ import annotations

import gzip
import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tilltal.core.errors import WorkspaceError
from tilltal.demo import simulate as simulation
from tilltal.demo.calendar import Span
from tilltal.demo.catalogue import ACTIONS
from tilltal.demo.demo import prepare, workspace_source
from tilltal.demo.simulate import simulate
from tilltal.runtime.intake.ingest import IngestReport, ingest
from tilltal.workspace.check import check_folder
from tilltal.workspace.load import load

CUSTOMERS, MONTHS, SEED = 250, 5, 3
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank") / "nordbank"
    prepare(folder, CUSTOMERS, MONTHS, SEED)
    return folder


@pytest.fixture(scope="module")
def ingested(bank: Path) -> IngestReport:
    return ingest(load(bank), None, now=NOW)


def digests(folder: Path, pattern: str = "*") -> dict[str, str]:
    data = folder / "data"
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(data.rglob(pattern))
        if path.is_file() and path.suffix != ".json"
    }


def test_the_same_seed_gives_the_same_bytes(bank: Path, tmp_path: Path) -> None:
    simulate(tmp_path, customers=CUSTOMERS, months=MONTHS, seed=SEED)
    assert digests(tmp_path) == digests(bank)


def test_another_seed_gives_other_bytes(bank: Path, tmp_path: Path) -> None:
    simulate(tmp_path, customers=CUSTOMERS, months=MONTHS, seed=SEED + 1)
    here, there = digests(bank), digests(tmp_path)
    assert here.keys() == there.keys()
    assert all(here[name] != there[name] for name in here)


def test_a_full_chunk_is_the_same_in_a_larger_bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "CHUNK", 100)
    simulate(tmp_path / "small", customers=100, months=2, seed=1)
    simulate(tmp_path / "large", customers=230, months=2, seed=1)
    small, large = digests(tmp_path / "small"), digests(tmp_path / "large", "*-0000.*")
    assert small == large
    assert len(digests(tmp_path / "large")) == 3 * len(small)


@pytest.mark.parametrize(("customers", "months", "seed"), [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_an_impossible_bank_is_refused(tmp_path: Path, customers: int, months: int, seed: int) -> None:
    with pytest.raises(ValueError, match="at least one customer"):
        simulate(tmp_path, customers=customers, months=months, seed=seed)


def test_a_bank_of_one_customer_and_one_month_has_all_files(tmp_path: Path) -> None:
    done = simulate(tmp_path, customers=1, months=1)
    assert done.customers == 1
    assert len(digests(tmp_path)) == len(done.rows) + 3  # and the truth: customers, months, contacts


def test_the_workspace_has_no_faults() -> None:
    assert check_folder(workspace_source()) == ()


def test_the_workspace_has_the_actions_whose_truth_is_known() -> None:
    workspace = load(workspace_source())
    assert set(workspace.actions) == {action.name for action in ACTIONS}
    for action in ACTIONS:
        channels = {channel for channel, _ in workspace.treatments[action.name]}
        assert channels <= set(workspace.settings.channels)
        assert workspace.actions[action.name].group == action.group


def test_every_treatment_exists_in_both_languages() -> None:
    workspace = load(workspace_source())
    for name, treatments in workspace.treatments.items():
        for channel in {channel for channel, _ in treatments}:
            languages = {language for other, language in treatments if other == channel}
            assert languages == {"sv", "en"}, (name, channel)


def test_every_source_can_be_read(ingested: IngestReport, bank: Path) -> None:
    taken = {file.source: file.taken for file in ingested.files}
    sources = load(bank).sources
    assert taken.keys() == {name for name, source in sources.items() if not source.read.collector}
    assert all(taken.values())


def test_broken_and_repeated_rows_are_there_but_few(ingested: IngestReport) -> None:
    rows = sum(file.rows for file in ingested.files)
    assert 0.0005 < ingested.quarantined / rows < 0.01
    assert sum(file.duplicate for file in ingested.files) > 0
    assert len({file.source for file in ingested.files if file.quarantined}) >= 5


@pytest.mark.slow
def test_ingesting_again_changes_nothing(ingested: IngestReport, bank: Path) -> None:
    again = ingest(load(bank), None, now=NOW)
    assert (again.taken, again.quarantined) == (0, 0)
    assert all(file.is_unchanged for file in again.files)


def test_no_source_reads_the_truth() -> None:
    for source in load(workspace_source()).sources.values():
        assert "truth" not in (source.read.files or "")


def test_files_are_written_the_way_their_systems_write(bank: Path) -> None:
    crm = next((bank / "data/crm").iterdir()).read_bytes()
    assert "Förnamn".encode("cp1252") in crm
    payments = gzip.decompress(next((bank / "data/payments").iterdir()).read_bytes()).decode()
    header, first, *_ = payments.splitlines()
    assert header == "Verifikation;Kundnr;Bokförd;Typ;Belopp"
    assert "," in first.split(";")[-1]


def test_the_span_ends_on_a_fixed_day_and_knows_summer_time() -> None:
    span = Span(24)
    assert [str(day) for day in span.dates(np.array([0, span.days - 1]))] == ["2024-11-01", "2026-10-31"]
    noon = (span.month_start[[0, 8]] * 86_400 + 12 * 3600).astype("int64")
    assert [str(moment) for moment in span.utc(noon)] == ["2024-11-01T11:00:00", "2025-07-01T10:00:00"]


def test_preparing_the_same_bank_again_leaves_it(bank: Path) -> None:
    before = digests(bank)
    done = prepare(bank, CUSTOMERS, MONTHS, SEED)
    assert done.customers == CUSTOMERS
    assert digests(bank) == before


def test_preparing_another_bank_in_the_folder_is_refused(bank: Path) -> None:
    with pytest.raises(WorkspaceError, match="W150"):
        prepare(bank, CUSTOMERS + 1, MONTHS, SEED)


def test_every_link_of_the_copied_workspace_leads_to_a_file_in_it(bank: Path) -> None:
    for page in bank.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            assert target.is_relative_to(bank.resolve()), f"{page}: {link}"
            assert target.exists(), f"{page}: {link}"
