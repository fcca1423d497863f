"""Next best actions: how many have which first, through which channel, and in which stage."""

from __future__ import annotations

from collections.abc import Sequence

from tilltal.insight.report.data import ActionUse, ActionView, ChannelUse, Crossing
from tilltal.insight.report.gather.tables import Tables
from tilltal.workspace.definitions.actions import Action

NO_ACTION = "no action"


def next_best_actions(
    tables: Tables, actions: dict[str, Action], stages: Sequence[str], known: int, *, knows_worth: bool
) -> ActionView | None:
    """Return who gets what first; None where the workspace has no actions.

    Args:
        tables: reads `decisions` and `profiles`.
        actions: the workspace's actions.
        stages: the lifecycle stages in order, none without a lifecycle.
        known: how many customers are known.
        knows_worth: whether P × V − cost of a decision is money to expect.
    """
    if not actions:
        return None
    rows = tables.rows(
        "SELECT action, count(*), avg(P), avg(V), sum(P * V - cost) FROM decisions WHERE rank = 1"
        " GROUP BY action ORDER BY 2 DESC, 1"
    )
    used = {row[0] for row in rows}
    channels = tables.rows(
        "SELECT channel, count(*) FROM decisions WHERE rank = 1 AND channel IS NOT NULL"
        " GROUP BY channel ORDER BY 2 DESC, 1"
    )
    decided = max(sum(row[1] for row in rows), 1)
    return ActionView(
        known=known,
        actions=tuple(
            ActionUse(
                name=name,
                title=actions[name].title if name in actions else name,
                group=actions[name].group if name in actions else "",
                customers=customers,
                share=customers / max(known, 1),
                propensity=propensity,
                value=value,
                expected=expected,
            )
            for name, customers, propensity, value, expected in rows
        ),
        unused=tuple(action.title for name, action in actions.items() if name not in used),
        channels=tuple(ChannelUse(name=name, customers=n, share=n / decided) for name, n in channels),
        by_stage=_by_stage(tables, actions, stages),
        knows_worth=knows_worth,
    )


def _by_stage(tables: Tables, actions: dict[str, Action], stages: Sequence[str]) -> Crossing | None:
    """Return each stage's shares of action groups, the most common group first and no action last."""
    if not stages or not tables.has("profiles", "lifecycle.stage"):
        return None
    rows = tables.rows(
        'SELECT p."lifecycle.stage", d.action, count(*) FROM profiles AS p'
        " LEFT JOIN (SELECT profile, action FROM decisions WHERE rank = 1) AS d ON d.profile = p.profile"
        ' WHERE p.is_known AND p."lifecycle.stage" IS NOT NULL GROUP BY ALL'
    )
    totals: dict[str, int] = {}
    counts: dict[tuple[str, str], int] = {}
    sizes: dict[str, int] = {}
    for stage, action, customers in rows:
        group = NO_ACTION if action is None else actions[action].group if action in actions else action
        totals[stage] = totals.get(stage, 0) + customers
        counts[stage, group] = counts.get((stage, group), 0) + customers
        sizes[group] = sizes.get(group, 0) + customers
    present = [stage for stage in stages if totals.get(stage)]
    if not present:
        return None
    groups = sorted(sizes, key=lambda group: (group == NO_ACTION, -sizes[group], group))
    return Crossing(
        dimension="lifecycle.stage",
        rows=tuple(present),
        customers=tuple(totals[stage] for stage in present),
        columns=tuple(groups),
        shares=tuple(
            tuple(counts.get((stage, group), 0) / totals[stage] for group in groups) for stage in present
        ),
    )
