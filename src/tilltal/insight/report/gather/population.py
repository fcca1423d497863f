"""The figures at the top and the funnel: everyone seen, known, staged, valued, with a next best action."""

from __future__ import annotations

from datetime import date

from tilltal.core.names import quote
from tilltal.insight.report.data import Funnel, Headline, Step
from tilltal.insight.report.gather.tables import Tables
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.policies import Arbitration

_DECIDED = "SELECT DISTINCT profile FROM decisions WHERE rank = 1"
_STEPS = (
    ("lifecycle.stage", "In a lifecycle stage", "have or had a relation with us"),
    ("value.segment", "In a value segment", "income and affinity are known"),
)


def knows_worth(arbitration: Arbitration) -> bool:
    """Say whether P × V − cost of a decision is money to expect: only if the ranking uses both."""
    return arbitration.factors.P and arbitration.factors.V


def headline(
    tables: Tables, actions: dict[str, Action], arbitration: Arbitration, today: date, known: int
) -> Headline:
    """Return the figures at the top.

    Args:
        tables: reads `decisions` and, if there, `relations`.
        actions: the workspace's actions, for their titles.
        arbitration: says whether probabilities and values were used.
        today: the local date of as-of.
        known: how many customers are known.
    """
    rows = tables.rows(
        "SELECT action, count(*), sum(P * V - cost) FROM decisions WHERE rank = 1"
        " GROUP BY action ORDER BY 2 DESC, 1"
    )
    decided = sum(row[1] for row in rows)
    most = rows[0] if rows else ("", 0, 0.0)
    return Headline(
        known=known,
        customers=_customers(tables, today),
        with_action=decided,
        actions=len(rows),
        most_common=actions[most[0]].title if most[0] in actions else most[0],
        most_common_share=most[1] / max(decided, 1),
        expected=sum(row[2] or 0.0 for row in rows) if knows_worth(arbitration) else None,
    )


def funnel(tables: Tables) -> Funnel:
    """Return the funnel; each step counts those who passed all before it."""
    conditions = ["is_known"]
    steps = [
        ("Everyone we have seen", "people and devices, known or not", "TRUE"),
        ("Known customers", "we know who they are", "is_known"),
    ]
    for column, name, meaning in _STEPS:
        if tables.has("profiles", column):
            conditions.append(f"{quote(column)} IS NOT NULL")
            steps.append((name, meaning, " AND ".join(conditions)))
    passed = " AND ".join(conditions)
    steps.append(
        ("With a next best action", "something relevant that we may say to them", f"{passed} AND decided")
    )
    counted = ", ".join(f"count(*) FILTER (WHERE {condition})" for _, _, condition in steps)
    counts = tables.rows(
        f"SELECT {counted}, count(*) FILTER (WHERE decided AND NOT ({passed})) FROM ("
        f"SELECT p.*, d.profile IS NOT NULL AS decided FROM profiles AS p LEFT JOIN ({_DECIDED}) AS d"
        " ON d.profile = p.profile) AS everyone"
    )[0]
    found = zip(steps, counts, strict=False)
    return Funnel(
        steps=tuple(Step(name=name, meaning=meaning, customers=n) for (name, meaning, _), n in found),
        aside=counts[-1],
    )


def _customers(tables: Tables, today: date) -> int | None:
    if not tables.has("relations"):
        return None
    return tables.count(
        "SELECT count(DISTINCT profile) FROM relations"
        f" WHERE opened <= DATE '{today}' AND COALESCE(closed > DATE '{today}', TRUE)"
    )
