"""What uplift models make of a published experiment; `python tests/statistics/hillstrom.py` prints the table.

Hillstrom 2008: 64,000 customers, a third each got an e-mail of men's or of women's wares, or none. Half of
each arm's comparison is learned from, the other half tests; five divisions by seed.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tilltal.models.dataset.features import learn_encoding
from tilltal.models.uplift.assignment import Assignment, assignment
from tilltal.models.uplift.dr_learner import DRLearner
from tilltal.models.uplift.effect import average_effect
from tilltal.models.uplift.experiment import Experiment, randomised_chance, weak_effects
from tilltal.models.uplift.findings import Learner
from tilltal.models.uplift.qini import Gains, HeldOut, Interval, gains
from tilltal.models.uplift.t_learner import TLearner
from tilltal.models.uplift.verdict import weakness
from tilltal.models.uplift.x_learner import XLearner

SHARED = Path(os.environ.get("TILLTAL_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
FILE = SHARED / "data" / "hillstrom.parquet"
WOMEN, MEN = "Womens E-Mail", "Mens E-Mail"
SEEDS = range(5)
LEARNERS: dict[str, type[Learner]] = {"T": TLearner, "X": XLearner, "DR": DRLearner}
_FEATURES = (
    "recency",
    "history_segment",
    "history",
    "mens",
    "womens",
    "zip_code",
    "newbie",
    "channel",
)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One learner on one division: its areas beside the response model's, and the average effect."""

    learner: str
    seed: int
    gains: Gains
    average: Interval | None


def experiment_of(arm: str, outcome: str = "visit") -> Experiment:
    """Return one e-mail against none."""
    everybody = pq.read_table(FILE)
    rows = everybody.filter(pc.is_in(everybody["segment"], pa.array([arm, "No E-Mail"])))
    encoding = learn_encoding(rows, _FEATURES)
    treated = np.array([segment == arm for segment in rows["segment"].to_pylist()])
    return Experiment(
        features=encoding.matrix(rows),
        treated=treated,
        outcome=rows[outcome].to_numpy().astype(np.bool_),
        chance=randomised_chance(treated),
        categorical=encoding.categorical,
    )


def checked(experiment: Experiment) -> Assignment:
    """Return whether chance alone seems to have assigned."""
    return assignment(experiment.features, experiment.treated, weak_effects(1, 2), experiment.categorical)


def run(experiment: Experiment, learner: str, seed: int, draws: int = 1000) -> Run:
    """Learn from one half, test on the other."""
    recipe = weak_effects(seed, 2)
    learns: NDArray[np.bool_] = np.random.default_rng(seed).random(len(experiment)) < 0.5
    learned, held = experiment.of(learns), experiment.of(~learns)
    effects = LEARNERS[learner].fit(learned, recipe).effects(held.features, 2)
    response = learned.response(learned.treated, recipe).scores(held.features, 2)
    tested = HeldOut(treated=held.treated, outcome=held.outcome, weights=held.weights)
    found = gains(effects, response, tested, seed, draws)
    return Run(learner=learner, seed=seed, gains=found, average=average_effect(tested))


def main() -> None:
    """Print each learner's Qini, its mean over the divisions, and the verdict of the first."""
    print("arm            outcome     learner  Qini x 1000  (sd)   response  first division")
    for arm in (WOMEN, MEN):
        for outcome in ("visit", "conversion"):
            experiment = experiment_of(arm, outcome)
            for learner in LEARNERS:
                runs = [run(experiment, learner, seed) for seed in SEEDS]
                qini = [1000 * one.gains.qini.value for one in runs]
                response = 1000 * np.mean([one.gains.other.value for one in runs])
                said = weakness(runs[0].gains) or f"accepted: Qini {runs[0].gains.qini}"
                print(
                    f"{arm:14} {outcome:11} {learner:8} {np.mean(qini):11.2f}  {np.std(qini):5.2f}"
                    f"  {response:8.2f}  {said}"
                )


if __name__ == "__main__":
    main()
