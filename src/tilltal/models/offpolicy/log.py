"""Log: decisions that were made, with the probability of each, and what another policy would have done."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from tilltal.models.calibration import Vector
from tilltal.models.dataset.features import Matrix

Numbers = NDArray[np.int64]


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of decisions; k is the number of actions, saying nothing among them where it is one.

    Args:
        shown: place of the action that was shown, (rows,).
        reward: what came of it, (rows,).
        probability: with which the logging policy chose it then, within (0, 1], (rows,).
        policy: probability with which the new policy chooses each action, (rows, k), rows sum to 1.
        names: the k actions.
        logging: the logging policy's probability of every action, (rows, k), where it was kept.
        features: what both policies knew, float32 (rows, features), for the estimators that model rewards.
        categorical: columns of `features` that hold categories.
        customers: whose row it is; rows of one customer are not independent. Each its own if absent.
    """

    shown: Numbers
    reward: Vector
    probability: Vector
    policy: Vector
    names: tuple[str, ...]
    logging: Vector | None = None
    features: Matrix | None = None
    categorical: tuple[int, ...] = ()
    customers: Numbers | None = None

    def __len__(self) -> int:
        return len(self.shown)

    @property
    def chosen(self) -> Vector:
        """The new policy's probability of what was shown."""
        chosen: Vector = self.policy[np.arange(len(self)), self.shown]
        return chosen

    @property
    def weights(self) -> Vector:
        """How much more often the new policy shows it, w = π(a|x) / μ(a|x); 1 on average over all rows."""
        return self.chosen / self.probability
