"""Rows of an experiment: SQL texts over the views of a refresh; `runtime` runs them.

A customer is assigned by the first event of either group within a round, which is the time from one snapshot
to the next. Features are of the snapshot, before it; the answer counts from the assignment on, for the length
of the horizon, which must have passed. Dates count from the assignment's own local day: both groups alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from tilltal.core.names import literal, quote
from tilltal.core.time import Unit, Window, sql_timestamp
from tilltal.models.dataset.labels import LABEL, PROFILE, SNAPSHOT
from tilltal.models.dataset.snapshots import Snapshot
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.models import Group, Outcome

TREATED = "is treated"  # no name of a profile has a space
_WORDS = {Unit.SECONDS: "SECOND", Unit.MINUTES: "MINUTE", Unit.HOURS: "HOUR", Unit.DAYS: "DAY"}


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """Assignments at or after the snapshot and before `until`; answers within `horizon` from each."""

    snapshot: Snapshot
    until: datetime
    horizon: Window
    clock: Clock

    @property
    def interval(self) -> str:
        """The horizon as SQL."""
        if self.horizon.unit is Unit.MONTHS:
            return f"INTERVAL {self.horizon.count} MONTH"
        return f"INTERVAL {self.horizon.count} {_WORDS[self.horizon.unit]}"


def assigned_sql(
    treated: Group, control: Group, span: Round, where: tuple[Mapping[str, str], Mapping[str, str]]
) -> str:
    """Return a query for who was assigned in a round: `profile`, `since`, `is treated`.

    Who was assigned to both groups at one instant is in neither.

    Args:
        treated: events that say that a customer was treated.
        control: events that say that a customer was kept out.
        span: the round.
        where: the groups' conditions compiled to SQL, by event type.
    """
    arms = " UNION ALL ".join(
        _arm(kind, conditions.get(kind), span, is_treated=is_treated)
        for group, conditions, is_treated in ((treated, where[0], True), (control, where[1], False))
        for kind in group.events
    )
    return (
        f"SELECT {PROFILE}, LEAST(COALESCE(t, c), COALESCE(c, t)) AS since,"
        f" COALESCE(t < c, c IS NULL) AS {quote(TREATED)} FROM (SELECT {PROFILE},"
        f" MIN(CASE WHEN arm = 1 THEN since END) AS t, MIN(CASE WHEN arm = 0 THEN since END) AS c"
        f" FROM ({arms}) AS arms GROUP BY {PROFILE}) AS first WHERE t IS NULL OR c IS NULL OR t <> c"
    )


def answered_sql(
    outcome: Outcome, span: Round, *, where: Mapping[str, str] | None = None, leaving_stage: str = ""
) -> str:
    """Return a query for the profiles of `assigned` that gave the answer: one column, `profile`.

    Args:
        outcome: what counts as a yes.
        span: the round.
        where: the outcome's condition compiled to SQL, per event type.
        leaving_stage: the lifecycle stage entered by notice or closing; needed where `outcome.closes`.
    """
    zone = literal(span.clock.zone.key)
    first = f"CAST(TIMEZONE({zone}, TIMEZONE('UTC', a.since)) AS DATE)"
    last = f"CAST(TIMEZONE({zone}, TIMEZONE('UTC', a.since + {span.interval})) AS DATE)"
    if outcome.closes:
        stage = f"x.to_stage = {literal(leaving_stage)}"
        return _found("transitions", f'{stage} AND x."date" >= {first} AND x."date" <= {last}')
    if outcome.holding is not None:
        product = f"x.product = {literal(outcome.holding)}"
        return _found("holdings", f"{product} AND x.opened >= {first} AND x.opened <= {last}")
    conditions = where or {}
    return " UNION ".join(_event(kind, conditions.get(kind), span) for kind in outcome.events)


def assigned_rows_sql(
    profiles: str,
    columns: Sequence[str],
    assigned: str,
    answered: str,
    span: Round,
    *,
    eligible: str = "TRUE",
    sample: int,
    seed: int,
) -> str:
    """Return the query for a round's rows: `profile`, `snapshot`, columns, `label`, `is treated`.

    Args:
        profiles: relation of the profiles as of the snapshot, already quoted.
        columns: names of the profile to keep.
        assigned: what `assigned_sql` gave.
        answered: what `answered_sql` gave.
        span: the round.
        eligible: what `labels.eligible_sql` gave.
        sample: at most so many rows, chosen by MD5 sums as `labels.training_rows_sql` does.
        seed: chooses another sample.
    """
    kept = "".join(f", p.{quote(name)}" for name in columns)
    day = span.snapshot.day
    key = f"MD5(CONCAT(CAST(p.{PROFILE} AS VARCHAR), {literal(f':{day}:{seed}')}))"
    passed = f"a.since + {span.interval} <= {sql_timestamp(span.clock.now)}"
    return (
        f"WITH assigned AS ({assigned}),\nyes AS ({answered}),\n"
        f"able AS (SELECT * FROM {profiles} WHERE {eligible})\n"
        f"SELECT p.{PROFILE}, DATE '{day}' AS {SNAPSHOT}{kept}, yes.{PROFILE} IS NOT NULL AS {LABEL},"
        f" a.{quote(TREATED)}\n"
        f"FROM able AS p JOIN assigned AS a ON a.{PROFILE} = p.{PROFILE} AND {passed}\n"
        f"LEFT JOIN yes ON yes.{PROFILE} = p.{PROFILE}\n"
        f"ORDER BY {key}, p.{PROFILE} LIMIT {int(sample)}"
    )


def _arm(kind: str, condition: str | None, span: Round, *, is_treated: bool) -> str:
    extra = f" AND COALESCE(({condition}), FALSE)" if condition else ""
    return (
        f'SELECT {PROFILE}, "at" AS since, {int(is_treated)} AS arm FROM {quote(f"event.{kind}")}'
        f' WHERE "at" >= {sql_timestamp(span.snapshot.at)} AND "at" < {sql_timestamp(span.until)}{extra}'
    )


def _event(kind: str, condition: str | None, span: Round) -> str:
    extra = f" WHERE COALESCE(({condition}), FALSE)" if condition else ""
    return (
        f'SELECT DISTINCT a.{PROFILE} FROM assigned AS a JOIN (SELECT {PROFILE}, "at" AS happened'
        f" FROM {quote(f'event.{kind}')}{extra}) AS x ON x.{PROFILE} = a.{PROFILE}"
        f" AND x.happened > a.since AND x.happened <= a.since + {span.interval}"
    )


def _found(relation: str, condition: str) -> str:
    return (
        f"SELECT DISTINCT a.{PROFILE} FROM assigned AS a JOIN {relation} AS x"
        f" ON x.{PROFILE} = a.{PROFILE} AND {condition}"
    )
