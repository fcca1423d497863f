"""The example workspace's own cases hold, and would fail if a definition changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tilltal.demo.demo import workspace_source
from tilltal.runtime.cases.testing import run_cases
from tilltal.workspace.load import load


@pytest.mark.slow
def test_all_cases_hold() -> None:
    report = run_cases(load(workspace_source()), None)
    assert len(report.cases) >= 15
    assert [(case.title, case.differences) for case in report.cases if case.differences] == []


@pytest.mark.slow
def test_a_changed_definition_breaks_a_case(tmp_path: Path) -> None:
    folder = tmp_path / "nordbank"
    shutil.copytree(workspace_source(), folder, ignore=shutil.ignore_patterns("data", ".tilltal"))
    lifecycle = folder / "lifecycle.yaml"
    lifecycle.write_text(lifecycle.read_text().replace("new_days: 90", "new_days: 60"))
    report = run_cases(load(folder), [folder / "cases" / "segments.yaml"])
    assert "The first ninety days are New" in {case.title for case in report.cases if case.differences}
