"""Fewer observations, same people: equal ones become one that was first and last seen when they were.

A bank sees the same customer on the same phone thousands of times. Links need only the first and the last
time. Each login in between matters only where somebody else may own the device meanwhile: so observations of
a device that was seen in different company, or that logins vouch for through time, stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable

from tilltal.core.names import literal
from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.rules import Rules


def thinned_sql(rules: Rules, corrections: Corrections[int] | None = None) -> str:
    """Return a SELECT over the relation `observations` that `bulk.resolve_table` resolves to the same people.

    Of equal observations that are refused, one stands for all. Withdrawn ones stay apart, for their names.
    """
    known = corrections or Corrections()
    revoked = f"coalesce(observation IN ({_listed(map(literal, sorted(known.revoked)))}), FALSE)"
    devices = [one.name for one in rules.namespaces if not one.is_person]
    is_device = f"one.namespace IN ({_listed(map(literal, devices))})"
    same = f"one.token IN ({_listed(str(token) for pair in sorted(known.same_as) for token in pair)})"
    return f"""
WITH companies AS (
  SELECT min(observation) AS observation, min("at") AS "at", max(last_at) AS last_at, ids,
    {revoked} AS revoked
  FROM observations GROUP BY ids, {revoked}, CASE WHEN {revoked} THEN observation END),
contested AS (
  SELECT one.token AS token FROM (SELECT DISTINCT unnest(ids) AS one, ids FROM companies WHERE len(ids) > 1)
  WHERE {is_device} GROUP BY one.token HAVING {_matters(rules)} OR count(*) > 1 OR any_value({same})),
kept AS (
  SELECT DISTINCT ids FROM (SELECT ids, unnest(ids) AS one FROM companies WHERE len(ids) > 1)
  WHERE {is_device} AND one.token IN (SELECT token FROM contested))
SELECT observation, "at", last_at, ids FROM companies WHERE revoked OR ids NOT IN (SELECT ids FROM kept)
UNION ALL
SELECT observation, "at", last_at, ids FROM observations
WHERE NOT {revoked} AND ids IN (SELECT ids FROM kept)""".strip()


def _listed(values: Iterable[str]) -> str:
    """Write the values of an IN; NULL where there are none, which no value equals."""
    return ", ".join(values) or "NULL"


def _matters(rules: Rules) -> str:
    """True where each login counts by its own time."""
    ends = rules.vouch_us is not None or rules.lookback_us is not None
    return "TRUE" if ends and not rules.is_current_holder else "FALSE"
