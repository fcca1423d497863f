"""Explaining one customer's decision from the snapshot in force, by the code that decides."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tilltal.core.ids import profile_text
from tilltal.decisions.arbitration import Context
from tilltal.decisions.explanation import Explanation, chosen_actions, other_actions
from tilltal.decisions.plan import DecisionPlan
from tilltal.decisions.single import Row, decide
from tilltal.models.model import TrainedModel
from tilltal.runtime.refresh.deciding import INPUT, decision_plan, open_input
from tilltal.runtime.snapshot import Snapshot, find_profile, open_snapshot
from tilltal.workspace.names import profile_schema
from tilltal.workspace.workspace import Workspace

_SEGMENTS = ("lifecycle.", "value.", "persona.", "audience.", "leading_product")


def explain(workspace: Workspace, customer: str, context: Context) -> Explanation:
    """Explain what one customer gets, why, and why nothing else.

    Args:
        workspace: definitions that passed their check.
        customer: profile id, `namespace:value` or a bare value such as a customer number.
        context: what is known of the moment.

    Raises:
        DataError: E507 without a snapshot; P355 for an unknown customer.
    """
    with open_snapshot(workspace) as snapshot:
        profile = find_profile(snapshot, customer)
        plan = decision_plan(workspace, snapshot.clock)
        open_input(snapshot.engine, workspace, plan, snapshot.clock, "profiles", only_known=False)
        row = _row(snapshot, profile)
        decision = decide(plan, row, snapshot.clock, context)
        because = _because(snapshot, plan, profile, [entry.action for entry in decision.ranking.ranked])
        return Explanation(
            profile=profile_text(profile),
            as_of=snapshot.manifest.as_of,
            definitions=snapshot.manifest.definitions,
            known=_known(workspace, row),
            scores={
                name: float(value)
                for name, value in sorted(row.items())
                if name.startswith("score.") and isinstance(value, int | float)
            },
            chosen=chosen_actions(plan, decision, because),
            not_chosen=other_actions(plan, decision),
        )


def _row(snapshot: Snapshot, profile: int) -> Row:
    table = snapshot.engine.arrow(f"SELECT * FROM {INPUT} WHERE profile = {profile}")
    return {name: _plain(value) for name, value in table.to_pylist()[0].items()}


def _plain(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _because(
    snapshot: Snapshot, plan: DecisionPlan, profile: int, actions: list[str]
) -> Mapping[str, tuple[str, ...]]:
    """Return the model's reasons, in words, of each shown action that a model scores."""
    models = snapshot.models
    table = snapshot.engine.arrow(f"SELECT * FROM {INPUT} WHERE profile = {profile}")
    found: dict[str, tuple[str, ...]] = {}
    for action in plan.actions:
        model = models.get(action.model or "")
        if action.name in actions and isinstance(model, TrainedModel):
            reasons = model.explain(table, snapshot.clock.today)[0]
            found[action.name] = tuple(str(reason) for reason in reasons)
    return found


def _known(workspace: Workspace, row: Row) -> dict[str, object]:
    """Return the segments of a customer, and the audiences that hold them."""
    schema = profile_schema(workspace)
    return {
        name: value
        for name, value in row.items()
        if name.startswith(_SEGMENTS)
        and (name in schema or name.startswith("persona."))
        and value not in (None, False)
    }
