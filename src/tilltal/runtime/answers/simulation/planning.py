"""What a refresh with today's definitions would change for the customers of the snapshot in force."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine
from tilltal.customers.audiences import PREFIX
from tilltal.decisions.arbitration import Context
from tilltal.decisions.simulation import mix
from tilltal.decisions.simulation.mix import Move, SegmentChange, Totals
from tilltal.decisions.simulation.observed import recorded
from tilltal.insight.report.gather.population import knows_worth
from tilltal.runtime.answers.simulation.deciding import PEOPLE, Task, decide_people, open_people
from tilltal.runtime.answers.simulation.groups import read_groups, segment_names
from tilltal.runtime.answers.simulation.rebuilt import is_profiled_by, profiles_under
from tilltal.runtime.answers.snapshot import open_snapshot, refuse_stale
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.deciding import decision_plan, open_input
from tilltal.runtime.refresh.exploring import read_known
from tilltal.runtime.refresh.run import PRESENT
from tilltal.workspace.workspace import Workspace


class AudienceChange(msgspec.Struct, frozen=True, kw_only=True):
    """An audience's size before and after; None where it is not there. Who enters and leaves are counted."""

    audience: str
    before: int | None
    after: int | None
    entered: int
    left: int


class ActionChange(msgspec.Struct, frozen=True, kw_only=True):
    """How many customers have an action first before and after, and how many of them are others."""

    action: str
    before: int
    after: int
    gained: int
    lost: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a change would do. `is_same`: the definitions are those of the snapshot.

    `audiences` are all there are, `actions` those that some customer has first; `segments` begin with
    everybody. `money` is the currency, or `points` where priorities are no money.
    """

    as_of: str
    is_same: bool
    is_rebuilt: bool
    money: str
    before: Totals
    after: Totals
    audiences: tuple[AudienceChange, ...]
    actions: tuple[ActionChange, ...]
    segments: tuple[SegmentChange, ...]
    moves: tuple[Move, ...]
    seconds: float


def plan(workspace: Workspace, context: Context, progress: Progress) -> Plan:
    """Compare what the last refresh decided with what today's definitions decide, as of the same instant.

    Args:
        workspace: definitions that passed their check.
        context: what is known of the moment; a refresh knows nothing of it.
        progress: told of the steps.

    Raises:
        DataError: E507 without a snapshot; E514 if actions ask for a model that was never learned.
        EngineError: if the disk or the engine gives up.
    """
    started = time.perf_counter()
    with open_snapshot(workspace) as snapshot, profiles_under(snapshot, workspace, progress):
        engine, clock = snapshot.engine, snapshot.clock
        made = decision_plan(workspace, clock)
        refuse_stale(snapshot, made)
        open_people(engine, made, None)
        exploration = read_known(made, clock, snapshot.folder)
        open_input(engine, workspace, made, clock, PEOPLE, exploration=exploration)
        ids = engine.arrow(f"SELECT profile FROM {PEOPLE} ORDER BY profile").column("profile")
        profiles = np.asarray(ids.to_numpy(), dtype=np.int64)
        task = Task(
            plan=made,
            clock=clock,
            context=context,
            experiment=None,
            seed=0,
            exploration=exploration,
            is_drawn_counted=True,
        )
        after = decide_people(engine, profiles, task, progress, name="decisions", is_sensitivity_asked=False)
        shown = engine.arrow(f"SELECT profile, rank, action, channel, P, V, cost FROM {PRESENT}.decisions")
        before = recorded(shown, profiles)
        present = frozenset(row[0] for row in engine.rows("DESCRIBE profiles"))
        groups = read_groups(engine, segment_names(present, ()))
        moved = mix.moves(before, after)
        return Plan(
            as_of=snapshot.manifest.as_of,
            is_same=snapshot.manifest.definitions == workspace.content_hash,
            is_rebuilt=not is_profiled_by(snapshot, workspace),
            money=workspace.currency if knows_worth(workspace.arbitration) else "points",
            before=mix.totals(before),
            after=mix.totals(after),
            audiences=_audiences(engine),
            actions=_actions(moved),
            segments=mix.changes(before, after, groups),
            moves=moved,
            seconds=round(time.perf_counter() - started, 3),
        )


def _audiences(engine: BatchEngine) -> tuple[AudienceChange, ...]:
    """Compare the audiences of all profiles, unknown people included."""
    here, there = (
        {row[0] for row in engine.rows(f"DESCRIBE {table}") if row[0].startswith(PREFIX)}
        for table in (f"{PRESENT}.profiles", "profiles")
    )
    names = sorted(here | there)
    if not names:
        return ()
    counts = ", ".join(
        f"count(*) FILTER (WHERE {was}), count(*) FILTER (WHERE {will}), "
        f"count(*) FILTER (WHERE {will} AND NOT {was}), count(*) FILTER (WHERE {was} AND NOT {will})"
        for was, will in ((_member("b", name, here), _member("a", name, there)) for name in names)
    )
    found = engine.rows(
        f"SELECT {counts} FROM {PRESENT}.profiles AS b FULL JOIN profiles AS a USING (profile)"
    )[0]
    return tuple(
        AudienceChange(
            audience=name.removeprefix(PREFIX),
            before=found[4 * place] if name in here else None,
            after=found[4 * place + 1] if name in there else None,
            entered=found[4 * place + 2],
            left=found[4 * place + 3],
        )
        for place, name in enumerate(names)
    )


def _member(relation: str, name: str, present: set[str]) -> str:
    return f"COALESCE({relation}.{quote(name)}, FALSE)" if name in present else "FALSE"


def _actions(moves: Sequence[Move]) -> tuple[ActionChange, ...]:
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    stay: Counter[str] = Counter()
    for move in moves:
        before[move.before] += move.customers
        after[move.after] += move.customers
        if move.before == move.after:
            stay[move.before] += move.customers
    names = sorted({*before, *after} - {mix.NOTHING}, key=lambda name: (-after[name], -before[name], name))
    return tuple(
        ActionChange(
            action=name,
            before=before[name],
            after=after[name],
            gained=after[name] - stay[name],
            lost=before[name] - stay[name],
        )
        for name in names
    )
