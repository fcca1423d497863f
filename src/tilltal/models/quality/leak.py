"""Leaks: does a feature know the future?

Five tells, after Kaufman, Rosset & Perlich 2012 ("Leakage in data mining", ACM TKDD 6(4)):

- *alone*: one feature by itself separates the answers almost perfectly;
- *pure*: nearly all rows with one value, or without a value, are positive, though few rows are;
- *changed*: the feature's value at the snapshot is another when computed with what became known later;
- *undated*: its source has no dates of its own, so its values may be of later, and it is strong alone;
- *suspect*: strong alone only, or it lets the whole model look too good.

The last is said on the card, the others refuse the training. The first two find only gross leaks: a
feature may know a part of the future and stay below them. Only *changed* is certain, where a recomputation
exists.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tilltal.core.errors import DataError, Fault
from tilltal.models.baseline import percent
from tilltal.models.calibration import Labels, Vector
from tilltal.models.dataset.features import Encoding, Feature, Matrix
from tilltal.models.dataset.labels import PROFILE
from tilltal.models.quality.drift import FrozenBins, freeze_categories, freeze_numbers
from tilltal.models.quality.evaluation import area

SUSPECT_AUC = 0.80  # a healthy model as a whole lies between 0.55 and 0.80
SUSPECT_MODEL_AUC = 0.90
_PURE, _PURE_ROWS = 0.98, 30
_FEWEST = 10  # positives, and negatives, below which an AUC says nothing
_CHANGED = 0.01
_ROWS = 100_000  # enough to see a leak, and a second of work for 30 features

Tell = Literal["alone", "pure", "changed", "undated", "suspect"]


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """A feature that seems to know the future, by which tell, and the evidence in a sentence."""

    feature: str
    tell: Tell
    evidence: str

    @property
    def refuses(self) -> bool:
        """True where no model may be trained with it."""
        return self.tell != "suspect"


def find_leaks(
    matrix: Matrix, labels: Labels, encoding: Encoding, limit: float, undated: Collection[str] = ()
) -> tuple[Leak, ...]:
    """Return the features that give themselves away in the training rows, the strongest tell of each.

    Args:
        matrix: encoded rows, float32 (rows, features).
        labels: what happened after each snapshot.
        encoding: names and kinds of the columns.
        limit: `acceptance.leak_auc`.
        undated: features whose source has neither the time of a value nor of its arrival.
    """
    step = max(len(labels) // _ROWS, 1)
    matrix, labels = matrix[::step], labels[::step]
    yes = int(labels.sum())
    if min(yes, len(labels) - yes) < _FEWEST:
        return ()
    found = (_leak(matrix[:, i], labels, feature, limit) for i, feature in enumerate(encoding.features))
    return tuple(_dated(leak, undated) for leak in found if leak is not None)


def alone_auc(values: NDArray[np.float32], labels: Labels, feature: Feature) -> float:
    """Return how well one feature separates the answers by itself, 0.5 to 1.

    The better of two: its own order (numbers, either way round), and the rates of its bins or categories, the
    missing among them, learned on every second row and measured on the others.
    """
    binned = area(_rate_score(values, labels, feature), labels[1::2])
    present = ~np.isnan(values)
    yes = int(labels[present].sum())
    if feature.kind == "category" or min(yes, int(present.sum()) - yes) < _FEWEST:
        return binned
    # the missing stand below all values; whether that suits them, the binned figure says
    ranked = area(np.where(present, values, -np.inf), labels)
    return float(max(binned, ranked, 1 - ranked))


def changed_after(then: pa.Table, later: pa.Table, encoding: Encoding, as_of: date) -> tuple[Leak, ...]:
    """Return the features whose values as of a snapshot differ once later arrivals are known.

    Args:
        then: the profiles as of the snapshot from what had been received by then.
        later: the same instant computed from everything received until now.
        encoding: the features to compare; both tables have them.
        as_of: the snapshot's local date.
    """
    common = np.intersect1d(_ids(then), _ids(later))
    if not len(common):
        return ()
    before, after = (_aligned(table, common, encoding, as_of) for table in (then, later))
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    shares = 1 - same.mean(axis=0)
    return tuple(
        Leak(
            feature=name,
            tell="changed",
            evidence=f"for {percent(share)} of the customers its value as of {as_of} is another today",
        )
        for name, share in zip(encoding.names, shares.tolist(), strict=True)
        if share > _CHANGED
    )


def suspects(model_auc: float, importance: Vector, encoding: Encoding) -> tuple[Leak, ...]:
    """Return the feature that makes a whole model look too good, where one carries most of it."""
    place = int(np.argmax(importance))
    if model_auc <= SUSPECT_MODEL_AUC or importance[place] < 0.5:
        return ()
    evidence = (
        f"the model reaches an AUC of {model_auc:.2f}, {percent(float(importance[place]))} of it by this one"
    )
    return (Leak(feature=encoding.names[place], tell="suspect", evidence=evidence),)


def refuse(model: str, leaks: Iterable[Leak]) -> None:
    """Stop the training where a leak refuses it.

    Raises:
        DataError: M403, one fault per feature.
    """
    faults = [
        Fault(
            code="M403",
            message=f"Model {model}: the feature {leak.feature} seems to know the future: {leak.evidence}.",
            hint=(
                f"Put {leak.feature!r} under `exclude` of the model, take it from data known at the time, or,"
                " where these customers have had the outcome already, leave them out by `eligible`."
            ),
        )
        for leak in leaks
        if leak.refuses
    ]
    if faults:
        raise DataError(*faults)


def _leak(values: NDArray[np.float32], labels: Labels, feature: Feature, limit: float) -> Leak | None:
    value = alone_auc(values, labels, feature)
    if value >= limit:
        evidence = f"alone it reaches an AUC of {value:.3f}, the limit is {limit:g}"
        return Leak(feature=feature.name, tell="alone", evidence=evidence)
    pure = _pure(values, labels, feature)
    if pure:
        return Leak(feature=feature.name, tell="pure", evidence=pure)
    if value >= SUSPECT_AUC:
        evidence = f"alone it reaches an AUC of {value:.2f}"
        return Leak(feature=feature.name, tell="suspect", evidence=evidence)
    return None


def _dated(leak: Leak, undated: Collection[str]) -> Leak:
    if leak.refuses or leak.feature not in undated:
        return leak
    evidence = f"{leak.evidence}, but its source gives no dates, so its values may be later than the snapshot"
    return msgspec.structs.replace(leak, tell="undated", evidence=evidence)


def _bins(values: NDArray[np.float32], feature: Feature) -> FrozenBins:
    if feature.kind == "category":
        return freeze_categories(feature.name, values, len(feature.vocabulary))
    return freeze_numbers(feature.name, values, bins=20)


def _rate_score(values: NDArray[np.float32], labels: Labels, feature: Feature) -> Vector:
    """The positive rate of each odd row's bin, learned from the even rows."""
    bins = _bins(values, feature)
    places = bins.places(values)
    rows = np.bincount(places[::2], minlength=len(bins.counts))
    hits = np.bincount(places[::2], weights=labels[::2], minlength=len(bins.counts))
    rates = (hits + labels.mean()) / (rows + 1)
    score: Vector = rates[places[1::2]]
    return score


def _pure(values: NDArray[np.float32], labels: Labels, feature: Feature) -> str:
    """Say which group of rows is nearly all positive, or nothing."""
    if labels.mean() > 0.5:
        return ""
    for group, said in _groups(values, feature):
        rows, hits = int(group.sum()), int(labels[group].sum())
        if rows >= _PURE_ROWS and hits >= _PURE * rows:
            of_all = percent(float(labels.mean()))
            return f"{hits:,} of {rows:,} rows {said} have the outcome, but {of_all} of all rows"
    return ""


def _groups(values: NDArray[np.float32], feature: Feature) -> Iterable[tuple[NDArray[np.bool_], str]]:
    missing = np.isnan(values)
    yield missing, "where it is missing"
    yield ~missing, "where it is not missing"
    if feature.kind == "category":
        for code, text in enumerate(feature.vocabulary):
            yield values == code, f"where it is {text!r}"
    else:
        yield values == 0, "where it is 0"
        yield ~missing & (values != 0), "where it is not 0"


def _ids(table: pa.Table) -> NDArray[np.int64]:
    ids: NDArray[np.int64] = table.column(PROFILE).to_numpy()
    return ids


def _aligned(table: pa.Table, ids: NDArray[np.int64], encoding: Encoding, as_of: date) -> Matrix:
    own = _ids(table)
    order = np.argsort(own)
    return encoding.matrix(table, as_of)[order[np.searchsorted(own[order], ids)]]
