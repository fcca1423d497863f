"""A model in use: score many, explain some, keep as bytes. Made by `training.train`, read by `from_bytes`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import date

import msgspec
import numpy as np
import pyarrow as pa

from tilltal.core.errors import DataError
from tilltal.models.calibration import Calibrator, Platt, Vector
from tilltal.models.dataset.features import Encoding, Matrix, RowReader
from tilltal.models.propensity import Trees, broken_model
from tilltal.models.quality.drift import Drift, FrozenBins, psi
from tilltal.models.quality.report import Report
from tilltal.models.reasons import Reason, Strongest, strongest
from tilltal.models.uplift.findings import Uplift
from tilltal.workspace.definitions.models import Model as Definition

_MAGIC, _FORMAT = b"tilltal-model", b"1"
_CHUNK = 1 << 18  # rows encoded at once: 30 features of float32 are 30 MB


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file holds.

    Empty `trees` mean that the base rate answers; `uplift` is there where effects are the answer.
    """

    name: str
    definition: Definition
    definition_hash: str
    report: Report
    encoding: Encoding = Encoding(features=())
    calibrator: Calibrator = Platt()
    bins: tuple[FrozenBins, ...] = ()
    score_bins: FrozenBins | None = None
    trees: str = ""
    uplift: Uplift | None = None


class BaseRate:
    """Stands in where no model was accepted: everybody has the base rate, and there are no reasons."""

    def __init__(self, content: Content) -> None:
        self.content = content

    @property
    def report(self) -> Report:
        """What was found out, and why there is no model."""
        return self.content.report

    def score(self, table: pa.Table, as_of: date, threads: int = 1) -> Vector:
        """Return the base rate for each row; NaN where nobody was ever eligible, so nothing is known."""
        return np.full(table.num_rows, self.report.base_rate.mean)

    def score_one(self, values: Mapping[str, object], as_of: date) -> float:
        """Return the base rate."""
        return self.report.base_rate.mean

    def explain(self, table: pa.Table, as_of: date, count: int = 3) -> tuple[tuple[Reason, ...], ...]:
        """Return no reasons for each row."""
        nothing: tuple[Reason, ...] = ()
        return (nothing,) * int(table.num_rows)

    def to_bytes(self) -> bytes:
        """Return the model as bytes for `from_bytes`."""
        return _to_bytes(self.content)


class TrainedModel:
    """An accepted model."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self._trees = Trees(content.trees)
        self._row = RowReader(content.encoding)

    @property
    def report(self) -> Report:
        """What was found out in training."""
        return self.content.report

    def score(self, table: pa.Table, as_of: date, threads: int = 1) -> Vector:
        """Return calibrated probabilities, float64 within (0, 1), one per row.

        Args:
            table: profiles with a column per feature; other columns do not matter.
            as_of: the local date the profiles are as of.
            threads: how many to use; 0 = all.

        Raises:
            DataError: M404 or M405 where the profiles no longer fit the model.
        """
        return self.content.calibrator.probability(self._raw(table, as_of, threads))

    def score_one(self, values: Mapping[str, object], as_of: date) -> float:
        """Return one customer's probability: what `score` gives for a table of these values.

        Raises:
            DataError: M404 or M405 where the values no longer fit the model.
        """
        return float(
            self.content.calibrator.probability(self._trees.scores(self._row.read(values, as_of)))[0]
        )

    def strongest(self, table: pa.Table, as_of: date, count: int = 3, threads: int = 1) -> Strongest:
        """Return the strongest reasons of many rows as arrays; places refer to `content.encoding.names`."""
        parts = self._trees.contributions(self._matrix(table, as_of), threads)
        return strongest(parts, count)

    def explain(self, table: pa.Table, as_of: date, count: int = 3) -> tuple[tuple[Reason, ...], ...]:
        """Return the strongest reasons of each row with the customer's own values; for a few rows.

        Features without any effect on a row's score are no reason and are left out.
        """
        found = self.strongest(table, as_of, count)
        names = self.content.encoding.names
        return tuple(
            tuple(
                Reason(feature=names[place], value=_value(table, names[place], row), effect=effect)
                for place, effect in zip(places, effects, strict=True)
                if effect != 0
            )
            for row, (places, effects) in enumerate(
                zip(found.places.tolist(), found.effects.tolist(), strict=True)
            )
        )

    def drift(self, table: pa.Table, as_of: date, threads: int = 1) -> tuple[Drift, ...]:
        """Return the PSI of the score, then of each feature, against the training rows."""
        matrix = self._matrix(table, as_of)
        scores = self._trees.scores(matrix, threads)
        own = (psi(self.content.score_bins, scores),) if self.content.score_bins else ()
        return own + tuple(psi(bins, matrix[:, i]) for i, bins in enumerate(self.content.bins))

    def to_bytes(self) -> bytes:
        """Return the model as bytes for `from_bytes`."""
        return _to_bytes(self.content)

    def _matrix(self, table: pa.Table, as_of: date) -> Matrix:
        return self.content.encoding.matrix(table, as_of)

    def _raw(self, table: pa.Table, as_of: date, threads: int) -> Vector:
        starts = range(0, table.num_rows, _CHUNK)
        parts = [self._trees.scores(self._matrix(table.slice(i, _CHUNK), as_of), threads) for i in starts]
        return np.concatenate(parts) if parts else np.empty(0)


class UpliftModel:
    """What an action adds to the probability of a yes: each customer's own, or the average of all."""

    def __init__(self, content: Content, known: Uplift) -> None:
        self.content = content
        self.known = known
        self._row = RowReader(content.encoding)

    @property
    def report(self) -> Report:
        """What was found out in training."""
        return self.content.report

    def score(self, table: pa.Table, as_of: date, threads: int = 1) -> Vector:
        """Return additional probabilities within [−1, 1], one per row.

        NaN where there was no experiment, or no effect was found and the definition wants none then.

        Args:
            table: profiles with a column per feature; other columns do not matter.
            as_of: the local date the profiles are as of.
            threads: how many to use; 0 = all.

        Raises:
            DataError: M404 or M405 where the profiles no longer fit the model.
        """
        learner = self.known.learner
        if learner is None:
            return np.full(table.num_rows, self._for_all)
        starts = range(0, table.num_rows, _CHUNK)
        matrices = (self.content.encoding.matrix(table.slice(i, _CHUNK), as_of) for i in starts)
        parts = [learner.effects(matrix, threads) for matrix in matrices]
        return np.concatenate(parts) if parts else np.empty(0)

    def score_one(self, values: Mapping[str, object], as_of: date) -> float:
        """Return one customer's additional probability: what `score` gives for a table of these values."""
        if self.known.learner is None:
            return self._for_all
        return float(self.known.learner.effects(self._row.read(values, as_of))[0])

    @property
    def _for_all(self) -> float:
        """What everybody has where no effect was found."""
        design, average = self.content.definition.uplift, self.known.average
        is_wanted = design is None or design.otherwise == "average"
        return average.value if average is not None and is_wanted else math.nan

    def explain(self, table: pa.Table, as_of: date, count: int = 3) -> tuple[tuple[Reason, ...], ...]:
        """Return no reasons for each row: a difference of two answers has none of its own."""
        nothing: tuple[Reason, ...] = ()
        return (nothing,) * int(table.num_rows)

    def to_bytes(self) -> bytes:
        """Return the model as bytes for `from_bytes`."""
        return _to_bytes(self.content)


Scorer = TrainedModel | BaseRate | UpliftModel


def scorer(content: Content) -> Scorer:
    """Return what answers for this content."""
    if content.uplift is not None:
        return UpliftModel(content, content.uplift)
    return TrainedModel(content) if content.trees else BaseRate(content)


def from_bytes(data: bytes) -> Scorer:
    """Read what `to_bytes` wrote.

    Raises:
        DataError: M406 where the bytes are damaged or no model, M407 where another version wrote them.
    """
    head, _, body = data.partition(b"\n")
    parts = head.split(b" ")
    if len(parts) != 3 or parts[0] != _MAGIC:
        raise broken_model("it does not begin like a model")
    if parts[1] != _FORMAT:
        raise DataError.of(
            "M407",
            f"The stored model has format {parts[1].decode(errors='replace')}, not {_FORMAT.decode()}.",
            hint="Train it again (`tilltal refresh`).",
        )
    if hashlib.sha256(body).hexdigest().encode() != parts[2]:
        raise broken_model("its bytes are not those that were written")
    try:
        return scorer(msgspec.json.decode(body, type=Content))
    except msgspec.MsgspecError as error:
        raise broken_model(str(error)) from error


def _to_bytes(content: Content) -> bytes:
    body = msgspec.json.encode(content)
    return b" ".join([_MAGIC, _FORMAT, hashlib.sha256(body).hexdigest().encode()]) + b"\n" + body


def _value(table: pa.Table, name: str, row: int) -> str | float | bool | None:
    """The customer's own value as JSON can hold it; dates in ISO form."""
    value = table.column(name)[row].as_py()
    if value is None or isinstance(value, str | bool):
        return value
    return value.isoformat() if isinstance(value, date) else float(value)
