"""Training: from a table of snapshots to a model that proved itself on the latest, or to the base rate.

1. The features are checked for leaks; a leak refuses the training.
2. A trial learns from the early snapshots, is stopped and calibrated on a later one, and tested on the latest
   (`dataset.split`).
3. Where the trial is accepted, the same procedure moves one slice on: the model that goes into use learns
   also from what calibrated the trial, and is calibrated on what tested it. The number of trees stays.
4. Where it is not, or there is too little data, everybody gets the base rate, and the verdict says why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date

import msgspec
import numpy as np
import pyarrow as pa

from tilltal.core.time import parse_window
from tilltal.models.calibration import Isotonic, Platt, Vector
from tilltal.models.dataset.features import learn_encoding, select_features
from tilltal.models.dataset.rows import Rows
from tilltal.models.dataset.split import Split, final_split, split_by_time
from tilltal.models.fitting import Fit, Task, fit, frozen_scores, random_auc
from tilltal.models.model import Content, Scorer, scorer
from tilltal.models.quality.drift import psi
from tilltal.models.quality.evaluation import Evaluation, area, evaluate
from tilltal.models.quality.leak import Leak, find_leaks, refuse, suspects
from tilltal.models.quality.report import FeatureUse, Report, Role, SnapshotQuality
from tilltal.models.verdict import accepted, base_rate_of, lack_of_data, notes, rejected, weakness

_UNCALIBRATED = Platt()


def train(
    table: pa.Table,
    task: Task,
    *,
    known_leaks: Iterable[Leak] = (),
    undated: Collection[str] = (),
    compare_random: bool = False,
) -> Scorer:
    """Train, test in time order, and return a model or the base rate.

    Args:
        table: `profile` BIGINT, `snapshot` DATE, names of the profile, `label` BOOLEAN; all snapshots
            together, as `dataset.labels.training_rows_sql` gives them.
        task: what is to be trained.
        known_leaks: what `quality.leak.changed_after` found.
        undated: names whose source has neither the time of a value nor of its arrival (`effective` only).
        compare_random: also measure what a random division would have claimed (one more fit).

    Raises:
        WorkspaceError: M401, M402 where the definition chooses no usable features.
        DataError: M403 where a feature knows the future.
    """
    definition, rows = task.definition, Rows.of(table)
    split = split_by_time(rows.distinct_days, parse_window(definition.horizon))
    lack = lack_of_data(rows, split, definition)
    if lack:
        return base_rate_only(table, task, lack)
    names = select_features(definition.features, definition.exclude, table.column_names)
    leaks = check_leaks(table, rows, names, task, known_leaks, undated)
    trial = fit(table, rows, split, names, task)
    test = _test(table, rows, split, trial, task)
    report = _report(table, rows, split, trial, test, task, leaks)
    if compare_random:
        claimed = random_auc(table, rows, names, task, trial.trees.rounds)
        report = msgspec.structs.replace(report, random_auc=claimed)
    weak = weakness(test, definition.acceptance)
    if weak:
        return _stored(task, msgspec.structs.replace(report, verdict=rejected(weak, report.base_rate)))
    passed = msgspec.structs.replace(report, is_accepted=True, verdict=accepted(test, split))
    return _in_use(table, rows, names, task, trial, passed)


def base_rate_only(table: pa.Table, task: Task, why: str) -> Scorer:
    """Return the base rate of a training table and the reason, without trying a model."""
    rows, horizon = Rows.of(table), parse_window(task.definition.horizon)
    split, rate = split_by_time(rows.distinct_days, horizon), base_rate_of(rows, horizon)
    report = Report(
        is_accepted=False,
        verdict=rejected(why, rate),
        base_rate=rate,
        rows=len(rows),
        positives=int(rows.labels.sum()),
        snapshots=tuple(_snapshot(day, rows, split) for day in rows.distinct_days),
    )
    return _stored(task, report)


def check_leaks(
    table: pa.Table,
    rows: Rows,
    names: Sequence[str],
    task: Task,
    known: Iterable[Leak],
    undated: Collection[str],
) -> tuple[Leak, ...]:
    """Return the features that give themselves away.

    Raises:
        DataError: M403 where one knows the future.
    """
    encoding = learn_encoding(table, names)
    limit = task.definition.acceptance.leak_auc
    found = (*known, *find_leaks(encoding.matrix(table), rows.labels, encoding, limit, undated))
    refuse(task.name, found)
    return found


def _test(table: pa.Table, rows: Rows, split: Split, trial: Fit, task: Task) -> Evaluation:
    tested = rows.of_days(split.test)
    scores = trial.scores(table.filter(pa.array(tested)), task.threads)
    return evaluate(
        _UNCALIBRATED.probability(scores), trial.calibrator.probability(scores), rows.labels[tested]
    )


def _report(
    table: pa.Table,
    rows: Rows,
    split: Split,
    trial: Fit,
    test: Evaluation,
    task: Task,
    leaks: tuple[Leak, ...],
) -> Report:
    scores = _fresh_scores(table, rows, split, trial, task)
    tested = rows.of_days(split.test)
    importance = trial.trees.importance()
    return Report(
        is_accepted=False,
        verdict="",
        base_rate=base_rate_of(rows, parse_window(task.definition.horizon)),
        rows=len(rows),
        positives=int(rows.labels.sum()),
        snapshots=tuple(_snapshot(day, rows, split, trial, scores) for day in rows.distinct_days),
        test=test,
        trees=trial.trees.rounds,
        features=_uses(table.filter(pa.array(tested)), trial, importance),
        dropped=trial.encoding.dropped,
        leaks=leaks + _new(suspects(test.auc.value, importance, trial.encoding), leaks),
        score_drift=psi(frozen_scores(trial.held_scores), scores[tested]),
        notes=notes(test, split, task.definition, is_isotonic=isinstance(trial.calibrator, Isotonic)),
    )


def _fresh_scores(table: pa.Table, rows: Rows, split: Split, trial: Fit, task: Task) -> Vector:
    """Log-odds of the rows the trial did not learn from; NaN for the others."""
    fresh = ~rows.of_days(split.train)
    scores = np.full(len(rows), np.nan)
    scores[fresh] = trial.scores(table.filter(pa.array(fresh)), task.threads)
    return scores


def _snapshot(
    day: date, rows: Rows, split: Split, trial: Fit | None = None, scores: Vector | None = None
) -> SnapshotQuality:
    own = rows.of_days((day,))
    labels = rows.labels[own]
    counted = SnapshotQuality(day=day, role=_role(day, split), rows=len(labels), positives=int(labels.sum()))
    if trial is None or scores is None or day in split.train:
        return counted
    value = area(scores[own], labels)
    said = float(trial.calibrator.probability(scores[own]).mean())
    return msgspec.structs.replace(counted, said=said, auc=None if np.isnan(value) else value)


def _role(day: date, split: Split) -> Role:
    if day in split.test:
        return "test"
    if split.by_customer and day in split.train:
        return "train and calibrate"
    if day in split.train:
        return "train"
    return "calibrate" if day in split.calibrate else "left out"


def _uses(tested: pa.Table, trial: Fit, importance: Vector) -> tuple[FeatureUse, ...]:
    """Features by importance, with their drift from the training to the test slice."""
    matrix = trial.encoding.matrix(tested)
    uses = [
        FeatureUse(name=bins.name, importance=float(importance[i]), drift=psi(bins, matrix[:, i]))
        for i, bins in enumerate(trial.bins)
    ]
    return tuple(sorted(uses, key=lambda use: (-use.importance, use.name)))


def _new(more: Iterable[Leak], known: Sequence[Leak]) -> tuple[Leak, ...]:
    named = {leak.feature for leak in known}
    return tuple(leak for leak in more if leak.feature not in named)


def _in_use(
    table: pa.Table, rows: Rows, names: Sequence[str], task: Task, trial: Fit, report: Report
) -> Scorer:
    split = final_split(rows.distinct_days, parse_window(task.definition.horizon))
    final = fit(table, rows, split, names, task, trees=trial.trees.rounds)
    content = Content(
        name=task.name,
        definition=task.definition,
        definition_hash=task.hash,
        report=report,
        encoding=final.encoding,
        calibrator=final.calibrator,
        bins=final.bins,
        score_bins=frozen_scores(final.held_scores),
        trees=final.trees.text,
    )
    return scorer(content)


def _stored(task: Task, report: Report) -> Scorer:
    return scorer(
        Content(name=task.name, definition=task.definition, definition_hash=task.hash, report=report)
    )
