"""Two demos of one seed show the same numbers, whoever runs them wherever."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tilltal.demo.demo import prepare
from tilltal.runtime.intake.ingest import ingest, store_of
from tilltal.runtime.progress import Silent
from tilltal.runtime.refresh.run import refresh
from tilltal.workspace.check import usable

pytestmark = pytest.mark.slow


def run(root: Path, seed: int, hour: int) -> Path:
    prepare(root, customers=600, months=9, seed=seed)
    workspace = usable(root)
    now = datetime(2026, 11, 22, hour, tzinfo=UTC)
    ingest(workspace, None, Silent(), now=now)
    refresh(workspace, now=now, progress=Silent())
    return store_of(workspace).current_snapshot()


def rows(file: Path) -> list[str]:
    """Return the rows in an order of their own; fractions to nine digits, for cores share sums out."""

    def told(value: object) -> str:
        return f"{value:.9g}" if isinstance(value, float) else str(value)

    return sorted(" ".join(map(told, row.values())) for row in pq.read_table(file).to_pylist())


def test_the_same_seed_gives_the_same_profiles_models_and_decisions(tmp_path: Path) -> None:
    one, again = run(tmp_path / "one", 3, 5), run(tmp_path / "again", 3, 17)
    tables = sorted(path.name for path in one.glob("*.parquet"))
    assert {"profiles.parquet", "decisions.parquet"} <= set(tables)
    for name in tables:
        assert rows(one / name) == rows(again / name), name
    for model in sorted(one.glob("models/*/model")):
        assert model.read_bytes() == (again / model.relative_to(one)).read_bytes(), model.parent.name
    other = run(tmp_path / "other", 4, 5)
    assert rows(one / "decisions.parquet") != rows(other / "decisions.parquet")
