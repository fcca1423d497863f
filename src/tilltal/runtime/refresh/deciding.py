"""Deciding for all customers in a refresh: profiles and past contacts in, ranked actions with reasons out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine
from tilltal.decisions.arbitration import Context
from tilltal.decisions.batch import BatchDecision, input_sql, rank
from tilltal.decisions.batch_exploring import Exploration, explored, openings
from tilltal.decisions.contacting.batch import ContactReadings, readings
from tilltal.decisions.context import context_columns
from tilltal.decisions.history.batch import history_sql, with_history
from tilltal.decisions.plan import DecisionPlan, Policies, plan_decisions
from tilltal.decisions.sending.batch import closed_columns
from tilltal.decisions.sending.choosing import Closing, Sender
from tilltal.models.model import Scorer, TrainedModel
from tilltal.rules.clock import Clock
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.sending import Pace
from tilltal.workspace.names import profile_schema
from tilltal.workspace.workspace import Workspace

INPUT = "decision_input"
_NO_CONTEXT: Context = MappingProxyType({})
NOTHING_KNOWN = Exploration("", {})
"""Of an action that learns, no more is known than its definition states."""
_OPENINGS = "action_openings"
_CHUNK = 200_000  # customers ranked at once: 30 actions of four factors are 200 MB
_REASONS = 3

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

REASON = pa.struct([("feature", pa.string()), ("effect", pa.float64())])
DECISIONS = pa.schema(
    [
        ("profile", pa.int64()),
        ("rank", pa.int8()),
        ("action", pa.string()),
        ("channel", pa.string()),
        ("priority", pa.float64()),
        ("P", pa.float64()),
        ("C", pa.float64()),
        ("V", pa.float64()),
        ("L", pa.float64()),
        ("cost", pa.float64()),
        ("reasons", pa.list_(REASON)),
        ("send_at", pa.timestamp("us")),
        ("send_reason", pa.string()),
    ]
)


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions of many customers: rows of DECISIONS, and (action, reason) → how many lost by it."""

    table: pa.Table
    funnel: Mapping[tuple[str, str], int]
    customers: int

    @property
    def funnel_table(self) -> pa.Table:
        """The funnel as `action`, `reason` (empty = took part in the ranking), `customers`."""
        rows = sorted(self.funnel.items())
        return pa.table(
            {
                "action": pa.array([action for (action, _), _ in rows], pa.string()),
                "reason": pa.array([reason for (_, reason), _ in rows], pa.string()),
                "customers": pa.array([count for _, count in rows], pa.int64()),
            }
        )


def decision_plan(workspace: Workspace, clock: Clock) -> DecisionPlan:
    """Return the workspace's actions and policies, parsed.

    Raises:
        WorkspaceError: with the faults of their expressions.
    """
    policies = Policies(
        arbitration=workspace.arbitration,
        consent=workspace.consent,
        contact=workspace.contact,
        engagement=workspace.engagement,
        sending=workspace.sending,
    )
    channels = {name: channels_of(workspace, name) for name in workspace.actions}
    uplifts = frozenset(name for name, model in workspace.models.items() if model.uplift is not None)
    return plan_decisions(workspace.actions, channels, profile_schema(workspace), policies, clock, uplifts)


def channels_of(workspace: Workspace, action: str) -> tuple[str, ...]:
    """Return the channels that an action has treatments for, the workspace's default first."""
    treated = {channel for channel, _ in workspace.treatments.get(action, {})}
    preferred = (workspace.contact.default_channel, *workspace.settings.channels)
    return tuple(channel for channel in dict.fromkeys(preferred) if channel in treated)


def open_input(
    engine: BatchEngine,
    workspace: Workspace,
    plan: DecisionPlan,
    clock: Clock,
    relation: str,
    *,
    only_known: bool = True,
    context: Context = _NO_CONTEXT,
    exploration: Exploration = NOTHING_KNOWN,
) -> None:
    """Make the view `decision_input`: profiles, known ones only, with all else that deciding reads.

    That is what stands against contacts, the history of contacts and outcomes, for whom new actions are not
    open yet, and the context, the same for all.
    """
    found = with_history(
        readings(plan.contacts, workspace.contact, workspace.consent, workspace.actions, clock, relation),
        history_sql(plan, workspace.contact, workspace.actions, clock),
        (*context_columns(workspace.engagement, context), *_closed(workspace, plan, clock)),
    )
    for name, select in found.tables.items():
        engine.run(f"CREATE OR REPLACE TABLE {name} AS {select}")
    condition = "is_known" if only_known else "TRUE"
    found = _with_openings(engine, found, plan, relation, exploration)
    engine.run(f"CREATE OR REPLACE VIEW {INPUT} AS {found.select(relation)} WHERE {condition}")


def _with_openings(
    engine: BatchEngine,
    found: ContactReadings,
    plan: DecisionPlan,
    relation: str,
    exploration: Exploration,
) -> ContactReadings:
    """Add for whom each new action is not open yet; nothing where all are open."""
    if not plan.arbitration.exploration.opening:
        return found
    profiles = engine.arrow(f"SELECT profile FROM {relation}").column("profile")
    ids = np.asarray(profiles.to_numpy(), dtype=np.int64)
    closed = openings(plan, exploration, ids)
    if not closed:
        return found
    columns = {name: pa.array(who.astype(np.int64)) for name, who in closed.items()}
    engine.register("closed_openings", pa.table({"profile": profiles, **columns}))
    engine.run(f"CREATE OR REPLACE TABLE {_OPENINGS} AS SELECT * FROM closed_openings")
    return msgspec.structs.replace(found, tables={**found.tables, _OPENINGS: ""})


def _closed(workspace: Workspace, plan: DecisionPlan, clock: Clock) -> tuple[str, ...]:
    """Return the columns that say of messages whose moment is chosen if none is left."""
    sender = Sender(workspace.sending, workspace.contact)
    return closed_columns(Closing(sender, plan.endings), sender, workspace.contact, clock)


def decide_all(
    engine: BatchEngine,
    plan: DecisionPlan,
    clock: Clock,
    models: Mapping[str, Scorer],
    context: Context,
    progress: Progress,
    pace: Pace | None = None,
    exploration: Exploration = NOTHING_KNOWN,
) -> Decided:
    """Decide for every customer of `decision_input`.

    `pace` says when it is sent, if that is chosen; `exploration` what is drawn with, if the policy explores.
    """
    total = int(engine.rows(f"SELECT count(*) FROM {INPUT}")[0][0])
    parts = max(1, -(-total // _CHUNK))
    progress.start("decisions", parts)
    tables: list[pa.Table] = []
    funnel: Counter[tuple[str, str]] = Counter()
    for part in range(parts):
        chosen = f"profile % {parts} = {part}"
        table = engine.arrow(input_sql(plan, INPUT, clock, chosen) + " ORDER BY profile")
        decision = rank(plan, explored(plan, table, exploration), context)
        _count(funnel, plan, decision)
        shown = _rows(plan, table, decision)
        reasoned = _with_reasons(engine, plan, clock, models, shown, chosen)
        tables.append(_with_moments(engine, plan, clock, pace, reasoned, chosen))
        progress.advance()
    return Decided(table=pa.concat_tables(tables), funnel=funnel, customers=total)


def _count(funnel: Counter[tuple[str, str]], plan: DecisionPlan, decision: BatchDecision) -> None:
    for index, action in enumerate(plan.actions):
        counts = np.bincount(decision.reasons[:, index], minlength=len(decision.reason_names))
        for code in np.flatnonzero(counts):
            funnel[action.name, decision.reason_names[code]] += int(counts[code])


def _rows(plan: DecisionPlan, table: pa.Table, decision: BatchDecision) -> pa.Table:
    """Return the shown actions as rows, without reasons, in order of profile and rank."""
    customer, slot = np.nonzero(decision.actions >= 0)
    action = decision.actions[customer, slot]
    channel = decision.channels[customer, slot]
    names = [each.name for each in plan.actions]
    channels = [
        plan.actions[number].channels[place].name if place >= 0 else None
        for number, place in zip(action.tolist(), channel.tolist(), strict=True)
    ]
    return pa.table(
        {
            "profile": table.column("profile").combine_chunks().take(pa.array(customer)),
            "rank": pa.array(slot + 1, pa.int8()),
            "action": pa.array(names, pa.string()).take(pa.array(action)),
            "channel": pa.array(channels, pa.string()),
            "priority": decision.priority[customer, slot],
            "P": decision.propensity[customer, slot],
            "C": decision.context[customer, slot],
            "V": decision.value[customer, slot],
            "L": decision.lever[customer, slot],
            "cost": decision.cost[customer, slot],
        }
    )


def _with_reasons(
    engine: BatchEngine,
    plan: DecisionPlan,
    clock: Clock,
    models: Mapping[str, Scorer],
    shown: pa.Table,
    chosen: str,
) -> pa.Table:
    """Add the model's strongest reasons to each shown action that a model scores."""
    names: list[str] = []
    feature = np.zeros((shown.num_rows, _REASONS), dtype=np.int64)
    effect = np.zeros((shown.num_rows, _REASONS))
    actions = np.array(shown.column("action").to_pylist(), dtype=object)
    profiles = np.asarray(shown.column("profile").to_numpy())
    for name, members in _by_model(plan):
        model = models.get(name)
        rows = np.flatnonzero(np.isin(actions, members))
        if not isinstance(model, TrainedModel) or not len(rows):
            continue
        people, place = np.unique(profiles[rows], return_inverse=True)
        table = _features(engine, model, pa.array(people), chosen)
        found = model.strongest(table, clock.today, _REASONS, 0)
        width = found.places.shape[1]
        feature[rows, :width] = found.places[place] + len(names)
        effect[rows, :width] = found.effects[place]
        names += model.content.encoding.names
    return shown.append_column("reasons", _reasons(names, feature, effect))


def timed(
    engine: BatchEngine, plan: DecisionPlan, clock: Clock, pace: Pace | None, shown: pa.Table, chosen: str
) -> tuple[pa.Array, pa.Array]:
    """Return when each of some actions is sent, and whose rhythm says so; NULL where that is not chosen."""
    if pace is None:
        return pa.nulls(shown.num_rows, pa.timestamp("us")), pa.nulls(shown.num_rows, pa.string())
    return pace.moments(engine, plan, shown, INPUT, chosen, clock)


def _with_moments(
    engine: BatchEngine, plan: DecisionPlan, clock: Clock, pace: Pace | None, shown: pa.Table, chosen: str
) -> pa.Table:
    at, because = timed(engine, plan, clock, pace, shown, chosen)
    return shown.append_column("send_at", at).append_column("send_reason", because).cast(DECISIONS)


def _reasons(names: list[str], feature: Ints, effect: Floats) -> pa.Array:
    """Return a list of reasons per row; an effect of 0 is none."""
    kept = effect != 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(kept.sum(axis=1))]), pa.int32())
    named = pa.array(names, pa.string()).take(pa.array(feature[kept]))
    values = pa.StructArray.from_arrays([named, pa.array(effect[kept])], fields=list(REASON))
    return pa.ListArray.from_arrays(offsets, values)


def _by_model(plan: DecisionPlan) -> Iterator[tuple[str, list[str]]]:
    models = sorted({action.model for action in plan.actions if action.model})
    for model in models:
        yield model, [action.name for action in plan.actions if action.model == model]


def _features(engine: BatchEngine, model: TrainedModel, profiles: pa.Array, chosen: str) -> pa.Table:
    """Return the model's features of these customers, in their order (by profile)."""
    engine.register("reasoned", pa.table({"profile": profiles}))
    columns = ", ".join(quote(name) for name in model.content.encoding.names)
    return engine.arrow(
        f"SELECT {columns} FROM {INPUT} WHERE {chosen} AND profile IN (SELECT profile FROM reasoned) "
        "ORDER BY profile"
    )
