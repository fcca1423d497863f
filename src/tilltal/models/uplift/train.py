"""Training: from the rows of an experiment to effects that proved themselves, or to the average effect.

1. Who was treated is tested against what was known before; where chance did not decide it, nothing is
   trained, unless the definition says so.
2. A trial learns from some customers and is tested on the others: the latest rounds of the experiment where
   their answers come after those it learned from, else a part of the customers by chance.
3. Where its order of customers beats noise and the response model, the learner in use learns from all.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tilltal.core.time import parse_window
from tilltal.models.baseline import BetaRate
from tilltal.models.calibration import Labels, Vector
from tilltal.models.dataset.features import Encoding, learn_encoding, select_features
from tilltal.models.dataset.rows import Rows
from tilltal.models.dataset.snapshots import label_end_day
from tilltal.models.fitting import Task, frozen_bins, frozen_scores
from tilltal.models.model import Content, Scorer, scorer
from tilltal.models.propensity import Recipe
from tilltal.models.quality.leak import Leak
from tilltal.models.quality.report import Report
from tilltal.models.training import check_leaks
from tilltal.models.uplift.assigned import TREATED
from tilltal.models.uplift.assignment import Assignment, assignment, require_random
from tilltal.models.uplift.dr_learner import DRLearner
from tilltal.models.uplift.effect import average_effect, tenths
from tilltal.models.uplift.experiment import Experiment, randomised_chance, weak_effects
from tilltal.models.uplift.findings import Learner, Trial, Uplift
from tilltal.models.uplift.qini import Curve, HeldOut, Interval, curve, gains
from tilltal.models.uplift.t_learner import TLearner
from tilltal.models.uplift.verdict import accepted, rejected, weakness
from tilltal.models.uplift.x_learner import XLearner
from tilltal.workspace.definitions.models import Model as Definition
from tilltal.workspace.definitions.models import Uplift as Design

FEWEST = 400  # rows in each arm of each part: fewer, and trees with large leaves cannot split
_POINTS = 101
_LEARNERS: dict[str, type[Learner]] = {"t": TLearner, "x": XLearner, "dr": DRLearner}


class _Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment encoded, and what was found on the way."""

    experiment: Experiment
    encoding: Encoding
    assignment: Assignment
    leaks: tuple[Leak, ...]


def train_uplift(table: pa.Table, task: Task, design: Design, *, undated: Collection[str] = ()) -> Scorer:
    """Train, test on customers not seen, and return effects or the average effect.

    Args:
        table: `profile` BIGINT, `snapshot` DATE, names of the profile, `label` BOOLEAN, `is treated`
            BOOLEAN, as `assigned.assigned_rows_sql` gives them, all snapshots together.
        task: what is to be trained.
        design: how the experiment was made.
        undated: names whose source has neither the time of a value nor of its arrival.

    Raises:
        WorkspaceError: M401, M402 where the definition chooses no usable features.
        DataError: M403 where a feature knows the future, M410 where chance did not decide who was treated.
    """
    rows, treated = Rows.of(table), _treated(table)
    tested = held_out(rows, task.definition, design)
    lack = _lack(treated, rows.labels, tested, task.definition)
    if lack:
        return _stored(
            task, _report(rows, lack, _average(rows, treated), design.otherwise), _known(treated, rows)
        )
    ready = _prepared(table, rows, treated, task, design, undated)
    return _judged(ready, rows, _trial(ready.experiment, tested, task, design), task, design)


def no_effect(table: pa.Table, task: Task, why: str) -> Scorer:
    """Return what answers where an experiment cannot be used: nothing, and the reason."""
    rows, treated = Rows.of(table), _treated(table)
    known = msgspec.structs.replace(_known(treated, rows), average=None)
    return _stored(task, _report(rows, why, None), known)


def held_out(rows: Rows, definition: Definition, design: Design) -> NDArray[np.bool_]:
    """Return which rows test: the latest rounds if the others were answered before them, else by customer."""
    horizon, wanted = parse_window(definition.horizon), design.holdout * len(rows)
    days = rows.distinct_days
    late: tuple[int, ...] = ()
    for number in range(len(days) - 1, 0, -1):
        late = (number, *late)
        if rows.of_days(days[number:]).sum() >= wanted:
            break
    if late and label_end_day(days[late[0] - 1], horizon) <= days[late[0]]:
        return rows.of_days(days[late[0] :])
    distinct, place = np.unique(rows.profiles, return_inverse=True)
    chosen: NDArray[np.bool_] = np.random.default_rng(definition.seed).random(len(distinct)) < design.holdout
    return chosen[place]


def _prepared(
    table: pa.Table, rows: Rows, treated: Labels, task: Task, design: Design, undated: Collection[str]
) -> _Prepared:
    chosen = [name for name in table.column_names if name != TREATED]
    names = select_features(task.definition.features, task.definition.exclude, chosen)
    leaks = check_leaks(table, rows, names, task, (), undated)
    encoding = learn_encoding(table, names)
    matrix = encoding.matrix(table)
    found = assignment(matrix, treated, _recipe(task), encoding.categorical)
    if design.randomised:
        require_random(task.name, found)
    experiment = Experiment(
        features=matrix,
        treated=treated,
        outcome=rows.labels,
        chance=randomised_chance(treated) if design.randomised else found.chance,
        categorical=encoding.categorical,
    )
    return _Prepared(experiment=experiment, encoding=encoding, assignment=found, leaks=leaks)


def _judged(ready: _Prepared, rows: Rows, trial: Trial, task: Task, design: Design) -> Scorer:
    """Return the learner in use, which learns from all, or the average effect."""
    average, weak = average_effect(_tested(ready.experiment)), weakness(trial.gains)
    report = msgspec.structs.replace(
        _report(rows, weak, average, design.otherwise),
        is_accepted=not weak,
        dropped=ready.encoding.dropped,
        leaks=ready.leaks,
        notes=_notes(design, ready.assignment),
    )
    known = msgspec.structs.replace(
        _known(ready.experiment.treated, rows), average=average, assignment=ready.assignment.auc, trial=trial
    )
    if weak:
        return _stored(task, report, known)
    learner = _LEARNERS[design.learner].fit(ready.experiment, _recipe(task))
    effects = learner.effects(ready.experiment.features, task.threads)
    content = Content(
        name=task.name,
        definition=task.definition,
        definition_hash=task.hash,
        report=msgspec.structs.replace(report, verdict=accepted(trial.gains, average, trial.rows)),
        encoding=ready.encoding,
        bins=frozen_bins(ready.encoding, ready.experiment.features),
        score_bins=frozen_scores(effects),
        uplift=msgspec.structs.replace(known, learner=learner),
    )
    return scorer(content)


def _trial(experiment: Experiment, tested: Labels, task: Task, design: Design) -> Trial:
    """Learn from the rows that do not test; measure on those that do, beside who answers when treated."""
    recipe = _recipe(task)
    learned, held = experiment.of(~tested), experiment.of(tested)
    effects = _LEARNERS[design.learner].fit(learned, recipe).effects(held.features, task.threads)
    response = learned.response(learned.treated, recipe).scores(held.features, task.threads)
    seen = _tested(held)
    return Trial(
        rows=len(held),
        gains=gains(effects, response, seen, task.definition.seed),
        tenths=tenths(effects, seen),
        path=_path(curve(effects, seen)),
    )


def _tested(experiment: Experiment) -> HeldOut:
    return HeldOut(treated=experiment.treated, outcome=experiment.outcome, weights=experiment.weights)


def _treated(table: pa.Table) -> Labels:
    treated: Labels = table.column(TREATED).cast(pa.bool_()).to_numpy().astype(np.bool_)
    return treated


def _lack(treated: Labels, labels: Labels, tested: Labels, definition: Definition) -> str:
    """Say what is missing for a trial, or nothing."""
    for part, name in ((~tested, "to learn from"), (tested, "to test on")):
        for arm, group in ((treated, "treated"), (~treated, "control")):
            count = int((part & arm).sum())
            if count < FEWEST:
                return f"{count:,} customers of the {group} group {name}, {FEWEST:,} needed"
    positives, needed = int(labels[~tested].sum()), definition.acceptance.positives
    return "" if positives >= needed else f"{positives:,} answers of yes to learn from, {needed:,} needed"


def _notes(design: Design, found: Assignment) -> tuple[str, ...]:
    if design.randomised:
        return ()
    note = (
        f"Chance did not decide who was treated (AUC {found.auc} of the choice). Rows are weighted by what"
        " the features show of it; where anything else decided, the effects are wrong."
    )
    return (note,)


def _report(
    rows: Rows, weak: str, average: Interval | None, otherwise: Literal["average", "none"] = "average"
) -> Report:
    positives = int(rows.labels.sum())
    return Report(
        is_accepted=False,
        verdict=rejected(weak, average, otherwise),
        base_rate=BetaRate(positives=positives, rows=len(rows)),
        rows=len(rows),
        positives=positives,
    )


def _known(treated: Labels, rows: Rows) -> Uplift:
    count = int(treated.sum())
    return Uplift(treated=count, control=len(rows) - count, average=_average(rows, treated))


def _average(rows: Rows, treated: Labels) -> Interval | None:
    return average_effect(HeldOut(treated=treated, outcome=rows.labels, weights=np.ones(len(rows))))


def _recipe(task: Task) -> Recipe:
    return weak_effects(task.definition.seed, task.threads)


def _path(found: Curve) -> tuple[tuple[float, float], ...]:
    shares: Vector = np.linspace(0, 1, _POINTS)
    return tuple(zip(shares.tolist(), np.interp(shares, found.shares, found.gains).tolist(), strict=True))


def _stored(task: Task, report: Report, known: Uplift) -> Scorer:
    content = Content(
        name=task.name,
        definition=task.definition,
        definition_hash=task.hash,
        report=report,
        uplift=known,
    )
    return scorer(content)
