"""Bank marketing (Moro, Cortez & Rita 2014): random folds flatter, time order tells, rolling labels help.

41,188 calls of a Portuguese bank in the order they were made, May 2008 to November 2010. The length of
a call (`duration`) is known only after it and is left out, except where it plays the leak it is.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from tilltal.core.errors import DataError
from tilltal.models.calibration import Calibrator, Platt, fit_isotonic, fit_platt
from tilltal.models.dataset.features import learn_encoding
from tilltal.models.propensity import Recipe, Trees
from tilltal.models.quality.evaluation import area
from tilltal.models.quality.leak import find_leaks, refuse
from tilltal.models.quality.reliability import expected_calibration_error
from tilltal.models.rolling import rolling_platt

_ROOT = Path(__file__).resolve().parents[2]
_FILE = (
    Path(os.environ.get("TILLTAL_SHARED", _ROOT.parent / "shared")) / "data" / "bank_additional_full.parquet"
)

pytestmark = pytest.mark.skipif(not _FILE.exists(), reason=f"{_FILE.name} is not here (set TILLTAL_SHARED)")

RECIPE = Recipe(threads=2)
Vector = NDArray[np.float64]


class TimeOrder(msgspec.Struct, frozen=True):
    """What time order gives: log-odds and answers of the last 30 %, and calibrators fitted before them."""

    scores: Vector
    labels: NDArray[np.bool_]
    platt: Calibrator
    isotonic: Calibrator

    def ece(self, calibrator: Calibrator) -> float:
        return expected_calibration_error(calibrator.probability(self.scores), self.labels)


@cache
def calls() -> tuple[pa.Table, NDArray[np.bool_]]:
    table = pq.read_table(_FILE)
    labels: NDArray[np.bool_] = table.column("y").to_numpy() == "yes"
    return table.drop_columns(["y"]), labels


@cache
def honest() -> pa.Table:
    return calls()[0].drop_columns(["duration"])


@cache
def time_order() -> TimeOrder:
    """Train on the first 60 %, calibrate on the next 10 %, test on the last 30 %."""
    table, labels = honest(), calls()[1]
    train, test = int(0.6 * len(labels)), int(0.7 * len(labels))
    encoding = learn_encoding(table.slice(0, train), table.column_names)
    matrix = encoding.matrix(table)
    held = slice(train, test)
    trees = Trees.fit(
        matrix[:train],
        labels[:train],
        RECIPE,
        categorical=encoding.categorical,
        later=(matrix[held], labels[held]),
    )
    scores = trees.scores(matrix)
    return TimeOrder(
        scores[test:],
        labels[test:],
        fit_platt(scores[held], labels[held]),
        fit_isotonic(scores[held], labels[held]),
    )


@pytest.mark.slow
def test_random_folds_reach_the_published_auc() -> None:
    table, labels = honest(), calls()[1]
    encoding = learn_encoding(table, table.column_names)
    matrix = encoding.matrix(table)
    found = []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(matrix, labels):
        trees = Trees.fit(
            matrix[train],
            labels[train],
            msgspec.structs.replace(RECIPE, rounds=80),
            categorical=encoding.categorical,
        )
        found.append(area(trees.scores(matrix[test]), labels[test]))
    print(f"\nAUC in random folds without duration: {np.mean(found):.3f} ± {np.std(found):.3f}")
    assert np.mean(found) >= 0.79


def test_time_order_is_told_honestly_and_rolling_calibration_follows_the_drift() -> None:
    trial = time_order()
    at = np.arange(len(trial.labels))
    rolled = rolling_platt(trial.scores, trial.labels, at, at + 400, window=1500)
    figures = {
        "raw": trial.ece(Platt()),
        "static Platt": trial.ece(trial.platt),
        "static isotonic": trial.ece(trial.isotonic),
        "rolling Platt": expected_calibration_error(rolled, trial.labels),
    }
    auc = area(trial.scores, trial.labels)
    print(
        f"\nlast 30 % in time order: AUC {auc:.3f}",
        *(f"ECE {k} {v:.3f}" for k, v in figures.items()),
        sep="\n",
    )
    # random folds claim 0.80; in time order the same method falls far behind, but stays above chance
    assert 0.55 < auc < 0.70
    # the base rate doubles after the calibration: what was fitted once stays wrong by more than 0.1
    assert min(figures["raw"], figures["static Platt"], figures["static isotonic"]) > 0.1
    assert figures["rolling Platt"] < 0.5 * figures["static Platt"]


def test_the_length_of_the_call_is_suspected_and_refused_where_its_source_gives_no_dates() -> None:
    table, labels = calls()
    encoding = learn_encoding(table, table.column_names)
    matrix = encoding.matrix(table)
    found = {leak.feature: leak for leak in find_leaks(matrix, labels, encoding, 0.98)}
    assert set(found) == {"duration"}
    assert found["duration"].tell == "suspect"
    with pytest.raises(DataError, match=r"M403 Model term_deposit: the feature duration"):
        refuse("term_deposit", find_leaks(matrix, labels, encoding, 0.98, undated=("duration",)))
