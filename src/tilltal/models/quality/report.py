"""Report: all that was found out about a model while training it, as values; `card` puts it in words."""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

from tilltal.models.baseline import BetaRate
from tilltal.models.dataset.features import Dropped
from tilltal.models.quality.drift import Drift
from tilltal.models.quality.evaluation import Evaluation
from tilltal.models.quality.leak import Leak

Role = Literal["train", "calibrate", "train and calibrate", "test", "left out"]


class SnapshotQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot in the acceptance test: its part, what the trial model said there and what came true.

    `said` and `auc` are absent where no trial was fitted and for slices it learned from, where they would
    flatter; `auc` also where only one answer occurs.
    """

    day: date
    role: Role
    rows: int
    positives: int
    said: float | None = None
    auc: float | None = None


class FeatureUse(msgspec.Struct, frozen=True, kw_only=True):
    """A feature, its share of the trees' gain, and its PSI between the training and the test slice."""

    name: str
    importance: float
    drift: Drift


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out. `test` is absent where the data did not allow a time-ordered test.

    `random_auc` is what a random division of the same rows would have claimed, where it was asked for.
    """

    is_accepted: bool
    verdict: str
    base_rate: BetaRate
    rows: int
    positives: int
    snapshots: tuple[SnapshotQuality, ...] = ()
    test: Evaluation | None = None
    random_auc: float | None = None
    trees: int = 0
    features: tuple[FeatureUse, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    leaks: tuple[Leak, ...] = ()
    score_drift: Drift | None = None
    notes: tuple[str, ...] = ()
