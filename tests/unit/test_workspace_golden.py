"""Broken workspaces and the exact faults they give: tests/golden/workspace/<case>/faults.txt."""

from pathlib import Path

import pytest

from tilltal.workspace.check import check_folder

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "workspace"


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDEN.iterdir()))
def test_a_broken_workspace_gives_exactly_these_faults(case: str) -> None:
    faults = check_folder(GOLDEN / case / "workspace")
    expected = (GOLDEN / case / "faults.txt").read_text(encoding="utf-8").splitlines()
    assert [str(fault) for fault in faults] == expected
