"""The lifecycle of all customers at once: SELECT texts that say what `stage.Timeline` says of one.

Read from `lifecycle_moments` (profile, day, seq, what) and `lifecycle_turns` (profile, day, fallen). Days are
numbers since 1970-01-01. What happens at the same `seq` of a day follows the order of the codes below: a
closing ends what was opened at the same instant.
"""

from __future__ import annotations

from tilltal.core.names import literal
from tilltal.customers.lifecycle.days import to_date
from tilltal.customers.lifecycle.stage import Stage, Terms
from tilltal.workspace.definitions.segments import StageNames

OPEN, CLOSE, NOTICE, WITHDRAWN = 1, 2, 3, 4
_CODES = {Stage.NEW: 1, Stage.COMEBACK: 2, Stage.LOYAL: 3, Stage.RETAIN: 4, Stage.REGAIN: 5}


def marked_sql(as_of_day: int) -> str:
    """Return `lifecycle_marked`: each moment, with what holds after it.

    `before` is the last opening or closing before the row, `relation` the number of the relation (0
    before the first), `opened` its first day.
    """
    return f"""
SELECT profile, day, seq, what, before,
  CAST(SUM(CASE WHEN what = {OPEN} AND before <> {OPEN} THEN 1 ELSE 0 END) OVER past AS INTEGER) AS relation,
  MAX(CASE WHEN what = {OPEN} AND before <> {OPEN} THEN day END) OVER past AS opened,
  COALESCE(LAST_VALUE(CASE WHEN what <> {CLOSE} THEN what END IGNORE NULLS) OVER past, 0) = {NOTICE}
    AS noticed,
  (CASE WHEN what <= {CLOSE} THEN what ELSE before END) = {OPEN} AS is_open,
  COALESCE(LEAD(day) OVER (PARTITION BY profile ORDER BY day, seq, what), {as_of_day + 1}) > day AS is_last
FROM (
  SELECT *, COALESCE(LAST_VALUE(CASE WHEN what <= {CLOSE} THEN what END IGNORE NULLS) OVER (
    PARTITION BY profile ORDER BY day, seq, what
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
  FROM (SELECT DISTINCT * FROM lifecycle_moments WHERE day <= {as_of_day}) AS moments) AS entries
WINDOW past AS (
  PARTITION BY profile ORDER BY day, seq, what ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"""


def relations_sql() -> str:
    """Return `lifecycle_relations`: profile, relation, opened, closed (NULL while open), next_opened."""
    return f"""
SELECT profile, relation, opened, closed,
  COALESCE(LEAD(opened) OVER (PARTITION BY profile ORDER BY relation), 2147483647) AS next_opened
FROM (
  SELECT profile, relation, MAX(opened) AS opened,
    MAX(CASE WHEN what = {CLOSE} AND before = {OPEN} THEN day END) AS closed
  FROM lifecycle_marked WHERE relation > 0 GROUP BY profile, relation) AS each_relation"""


def transitions_sql(terms: Terms, names: StageNames, as_of_day: int) -> str:
    """Return `transitions`: profile, date, from_stage, to_stage up to the as-of day."""
    return f"""
SELECT profile, {to_date("day")} AS date, {_name("before_code", names)} AS from_stage,
  {_name("code", names)} AS to_stage
FROM (
  SELECT profile, day, code, LAG(code) OVER (PARTITION BY profile ORDER BY day) AS before_code
  FROM (
    SELECT profile, day, {_code(terms)} AS code
    FROM ({_carried(terms, as_of_day)}) AS carried
    WHERE is_last) AS staged) AS compared
WHERE code <> COALESCE(before_code, 0)"""


def _carried(terms: Terms, as_of_day: int) -> str:
    """Return every day on which the stage can change, with relation and trend as they stand on it."""
    order = "PARTITION BY profile ORDER BY day, kind"
    past = f"({order} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    return f"""
      SELECT profile, day,
        LAST_VALUE(state IGNORE NULLS) OVER {past} AS state,
        LAST_VALUE(fallen IGNORE NULLS) OVER {past} AS fallen,
        COALESCE(LEAD(day) OVER ({order}), {as_of_day + 1}) > day AS is_last
      FROM ({_events(terms, as_of_day)}) AS events"""


def _events(terms: Terms, as_of_day: int) -> str:
    # a state is packed into one number, 4 x opened + 2 x returned + leaving, so that one window carries it
    return f"""
        SELECT profile, day, 1 AS kind, CASE WHEN day = opened THEN FALSE END AS fallen,
          CAST(opened AS BIGINT) * 4 + CASE WHEN relation > 1 THEN 2 ELSE 0 END
            + CASE WHEN is_open AND NOT noticed THEN 0 ELSE 1 END AS state
        FROM lifecycle_marked WHERE is_last AND relation > 0
        UNION ALL
        SELECT profile, opened + {terms.new_days}, 2, NULL, NULL FROM lifecycle_relations
        WHERE opened + {terms.new_days} <= {as_of_day}
          AND opened + {terms.new_days} < LEAST(next_opened, COALESCE(closed, 2147483647))
        UNION ALL
        SELECT profile, day, 3, fallen, NULL FROM lifecycle_turns"""


def _code(terms: Terms) -> str:
    opened, returned, leaving = "(state >> 2)", "((state >> 1) & 1)", "(state & 1)"
    return (
        f"CASE WHEN {leaving} = 1 THEN {_CODES[Stage.REGAIN]}"
        f" WHEN day < {opened} + {terms.new_days}"
        f" THEN CASE WHEN {returned} = 1 THEN {_CODES[Stage.COMEBACK]} ELSE {_CODES[Stage.NEW]} END"
        f" WHEN fallen THEN {_CODES[Stage.RETAIN]} ELSE {_CODES[Stage.LOYAL]} END"
    )


def _name(code: str, names: StageNames) -> str:
    cases = " ".join(f"WHEN {number} THEN {literal(stage.called(names))}" for stage, number in _CODES.items())
    return f"CASE {code} {cases} END"


def standing_sql(as_of_day: int) -> str:
    """Return `lifecycle`: profile and the four names an expression may use; profiles with a relation only."""
    return f"""
SELECT t.profile, t.stage AS "lifecycle.stage", t.since AS "lifecycle.since",
  {as_of_day} - CAST(t.since - DATE '1970-01-01' AS INTEGER) + 1 AS "lifecycle.days",
  {to_date("r.opened")} AS "lifecycle.opened"
FROM (
  SELECT profile, MAX(date) AS since, MAX_BY(to_stage, date) AS stage
  FROM transitions GROUP BY profile) AS t
JOIN (SELECT profile, MAX(opened) AS opened FROM lifecycle_relations GROUP BY profile) AS r
  ON t.profile = r.profile"""


def relation_dates_sql() -> str:
    """Return `relations`: profile, opened, closed as dates; `closed` is NULL while the relation lasts."""
    return f"""
SELECT profile, {to_date("opened")} AS opened, {to_date("closed")} AS closed FROM lifecycle_relations"""
