"""Explaining one customer's decision from the snapshot in force, by the code that decides."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from tilltal.core.errors import DataError
from tilltal.core.ids import profile_text
from tilltal.decisions.arbitration import Context
from tilltal.decisions.batch_exploring import decide_exploring
from tilltal.decisions.explanation import Explanation, chosen_actions, other_actions, speaker_of, timed
from tilltal.decisions.plan import DecisionPlan
from tilltal.decisions.single import Row, as_row
from tilltal.decisions.words.saying import DEFAULT
from tilltal.models.model import TrainedModel
from tilltal.runtime.answers.snapshot import Snapshot, find_profile, open_snapshot, refuse_stale
from tilltal.runtime.refresh.deciding import INPUT, decision_plan, open_input
from tilltal.runtime.refresh.exploring import read_known
from tilltal.runtime.refresh.sending import open_pace, read_rhythm
from tilltal.workspace.names import profile_schema
from tilltal.workspace.workspace import Workspace

_SEGMENTS = ("lifecycle.", "value.", "persona.", "audience.", "leading_product")


def explain(workspace: Workspace, customer: str, context: Context, language: str = DEFAULT) -> Explanation:
    """Explain what one customer gets, why, and why nothing else.

    Args:
        workspace: definitions that passed their check.
        customer: profile id, `namespace:value` or a bare value such as a customer number.
        context: what is known of the moment.
        language: of the words, ISO 639-1; models name their features as the workspace does.

    Raises:
        DataError: E507 without a snapshot; E514 if it lacks what the actions ask for; P365 for an unknown
            customer, P366 for a device that is nobody's.
        TilltalError: C129 if there are no words in that language.
    """
    with open_snapshot(workspace) as snapshot:
        profile = find_profile(snapshot, customer)
        plan = decision_plan(workspace, snapshot.clock)
        refuse_stale(snapshot, plan)
        exploration = read_known(plan, snapshot.clock, snapshot.folder)
        open_input(
            snapshot.engine,
            workspace,
            plan,
            snapshot.clock,
            "profiles",
            only_known=False,
            context=context,
            exploration=exploration,
        )
        table = snapshot.engine.arrow(f"SELECT * FROM {INPUT} WHERE profile = {profile}")
        row = as_row(table.to_pylist()[0], plan.schema)
        if row["is_known"] is not True:
            raise DataError.of(
                "P366", f"{customer!r} is a device of nobody known: nothing is decided for it."
            )
        speaker = speaker_of(plan, language)
        decision = decide_exploring(plan, row, snapshot.clock, context, exploration, profile)
        pace = open_pace(snapshot.engine, workspace, snapshot.clock, "profiles", read_rhythm(snapshot.folder))
        shown = {entry.action: decision.proposals[entry.action].channel for entry in decision.ranking.ranked}
        plans = {} if pace is None else pace.of_one(snapshot.engine, plan, shown, row, snapshot.clock)
        because = _because(snapshot, plan, table, [entry.action for entry in decision.ranking.ranked])
        return Explanation(
            profile=profile_text(profile),
            as_of=snapshot.manifest.as_of,
            definitions=workspace.content_hash,
            has_changed=workspace.content_hash != snapshot.manifest.definitions,
            known=_known(workspace, row),
            scores={
                name: float(value)
                for name, value in sorted(row.items())
                if name.startswith("score.") and isinstance(value, int | float)
            },
            chosen=tuple(
                timed(one, plans.get(one.action), speaker)
                for one in chosen_actions(plan, decision, because, speaker=speaker)
            ),
            not_chosen=other_actions(plan, decision, speaker),
        )


def _because(
    snapshot: Snapshot, plan: DecisionPlan, table: pa.Table, actions: list[str]
) -> Mapping[str, tuple[str, ...]]:
    """Return the model's reasons, in words, of each shown action that a model scores."""
    models = snapshot.models
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
        and value is not None
        and value is not False
    }
