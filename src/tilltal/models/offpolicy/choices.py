"""Choices: logged decisions one by one, each with its own candidates, gathered into a log.

What competed differs from decision to decision: an action that was no candidate had the probability 0, and a
new policy that would have shown it there cannot be judged by that decision (see `overlap`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from tilltal.core.errors import DataError
from tilltal.models.calibration import Vector
from tilltal.models.dataset.features import Matrix
from tilltal.models.offpolicy.log import Log


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One place of one decision.

    Args:
        customer: whose decision it was.
        shown: the action in the place; saying nothing is one, too.
        reward: what came of it.
        chances: with what probability the policy that ran would have shown each candidate; together 1.
        new: the same of the new policy; one action alone for a policy that does not explore.
    """

    customer: int
    shown: str
    reward: float
    chances: Mapping[str, float]
    new: Mapping[str, float]


def log_of(
    choices: Iterable[Choice], features: Matrix | None = None, categorical: tuple[int, ...] = ()
) -> Log:
    """Return the log of some choices; `features` has a row for each, in their order.

    Raises:
        DataError: M411 where the shown action was no candidate.

    >>> chances = {"card": 0.8, "fund": 0.2}
    >>> one = Choice(customer=1, shown="card", reward=1.0, chances=chances, new={"fund": 1.0})
    >>> log_of([one]).policy.tolist(), log_of([one]).probability.tolist()
    ([[0.0, 1.0]], [0.8])
    """
    made = tuple(choices)
    names = tuple(sorted({name for one in made for name in (one.shown, *one.chances, *one.new)}))
    place = {name: number for number, name in enumerate(names)}
    shown = np.array([place[one.shown] for one in made], dtype=np.int64)
    logging = _matrix((one.chances for one in made), len(made), place)
    probability: Vector = logging[np.arange(len(made)), shown]
    strange = int((probability <= 0).sum())
    if strange:
        raise DataError.of(
            "M411",
            f"The logged decisions cannot be evaluated: {strange:,} showed an action that was no candidate.",
            hint="`chances` are of every action that came through the funnel at that decision.",
        )
    return Log(
        shown=shown,
        reward=np.array([one.reward for one in made], dtype=np.float64),
        probability=probability,
        policy=_matrix((one.new for one in made), len(made), place),
        names=names,
        logging=logging,
        features=features,
        categorical=categorical,
        customers=np.array([one.customer for one in made], dtype=np.int64),
    )


def _matrix(rows: Iterable[Mapping[str, float]], count: int, place: Mapping[str, int]) -> Vector:
    found = np.zeros((count, len(place)))
    for number, row in enumerate(rows):
        for name, chance in row.items():
            found[number, place[name]] = chance
    return found
