"""`tilltal evaluate`: the file of logged decisions, what is refused, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from tilltal.cli.main import main
from tilltal.core.errors import DataError
from tilltal.runtime.answers.evaluating import evaluate_file, read_log


def decisions(rows: int = 4000) -> dict[str, object]:
    """Cards and funds shown by a coin; funds sell to the old, twice as often as cards do."""
    rng = np.random.default_rng(1)
    age = rng.integers(20, 80, rows)
    fund = rng.random(rows) < 0.5
    wish = np.where(fund, np.where(age > 50, 0.4, 0.05), 0.2)
    return {
        "decision": np.arange(rows),
        "action": np.where(fund, "fund", "card"),
        "reward": (rng.random(rows) < wish).astype(float),
        "probability": np.full(rows, 0.5),
        "new.fund": np.where(age > 50, 0.95, 0.05),
        "new.card": np.where(age > 50, 0.05, 0.95),
        "feature.age": age,
        "feature.country": ["SE"] * rows,
    }


def written(folder: Path, columns: dict[str, object], ending: str = "parquet") -> Path:
    path = folder / f"log.{ending}"
    table = pa.table(columns)
    (parquet.write_table if ending == "parquet" else csv.write_csv)(table, path)
    return path


def test_both_formats_say_the_same_and_find_the_better_policy(tmp_path: Path) -> None:
    one = evaluate_file(written(tmp_path, decisions()))
    other = evaluate_file(written(tmp_path, decisions(), "csv"))
    assert one == other
    # 29/60 are older than 50: 0.95 × 0.4 + 0.05 × 0.2, the others 0.95 × 0.2 + 0.05 × 0.05
    truth = 29 / 60 * 0.39 + 31 / 60 * 0.1925
    for each in one.values:
        assert abs(each.value.value - truth) < 4 * each.value.error
        assert each.gain.low > 0
    assert one.values[2].value.error < one.values[0].value.error


def test_an_action_the_new_policy_does_not_know_is_one_it_never_shows(tmp_path: Path) -> None:
    columns = decisions()
    columns["new.card"] = np.ones(4000)
    del columns["new.fund"]
    log = read_log(written(tmp_path, columns))
    assert log.names == ("card", "fund")
    assert log.policy.sum(axis=0).tolist() == [4000, 0]


def test_customers_widen_the_intervals(tmp_path: Path) -> None:
    columns = decisions()
    alone = evaluate_file(written(tmp_path, columns))
    # alike rows belong to one customer
    order = np.lexsort((np.asarray(columns["reward"]), np.asarray(columns["action"])))
    customer = np.empty(4000, dtype=int)
    customer[order] = np.arange(4000) // 8
    together = evaluate_file(written(tmp_path, columns | {"customer": customer}))
    assert together.values[0].value.value == alone.values[0].value.value
    assert together.values[0].value.error > 2 * alone.values[0].value.error


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"probability": None}, "there is no column 'probability'"),
        ({"new.card": None, "new.fund": None}, r"no column `new.<action>`"),
        ({"reward": ["much"] * 4000}, "'reward' is not of the type double"),
        ({"action": [None] * 4000}, "4,000 rows have no 'action'"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    columns = {name: value for name, value in (decisions() | change).items() if value is not None}
    with pytest.raises(DataError, match=rf"M413.*{said}"):
        read_log(written(tmp_path, columns))


@pytest.mark.parametrize(("name", "content"), [("log.txt", b"x"), ("log.parquet", b"x"), ("log.csv", b"")])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="M413"):
        read_log(tmp_path / name)


def test_the_command_says_it_in_a_sentence_and_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, decisions())
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(path), "--json"])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"].endswith("it is better.")
    assert [one["method"] for one in told["evaluation"]["values"]] == ["IPS", "SNIPS", "DR", "SNDR"]
    with pytest.raises(SystemExit):
        main(["evaluate", str(path)])
    shown = capsys.readouterr().out
    assert "it is better." in shown
    assert "4,000 decisions, worth" in shown


def test_thin_overlap_ends_with_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, decisions(300))
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(path)])
    assert ended.value.code == 4
    assert "M412" in capsys.readouterr().err
