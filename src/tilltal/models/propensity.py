"""Propensity: gradient-boosted trees on encoded features, the same text from the same rows every time.

Ke et al. 2017, "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 30. Few and small
trees: for a million customers and ten models the cost of scoring is the number of trees times their depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Self

import lightgbm as lgb
import msgspec
import numpy as np
from lightgbm.callback import CallbackEnv
from numpy.typing import NDArray

from tilltal.core.errors import DataError
from tilltal.models import shapley
from tilltal.models.dataset.features import Matrix

Vector = NDArray[np.float64]
Labels = NDArray[np.bool_]

MANY_ROWS = 1000  # from here on `shapley` is faster than LightGBM's own values, and equal
_END = "end of trees\n"


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How trees are grown. The defaults suit 1,000 to 1,000,000 rows of customers.

    `least` trees are kept however soon log loss stops falling: where the base rate moves between slices, the
    first trees lose more by their level, which calibration mends, than they gain by their order.
    With the objective `regression` the trees learn the mean of any number, and scores are such means.
    """

    rounds: int = 100
    least: int = 20
    patience: int = 20
    leaves: int = 12
    learning_rate: float = 0.1
    rows_per_leaf: int = 40
    bins: int = 127
    l2: float = 1.0
    objective: Literal["binary", "regression"] = "binary"
    seed: int = 1
    threads: int = 0


class Trees:
    """A fitted booster. Scores are log-odds, not yet calibrated; of a regression, means."""

    def __init__(self, text: str) -> None:
        """Read a booster from its own text.

        Raises:
            DataError: M406 where the text is no booster.
        """
        if not text.startswith("tree\n") or not text.endswith(_END):
            raise broken_model("its trees are incomplete")
        try:
            self._booster = lgb.Booster(model_str=text)
        except lgb.basic.LightGBMError as error:
            raise broken_model(str(error)) from error
        self.text = text

    @classmethod
    def fit(
        cls,
        features: Matrix,
        labels: Labels | Vector,
        recipe: Recipe,
        *,
        categorical: Sequence[int] = (),
        later: tuple[Matrix, Labels] | None = None,
    ) -> Self:
        """Grow trees; with `later` rows, stop where log loss on them no longer falls.

        >>> rng = np.random.default_rng(1)
        >>> x = rng.normal(size=(2000, 1)).astype(np.float32)
        >>> y = rng.random(2000) < 1 / (1 + np.exp(-2 * x[:, 0]))
        >>> trees = Trees.fit(x, y, Recipe(rounds=20, threads=1))
        >>> low, high = trees.scores(np.array([[-1], [1]], dtype=np.float32))
        >>> bool(low < 0 < high)
        True
        """
        columns = list(categorical)
        data = lgb.Dataset(
            features, labels.astype(np.float32), categorical_feature=columns, free_raw_data=True
        )
        held = [data.create_valid(later[0], later[1].astype(np.float32))] if later is not None else []
        stop: list[Callable[[CallbackEnv], None]] = []
        if later is not None:
            stop.append(lgb.early_stopping(recipe.patience, verbose=False))
        booster = lgb.train(
            _parameters(recipe),
            data,
            recipe.rounds,
            valid_sets=held,
            callbacks=stop,
            keep_training_booster=True,  # else the trees after the best are lost
        )
        best = max(booster.best_iteration, recipe.least) if later is not None else recipe.rounds
        text = booster.model_to_string(num_iteration=best)
        return cls(text[: text.index(_END) + len(_END)])  # what follows records the threads used

    @property
    def rounds(self) -> int:
        """Number of trees."""
        return int(self._booster.num_trees())

    def scores(self, features: Matrix, threads: int = 1) -> Vector:
        """Return log-odds, or a regression's means, one per row."""
        if not len(features):
            return np.empty(0)
        return np.asarray(self._booster.predict(features, raw_score=True, num_threads=threads), np.float64)

    def contributions(self, features: Matrix, threads: int = 1) -> Vector:
        """Return SHAP values (rows, features + 1) in log-odds; the last column is the average customer."""
        if not len(features):
            return np.empty((0, features.shape[1] + 1))
        if len(features) >= MANY_ROWS:
            return shapley.contributions(self._booster, features, threads)
        return np.asarray(self._booster.predict(features, pred_contrib=True, num_threads=threads), np.float64)

    def importance(self) -> Vector:
        """Return each feature's share of the loss the trees removed; sums to 1, or all 0 without a split."""
        gains: Vector = self._booster.feature_importance("gain").astype(np.float64)
        return gains / max(float(gains.sum()), np.finfo(np.float64).tiny)


def broken_model(why: str) -> DataError:
    """Return the error for a model file that cannot be read."""
    return DataError.of(
        "M406",
        f"The stored model cannot be read: {why}.",
        hint="Delete it and train again (`tilltal refresh`).",
    )


def _parameters(recipe: Recipe) -> dict[str, str | int | float | bool]:
    return {
        "objective": recipe.objective,
        "metric": "binary_logloss" if recipe.objective == "binary" else "l2",
        "num_leaves": recipe.leaves,
        "learning_rate": recipe.learning_rate,
        "min_data_in_leaf": recipe.rows_per_leaf,
        "max_bin": recipe.bins,
        "lambda_l2": recipe.l2,
        "cat_smooth": 20.0,
        "max_cat_threshold": 16,
        "feature_fraction": 0.8,
        "seed": recipe.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": recipe.threads,
        "verbosity": -1,
    }
