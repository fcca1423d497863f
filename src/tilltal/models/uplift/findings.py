"""Findings: what an experiment showed about effects, as values; the model file keeps them, the card tells."""

from __future__ import annotations

import msgspec

from tilltal.models.quality.evaluation import Auc
from tilltal.models.uplift.dr_learner import DRLearner
from tilltal.models.uplift.effect import Tenth
from tilltal.models.uplift.qini import Gains, Interval
from tilltal.models.uplift.t_learner import TLearner
from tilltal.models.uplift.x_learner import XLearner

Learner = TLearner | XLearner | DRLearner


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What held-out customers showed; `path` are points (share targeted, gain) of the Qini curve."""

    rows: int
    gains: Gains
    tenths: tuple[Tenth, ...]
    path: tuple[tuple[float, float], ...]


class Uplift(msgspec.Struct, frozen=True, kw_only=True):
    """What an uplift model knows.

    `learner` is absent where no order of customers was accepted: everybody has the `average` effect. That is
    absent, too, where nothing could be compared: nobody has one.
    """

    treated: int
    control: int
    average: Interval | None
    assignment: Auc | None = None
    trial: Trial | None = None
    learner: Learner | None = None
