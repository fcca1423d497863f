"""Deciding anew from the snapshot in force: another moment, the same profiles."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from tilltal.core.errors import TilltalError
from tilltal.core.ids import profile_text
from tilltal.core.names import literal
from tilltal.decisions.arbitration import Context
from tilltal.runtime.answers.snapshot import Snapshot, open_snapshot, refuse_stale
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.deciding import decide_all, decision_plan, open_input
from tilltal.runtime.refresh.exploring import read_known
from tilltal.runtime.refresh.sending import open_pace, read_rhythm
from tilltal.runtime.storage import disk
from tilltal.workspace.workspace import Workspace

FORMATS = {".parquet": "", ".csv": "(HEADER)", ".jsonl": "(FORMAT json)"}


class ActionShare(msgspec.Struct, frozen=True, kw_only=True):
    """How many customers have an action as their first, and what to expect of it (major currency units).

    `expected_value` is the sum of P × V less what the contacts cost.
    """

    action: str
    title: str
    customers: int
    mean_propensity: float
    expected_value: float


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome for all customers: who has an action, the first actions, the file if one was asked.

    `example` is a profile worth explaining: its first action has reasons of a model, where there are any.
    """

    as_of: str
    customers: int
    with_action: int
    first_actions: tuple[ActionShare, ...]
    example: str = ""
    file: str = ""


def decide_anew(
    workspace: Workspace, context: Context, *, slots: int | None, target: Path | None, progress: Progress
) -> Decisions:
    """Decide for all customers of the snapshot in force.

    Args:
        workspace: definitions that passed their check; they may have changed since the snapshot.
        context: what is known of the moment, the same for all.
        slots: how many actions per customer; what the policy says if None.
        target: file for the decisions (.parquet, .csv or .jsonl), or None.
        progress: told of the steps.

    Raises:
        TilltalError: C103 for a file of another kind.
        DataError: E507 without a snapshot; E514 if it lacks what the actions ask for.
    """
    if target and target.suffix not in FORMATS:
        raise TilltalError.of("C103", f"{target} is of no kind that can be written.", valid=tuple(FORMATS))
    if slots is not None:
        arbitration = msgspec.structs.replace(workspace.arbitration, slots=slots)
        workspace = msgspec.structs.replace(workspace, arbitration=arbitration)
    with open_snapshot(workspace) as snapshot:
        plan = decision_plan(workspace, snapshot.clock)
        refuse_stale(snapshot, plan)
        exploration = read_known(plan, snapshot.clock, snapshot.folder)
        open_input(
            snapshot.engine,
            workspace,
            plan,
            snapshot.clock,
            "profiles",
            context=context,
            exploration=exploration,
        )
        rhythm = read_rhythm(snapshot.folder)
        pace = open_pace(snapshot.engine, workspace, snapshot.clock, "profiles", rhythm)
        decided = decide_all(
            snapshot.engine, plan, snapshot.clock, snapshot.models, context, progress, pace, exploration
        )
        snapshot.engine.register("decided", decided.table)
        shares = first_actions(snapshot, "decided")
        if target:
            _write(snapshot, target)
        return Decisions(
            as_of=snapshot.manifest.as_of,
            customers=decided.customers,
            with_action=sum(share.customers for share in shares),
            first_actions=shares,
            file=str(target or ""),
        )


def decisions_of(workspace: Workspace) -> Decisions:
    """Return what the last refresh decided.

    Raises:
        DataError: E507 without a snapshot.
    """
    with open_snapshot(workspace) as snapshot:
        shares = first_actions(snapshot, "decisions")
        example = snapshot.engine.rows(
            "SELECT profile FROM decisions WHERE rank = 1 "
            "ORDER BY coalesce(len(reasons), 0) > 0 DESC, priority DESC, profile LIMIT 1"
        )
        return Decisions(
            example=profile_text(example[0][0]) if example else "",
            as_of=snapshot.manifest.as_of,
            customers=snapshot.manifest.customers,
            with_action=sum(share.customers for share in shares),
            first_actions=shares,
        )


def first_actions(snapshot: Snapshot, relation: str) -> tuple[ActionShare, ...]:
    """Return how often each action is a customer's first, most often first."""
    actions = snapshot.workspace.actions
    rows = snapshot.engine.rows(
        f"SELECT action, count(*), avg(P), sum(P * V - cost) FROM {relation} WHERE rank = 1 "
        "GROUP BY action ORDER BY 2 DESC, 1"
    )
    return tuple(
        ActionShare(
            action=action,
            title=actions[action].title if action in actions else action,
            customers=count,
            mean_propensity=propensity,
            expected_value=value,
        )
        for action, count, propensity, value in rows
    )


def _write(snapshot: Snapshot, target: Path) -> None:
    """Write the decisions whole or not at all, with profile ids as people see them."""
    beside = target.with_name(f".{target.name}.tmp")
    table = snapshot.engine.arrow("SELECT * FROM decided ORDER BY profile, rank")
    ids = [profile_text(profile) for profile in table.column("profile").to_pylist()]
    table = table.set_column(0, "profile", [ids])
    with disk.explained():
        try:
            if target.suffix == ".parquet":
                pq.write_table(table, beside)
            else:
                snapshot.engine.register("shown", table)
                columns = "* REPLACE (list_transform(reasons, lambda r: r.feature) AS reasons)"
                options = FORMATS[target.suffix]
                snapshot.engine.run(f"COPY (SELECT {columns} FROM shown) TO {literal(str(beside))} {options}")
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
