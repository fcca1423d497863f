"""Many adaptive models asked at once: each predictor is binned once, then one sum per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from tilltal.models.adaptive.model import AdaptiveModel, Case


class AdaptiveTable:
    """The evidence of m models as a matrix: a row for each bin of each predictor, a column for each model.

    `slots` says where each predictor lies among a profile's values. Models share the bins of a predictor.
    """

    __slots__ = ("_features", "_matrix", "_models", "_rows", "_slots", "at")

    def __init__(self, models: Sequence[AdaptiveModel], slots: Mapping[str, int], at: int) -> None:
        self._models = tuple(models)
        self._slots = tuple(
            tuple(slots[name] for name in model.layout.adaptive.features) for model in self._models
        )
        bins = {
            name: each
            for model in self._models
            for name, each in zip(model.layout.adaptive.features, model.layout.bins, strict=True)
        }
        starts, row = {}, 1  # row 0 holds the intercepts
        for name, each in bins.items():
            starts[name] = row
            row += each.size
        self._features = tuple((slots[name], starts[name], each.of) for name, each in bins.items())
        self._rows = tuple(_rows(model, starts) for model in self._models)
        self._matrix = np.zeros((row, len(self._models)))
        self.at = at
        self.refresh(at)

    def refresh(self, at: int) -> None:
        """Let every model's evidence weigh as at an instant (microseconds): after a while, not each time."""
        self.at = at
        for number in range(len(self._models)):
            self.update(number)

    def update(self, number: int) -> None:
        """Take over what a model has learned."""
        model = self._models[number]
        evidence = model.evidence(self.at)
        self._matrix[0, number] = evidence.intercept
        self._matrix[self._rows[number], number] = evidence.slope * np.asarray(evidence.cells[1:])

    def rates(self, values: Sequence[object]) -> npt.NDArray[np.float64]:
        """Return the probability of each model for a profile's values by slot."""
        rows = [0, *[start + bin_of(values[slot]) for slot, start, bin_of in self._features]]
        odds = np.add.reduce(self._matrix.take(rows, 0), 0)
        rates: npt.NDArray[np.float64] = expit(odds)
        return rates

    def case(self, number: int, values: Sequence[object], at: int) -> Case:
        """Return the case of a model for a profile's values by slot, to be kept with the decision."""
        return self._models[number].case([values[slot] for slot in self._slots[number]], at)


def _rows(model: AdaptiveModel, starts: Mapping[str, int]) -> list[int]:
    """Return the matrix row of each cell of a model's predictors, in order."""
    features = zip(model.layout.adaptive.features, model.layout.bins, strict=True)
    return [starts[name] + place for name, each in features for place in range(each.size)]
