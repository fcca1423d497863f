"""Fitting: trees and calibration on the slices of one split."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tilltal.models.calibration import Calibrator, Vector, fit_calibrator
from tilltal.models.dataset.features import Encoding, Matrix, learn_encoding
from tilltal.models.dataset.rows import Rows
from tilltal.models.dataset.split import Split, held_out_customers
from tilltal.models.propensity import Recipe, Trees
from tilltal.models.quality.drift import FrozenBins, Values, freeze_categories, freeze_numbers
from tilltal.models.quality.evaluation import area
from tilltal.workspace.definitions.models import Model as Definition

_FROZEN_ROWS = 100_000  # enough for deciles


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be trained. `hash` is the content hash of the definitions, kept with the model."""

    name: str
    definition: Definition
    hash: str = ""
    threads: int = 0

    @property
    def recipe(self) -> Recipe:
        """How its trees are grown."""
        return Recipe(seed=self.definition.seed, threads=self.threads)


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """Trees and calibration of one split; `bins` freeze the rows the trees learned from.

    `held_scores` are the log-odds of the rows that calibrated, which the trees had not seen.
    """

    encoding: Encoding
    trees: Trees
    calibrator: Calibrator
    bins: tuple[FrozenBins, ...]
    held_scores: Vector

    def scores(self, table: pa.Table, threads: int) -> Vector:
        """Return the log-odds of a table with a `snapshot` column."""
        return self.trees.scores(self.encoding.matrix(table), threads)


def fit(
    table: pa.Table, rows: Rows, split: Split, names: Sequence[str], task: Task, *, trees: int | None = None
) -> Fit:
    """Learn from `split.train`, calibrate on `split.calibrate`.

    Without `trees` their number is where log loss on the calibrating rows stops falling: one number, so that
    the slice can serve for both.
    """
    learn, hold = _slices(rows, split, task.definition.seed)
    learned, held = table.filter(pa.array(learn)), table.filter(pa.array(hold))
    encoding = learn_encoding(learned, names)
    matrix, later = encoding.matrix(learned), encoding.matrix(held)
    recipe = task.recipe if trees is None else msgspec.structs.replace(task.recipe, rounds=trees)
    grown = Trees.fit(
        matrix,
        rows.labels[learn],
        recipe,
        categorical=encoding.categorical,
        later=(later, rows.labels[hold]) if trees is None else None,
    )
    scores = grown.scores(later, task.threads)
    calibrator = fit_calibrator(scores, rows.labels[hold], task.definition.calibration)
    bins = frozen_bins(encoding, matrix)
    return Fit(encoding=encoding, trees=grown, calibrator=calibrator, bins=bins, held_scores=scores)


def frozen_bins(encoding: Encoding, matrix: Matrix) -> tuple[FrozenBins, ...]:
    """Freeze how each feature is distributed."""
    part = matrix[:: max(len(matrix) // _FROZEN_ROWS, 1)]
    return tuple(
        freeze_categories(feature.name, part[:, i], len(feature.vocabulary))
        if feature.kind == "category"
        else freeze_numbers(feature.name, part[:, i])
        for i, feature in enumerate(encoding.features)
    )


def frozen_scores(scores: Values) -> FrozenBins:
    """Freeze how the score is distributed."""
    return freeze_numbers("score", scores)


def random_auc(table: pa.Table, rows: Rows, names: Sequence[str], task: Task, trees: int) -> float:
    """Return the AUC a random fifth of all rows would have claimed, to hold the time-ordered test against."""
    tested = np.random.default_rng(task.definition.seed).random(len(rows)) < 0.2
    encoding = learn_encoding(table, names)
    matrix = encoding.matrix(table)
    recipe = msgspec.structs.replace(task.recipe, rounds=trees)
    grown = Trees.fit(matrix[~tested], rows.labels[~tested], recipe, categorical=encoding.categorical)
    return area(grown.scores(matrix[tested], task.threads), rows.labels[tested])


def _slices(rows: Rows, split: Split, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    learn, hold = rows.of_days(split.train), rows.of_days(split.calibrate)
    if not split.by_customer:
        return learn, hold
    held = held_out_customers(rows.profiles, seed)
    return learn & ~held, hold & held
