"""Verdict: is there enough data, and is the trial good enough? A sentence for every answer."""

from __future__ import annotations

from datetime import date
from math import sqrt

from tilltal.core.time import Window, parse_window
from tilltal.models.baseline import BetaRate, counted_positives, percent
from tilltal.models.dataset.rows import Rows
from tilltal.models.dataset.snapshots import label_end_day
from tilltal.models.dataset.split import Split
from tilltal.models.quality.evaluation import Evaluation
from tilltal.workspace.definitions.models import Acceptance
from tilltal.workspace.definitions.models import Model as Definition

_FEWEST_TESTED = 10  # of each answer in the test slice


def base_rate_of(rows: Rows, horizon: Window) -> BetaRate:
    """Return the base rate over the latest snapshots whose label windows do not overlap.

    Overlapping windows would count an outcome twice and make the rate seem better known than it is.
    """
    chosen: list[date] = []
    for day in reversed(rows.distinct_days):
        if not chosen or label_end_day(day, horizon) <= chosen[-1]:
            chosen.append(day)
    labels = rows.labels[rows.of_days(chosen)]
    return BetaRate(positives=int(labels.sum()), rows=len(labels))


def lack_of_data(rows: Rows, split: Split, definition: Definition) -> str:
    """Say what is missing for a trial, or nothing."""
    if not len(rows):
        return "nobody was eligible at any snapshot"
    if not split.test:
        return (
            f"no label window of {parse_window(definition.horizon)} ends before the latest of"
            f" {len(rows.distinct_days)} snapshots, so no time-ordered test is possible"
        )
    positives = int(rows.labels[rows.of_days((*split.train, *split.calibrate))].sum())
    if positives < definition.acceptance.positives:
        return f"{counted_positives(positives)}, {definition.acceptance.positives:,} needed"
    tested = rows.labels[rows.of_days(split.test)]
    fewest = min(int(tested.sum()), len(tested) - int(tested.sum()))
    if fewest < _FEWEST_TESTED:
        return f"the latest snapshot has {fewest} of the rarer answer, {_FEWEST_TESTED} needed for a test"
    return ""


def weakness(test: Evaluation, acceptance: Acceptance) -> str:
    """Say why a trial is not good enough, or nothing."""
    if test.auc.value < acceptance.auc:
        return f"AUC {test.auc} on the latest snapshot, {acceptance.auc:g} needed"
    if test.auc.low <= 0.5:
        return f"AUC {test.auc} on the latest snapshot cannot be told from chance"
    return ""


def rejected(why: str, rate: BetaRate) -> str:
    """Return the verdict where the base rate answers.

    >>> rejected("37 positives, 100 needed", BetaRate(positives=37, rows=3000))
    '37 positives, 100 needed: the base rate 1.2 % (0.88 % to 1.7 %) is used'
    """
    if not rate.rows:
        return f"{why}: nothing is known, and nobody gets a probability"
    return f"{why}: the base rate {rate} is used"


def accepted(test: Evaluation, split: Split) -> str:
    """Return the verdict for an accepted model."""
    return f"accepted: AUC {test.auc} on the latest snapshot, {split.test[0]}"


def notes(test: Evaluation, split: Split, definition: Definition, *, is_isotonic: bool) -> tuple[str, ...]:
    """Return what a reader of the card should know about how the trial went."""
    found = []
    if split.by_customer:
        found.append(
            "Too few snapshots to calibrate on one of its own: a quarter of the customers was kept for that."
        )
    if definition.calibration == "isotonic" and not is_isotonic:
        found.append("Too few positives to calibrate by isotonic steps: calibrated by Platt's line.")
    if _moved(test):
        found.append(
            f"The base rate moved: the model expected {percent(test.expected)} on the latest snapshot, and"
            f" {percent(test.base_rate)} came true. Its order of customers holds; its level needs new labels."
        )
    return tuple(found)


def _moved(test: Evaluation) -> bool:
    """True where the number of positives is more than four standard deviations from the expected."""
    spread = sqrt(max(test.expected * (1 - test.expected) * test.rows, 1e-12))
    return abs(test.positives - test.expected * test.rows) > 4 * spread
