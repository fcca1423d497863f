"""Label and training-row queries: SQL texts over the views of a refresh; `runtime` runs them.

What happened at the snapshot itself belongs to the features, what happened after it to the label. Events
count within `(at, label_end]`. Dates are days that begin with their midnight: a product opened on the
snapshot's own day is already seen in the features, so openings count after that day up to and with the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tilltal.core.names import literal, quote
from tilltal.core.time import sql_timestamp
from tilltal.models.dataset.snapshots import Snapshot
from tilltal.workspace.definitions.models import Outcome

PROFILE, SNAPSHOT, LABEL = "profile", "snapshot", "label"


def outcome_sql(
    outcome: Outcome, snapshot: Snapshot, *, where: Mapping[str, str] | None = None, leaving_stage: str = ""
) -> str:
    """Return a query for the profiles that have the outcome after the snapshot: one column, `profile`.

    Args:
        outcome: what counts as a yes.
        snapshot: the instant and its label window.
        where: the outcome's condition compiled to SQL, per event type (fields differ between types).
        leaving_stage: the lifecycle stage entered by notice or closing; needed where `outcome.closes`.
    """
    if outcome.closes:
        return _leaving(snapshot, leaving_stage)
    if outcome.holding is not None:
        return _opening(snapshot, outcome.holding)
    conditions = where or {}
    return "\nUNION\n".join(_events(snapshot, kind, conditions.get(kind)) for kind in outcome.events)


def eligible_sql(outcome: Outcome, eligible: str | None, *, leaving_stage: str = "") -> str:
    """Return the condition for who can have the outcome, over the names of a profile.

    `eligible` is the model's own condition compiled to SQL. Who has no relation, or has already given
    notice, cannot leave, and is left out of a churn model without being told.
    """
    conditions = [f"COALESCE(({eligible}), FALSE)"] if eligible else []
    if outcome.closes:
        stage = quote("lifecycle.stage")
        conditions.append(f"COALESCE({stage} <> {literal(leaving_stage)}, FALSE)")
    return " AND ".join(conditions) or "TRUE"


def training_rows_sql(
    profiles: str,
    columns: Sequence[str],
    labels_sql: str,
    snapshot: Snapshot,
    *,
    eligible: str = "TRUE",
    sample: int,
    seed: int,
) -> str:
    """Return the query for a snapshot's training rows: `profile`, `snapshot` DATE, columns, `label` BOOLEAN.

    The sample is the `sample` smallest MD5 sums of profile, snapshot and seed: the same rows on every
    engine and every run, and other customers at each snapshot.

    Args:
        profiles: relation of the profiles as of the snapshot, already quoted.
        columns: names of the profile to keep.
        labels_sql: what `outcome_sql` gave.
        snapshot: the instant of `profiles`.
        eligible: what `eligible_sql` gave.
        sample: at most so many rows.
        seed: chooses another sample.
    """
    kept = "".join(f", p.{quote(name)}" for name in columns)
    key = f"MD5(CONCAT(CAST({PROFILE} AS VARCHAR), {literal(f':{snapshot.day}:{seed}')}))"
    return (
        f"WITH chosen AS (SELECT * FROM {profiles} WHERE {eligible}"
        f" ORDER BY {key}, {PROFILE} LIMIT {int(sample)}),\n"
        f"yes AS ({labels_sql})\n"
        f"SELECT p.{PROFILE}, DATE '{snapshot.day}' AS {SNAPSHOT}{kept},"
        f" yes.{PROFILE} IS NOT NULL AS {LABEL}\n"
        f"FROM chosen AS p LEFT JOIN yes ON yes.{PROFILE} = p.{PROFILE}\n"
        f"ORDER BY p.{PROFILE}"
    )


def _events(snapshot: Snapshot, kind: str, condition: str | None) -> str:
    extra = f" AND COALESCE(({condition}), FALSE)" if condition else ""
    return (
        f"SELECT DISTINCT {PROFILE} FROM {quote(f'event.{kind}')}"
        f' WHERE "at" > {sql_timestamp(snapshot.at)} AND "at" <= {sql_timestamp(snapshot.label_end)}{extra}'
    )


def _opening(snapshot: Snapshot, product: str) -> str:
    return (
        f"SELECT DISTINCT {PROFILE} FROM holdings WHERE product = {literal(product)}"
        f" AND opened > DATE '{snapshot.day}' AND opened <= DATE '{snapshot.label_end_day}'"
    )


def _leaving(snapshot: Snapshot, stage: str) -> str:
    """The day of the snapshot counts: who had already left by its midnight is not eligible any more."""
    return (
        f"SELECT DISTINCT {PROFILE} FROM transitions WHERE to_stage = {literal(stage)}"
        f" AND \"date\" >= DATE '{snapshot.day}' AND \"date\" < DATE '{snapshot.label_end_day}'"
    )
