"""Many adaptive models asked at once: each predictor is binned once, then one sum per model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import expit

from tilltal.models.adaptive.bins import AnyBins
from tilltal.models.adaptive.layout import BANDS, Layout, banded
from tilltal.models.adaptive.levelling import AS_IT_IS, bent
from tilltal.models.adaptive.model import AdaptiveModel, Case
from tilltal.models.calibration import Platt

Floats = npt.NDArray[np.float64]
_PER_UNIT = banded(1) - banded(0)


class Known(msgspec.Struct, frozen=True):
    """For a profile, by model: the probability of a yes, and how many answers stand behind it.

    `rows` are those of the table in which the profile lies. `bands` are those of the models, of which the
    table counts `answers`.
    """

    rates: Floats
    rows: list[int]
    bands: npt.NDArray[np.intp]
    answers: Floats

    @property
    def evidence(self) -> Floats:
        """How many answers stand behind each probability: to be asked before the table learns more."""
        return self.answers.take(self.bands)


class AdaptiveTable:
    """The weights of m models as a matrix: a row for each bin of each predictor, a column for each model.

    `slots` says where each predictor lies among a profile's values. Models of different methods and bins
    stand side by side. Scores lie in the matrix in widths of a band, of models with steps counted on from
    model to model: so the whole part of such a sum is the band among those of all models.
    """

    __slots__ = (
        "_evidence",
        "_features",
        "_highest",
        "_lines",
        "_lowest",
        "_matrix",
        "_models",
        "_rows",
        "_slots",
        "_smooth",
        "_starts",
        "_steps",
        "at",
    )

    def __init__(self, models: Sequence[AdaptiveModel], slots: Mapping[str, int], at: int) -> None:
        self._models = tuple(models)
        self._slots = tuple(
            tuple(slots[name] for name in model.layout.adaptive.features) for model in self._models
        )
        self._starts, self._features, size = _rows_of(self._models, slots)
        self._rows = tuple(_cells(model, self._starts) for model in self._models)
        self._matrix = np.zeros((size, len(self._models)))
        self._steps, self._evidence = (np.zeros(BANDS * len(self._models)) for _ in range(2))
        self._lowest = np.arange(0.0, BANDS * len(self._models), BANDS)
        self._highest = self._lowest + (BANDS - 1)
        self._smooth = np.zeros(0, dtype=np.intp)
        self._lines: dict[int, Platt] = {}
        self.at = at
        self.refresh(at)

    def refresh(self, at: int) -> None:
        """Let every model's answers weigh as at an instant (microseconds): after a while, not each time."""
        self.at = at
        for number in range(len(self._models)):
            self.update(number)

    def level(self, number: int, line: Platt) -> None:
        """Let a model's answers be corrected by a line from its next update on."""
        self._lines[number] = line

    def update(self, number: int) -> None:
        """Take over what a model has learned."""
        scoring = bent(self._models[number].scoring(self.at), self._lines.get(number, AS_IT_IS))
        first = BANDS * number
        bands = slice(first, first + BANDS)
        self._evidence[bands] = scoring.evidence
        self._matrix[0, number] = banded(scoring.start) + (first if scoring.steps else 0)
        self._matrix[self._rows[number], number] = _PER_UNIT * np.asarray(scoring.weights[1:])
        others = self._smooth[self._smooth != number]
        if scoring.steps:
            self._steps[bands] = scoring.steps
            self._smooth = others
        else:
            self._smooth = np.append(others, number)

    def rates(self, values: Sequence[object]) -> Floats:
        """Return the probability of each model for a profile's values by slot."""
        return self.known(values).rates

    def known(self, values: Sequence[object]) -> Known:
        """Return the probability of each model and the evidence behind it, for a profile's values by slot."""
        rows = [0]
        for slot, start, bin_of in self._features:
            rows.append(start + bin_of(values[slot]))
        sums: Floats = np.add.reduce(self._matrix.take(rows, 0), 0)
        bands = np.minimum(np.maximum(sums, self._lowest), self._highest).astype(np.intp)
        rates = self._steps.take(bands)
        if self._smooth.size:
            rates[self._smooth] = expit((sums[self._smooth] - banded(0)) / _PER_UNIT)
        return Known(rates, rows, bands, self._evidence)

    def cells_of(self, layout: Layout) -> tuple[tuple[int, int], ...]:
        """Return for each predictor of a layout its place among a profile's rows, and from row to cell."""
        places = {start: place for place, (_, start, _) in enumerate(self._features, start=1)}
        features = zip(layout.adaptive.features, layout.bins, layout.starts, strict=True)
        found = [(self._starts[name, bins], first) for name, bins, first in features]
        return tuple([(places[start], first - start) for start, first in found])

    def case(self, number: int, values: Sequence[object], at: int) -> Case:
        """Return the case of a model for a profile's values by slot, to be kept with the decision."""
        return self._models[number].case([values[slot] for slot in self._slots[number]], at)


_BinOf = Callable[[object], int]


def _rows_of(
    models: Sequence[AdaptiveModel], slots: Mapping[str, int]
) -> tuple[dict[tuple[str, AnyBins], int], tuple[tuple[int, int, _BinOf], ...], int]:
    """Return the first row of each predictor with its bins, how to find its row, and how many rows."""
    starts: dict[tuple[str, AnyBins], int] = {}
    features: list[tuple[int, int, _BinOf]] = []
    row = 1  # row 0 holds where each model starts
    for model in models:
        for name, bins in zip(model.layout.adaptive.features, model.layout.bins, strict=True):
            if (name, bins) not in starts:
                starts[name, bins] = row
                features.append((slots[name], row, bins.of))
                row += bins.size
    return starts, tuple(features), row


def _cells(model: AdaptiveModel, starts: Mapping[tuple[str, AnyBins], int]) -> list[int]:
    """Return the matrix row of each cell of a model's predictors, in order."""
    features = zip(model.layout.adaptive.features, model.layout.bins, strict=True)
    return [starts[name, each] + place for name, each in features for place in range(each.size)]
