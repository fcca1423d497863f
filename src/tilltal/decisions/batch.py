"""Deciding for many customers at once: one SQL text for the funnel, numpy for the ranking.

The same answers as `decisions.single`, held equal by a test. Priorities are compared as floats; the few
customers for whom rounding could matter are decided again with exact decimals.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import pyarrow as pa

from tilltal.core.names import literal, quote
from tilltal.decisions.arbitration import Context, arbitrate, has_value, weight_of
from tilltal.decisions.batch_ranking import (
    Bools,
    Floats,
    Ints,
    Worth,
    as_candidate,
    costs_of,
    depth_of,
    fill,
    is_close,
    is_doubtful,
    is_worthless,
    levers_of,
    order,
)
from tilltal.decisions.history.influences import UNIT
from tilltal.decisions.plan import ActionPlan, Channel, DecisionPlan
from tilltal.decisions.single import NO_CHANNEL
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression, parse
from tilltal.rules.sql import condition_sql, to_sql
from tilltal.rules.types import Type
from tilltal.workspace.definitions.policies import ContextRule

_PYTHON: Mapping[Type, tuple[type, ...]] = {
    Type.BOOLEAN: (bool,),
    Type.INTEGER: (int, float),
    Type.NUMBER: (int, float),
    Type.TEXT: (str,),
    Type.DATE: (),
    Type.TIMESTAMP: (),
}

_OWN_REASONS = ("", "invalid_propensity", "invalid_value", "not_positive", "below_nothing")  # codes 0 to 4
_NOT_POSITIVE, _BELOW_NOTHING = 3, 4


class BatchDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What is best for each of n customers, in arrays of n rows and `slots` columns.

    `actions` holds indices into the plan's actions, -1 where fewer are shown; `cost` what each contact costs;
    `reasons` holds, for each of the n × m candidates, an index into `reason_names`: 0 = took part in the
    ranking.
    """

    actions: Ints
    channels: Ints
    priority: Floats
    propensity: Floats
    context: Floats
    value: Floats
    lever: Floats
    cost: Floats
    reasons: Ints
    reason_names: tuple[str, ...]


def input_sql(
    plan: DecisionPlan, relation: str, clock: Clock, where: str = "TRUE", *, every_channel: bool = False
) -> str:
    """Return the SELECT that takes every customer through the funnel.

    Its columns are `profile`, and for action number i: `f<i>` (code of the removing rule, see
    `reason_names`; 0 = passed), `h<i>` (index of the channel), `p<i>`, `v<i>`, and where past outcomes
    influence it, `l<i>` (what they add to L); `c<j>` says whether the profile fulfils context rule j. With
    `every_channel` also `a<i>_<k>`: whether a contact by the action's channel number k is allowed.
    """
    names = reason_names(plan)
    codes = {name: code for code, name in enumerate(names)}
    parts = ["profile"]
    for index, action in enumerate(plan.actions):
        parts += [
            f"CAST({_failed_sql(action, codes, clock)} AS SMALLINT) AS f{index}",
            f"CAST({_channel_sql(action)} AS TINYINT) AS h{index}",
            f"CAST({_propensity_sql(action)} AS DOUBLE) AS p{index}",
            f"CAST({_value_sql(action, clock)} AS DOUBLE) AS v{index}",
        ]
        parts += [f"{_influence_sql(action)} AS l{index}"] if action.influences else []
        parts += [
            f"({_passes_sql(channel)}) AS a{index}_{place}"
            for place, channel in enumerate(action.channels if every_channel else ())
        ]
    parts += [
        f"{_holds_sql(rule, plan.schema, clock)} AS c{index}"
        for index, rule in enumerate(plan.arbitration.context_rules)
        if rule.key in plan.schema
    ]
    return f"SELECT {', '.join(parts)} FROM {relation} WHERE {where}"


def reason_names(plan: DecisionPlan) -> tuple[str, ...]:
    """Return every reason that may remove a candidate, in the order of their codes."""
    found = dict.fromkeys((*_OWN_REASONS, "eligibility:not_started", "eligibility:expired", NO_CHANNEL))
    for action in plan.actions:
        found.update(dict.fromkeys(rule.reason for rule in action.rules))
        found.update(dict.fromkeys(check.why for channel in action.channels for check in channel.checks))
    return tuple(found)


def rank(plan: DecisionPlan, table: pa.Table, context: Context) -> BatchDecision:
    """Rank the candidates of every customer in the result of `input_sql`.

    Args:
        plan: the plan that made the SQL.
        table: n rows.
        context: what is known of the moment, the same for all.
    """
    policy = plan.arbitration
    if not plan.actions:
        return _silence(plan, table.num_rows)
    found = compared(plan, table, context)
    removed, factors, channel = found.removed, found.factors, matrix(table, "h", plan, -1.0).astype(np.int64)
    worth = Worth.of(factors, costs_of(plan, channel))
    priority = worth.priority
    mandatory = np.array([action.definition.mandatory for action in plan.actions], dtype=bool)
    reasons = removed
    for code, worthless in zip((_NOT_POSITIVE, _BELOW_NOTHING), is_worthless(priority, policy), strict=True):
        reasons = np.where((removed == 0) & worthless & ~mandatory, code, reasons)
    ordered = order(priority, reasons, mandatory)
    shown = fill(plan, ordered, reasons)
    depth = depth_of(ordered, shown, reasons)
    unsure = is_close(ordered, depth, worth, reasons, mandatory)
    unsure |= is_doubtful(worth, removed, policy)
    for row in np.flatnonzero(unsure):
        given_row = _Row(
            found.given[0][row],
            found.given[1][row],
            removed[row],
            None if found.influences is None else found.influences[row],
            None if worth.costs is None else worth.costs[row],
        )
        shown[row], reasons[row] = _exactly(plan, table, int(row), given_row, context)
    rows = np.arange(len(shown))[:, None]
    costs = np.zeros(priority.shape) if worth.costs is None else worth.costs
    picked = [np.where(shown >= 0, matrix[rows, shown], np.nan) for matrix in (priority, *factors, costs)]
    return BatchDecision(
        actions=shown,
        channels=np.where(shown >= 0, channel[rows, shown], -1),
        priority=picked[0],
        propensity=picked[1],
        context=picked[2],
        value=picked[3],
        lever=picked[4],
        cost=picked[5],
        reasons=reasons,
        reason_names=reason_names(plan),
    )


class Compared(msgspec.Struct, frozen=True):
    """What n customers' m candidates are compared by.

    `given` are P and V as they were found (NaN: unknown), `known` with the policy's defaults. `removed` says
    why a candidate never comes to a comparison (index into `reason_names`), `influences` what past outcomes
    add to L. `factors` are P, C, V and L.
    """

    given: tuple[Floats, Floats]
    known: tuple[Floats, Floats]
    removed: Ints
    influences: Ints | None
    factors: tuple[Floats, Floats, Floats, Floats]


def compared(plan: DecisionPlan, table: pa.Table, context: Context) -> Compared:
    """Return what the candidates of every customer in the result of `input_sql` are compared by.

    Arguments are those of `rank`; there is an action at least.
    """
    given = matrix(table, "p", plan, np.nan), matrix(table, "v", plan, np.nan)
    removed = _removed(matrix(table, "f", plan, 0.0).astype(np.int64), *given)
    defaults = plan.arbitration.defaults
    propensity = np.where(np.isnan(given[0]), defaults.propensity, given[0])
    value = np.where(np.isnan(given[1]), defaults.value, given[1])
    influences = _influences(plan, table)
    factors = _switched(plan, propensity, _context(plan, table, context), value, influences)
    return Compared(given, (propensity, value), removed, influences, factors)


def _failed_sql(action: ActionPlan, codes: Mapping[str, int], clock: Clock) -> str:
    outside = action.outside_life(clock)
    if outside:
        return str(codes[outside])
    branches = [
        f"WHEN NOT {condition_sql(rule.condition, quote, clock=clock)} THEN {codes[rule.reason]}"
        for rule in action.rules
    ]
    branches.append(f"WHEN {_channel_sql(action)} >= 0 THEN 0")
    if action.channels:  # nobody may be contacted: the first channel's first failing check is the reason
        branches += [
            f"WHEN NOT ({check.sql(quote(check.name))}) THEN {codes[check.why]}"
            for check in action.channels[0].checks
        ]
    return f"CASE {' '.join(branches)} ELSE {codes[NO_CHANNEL]} END"


def _channel_sql(action: ActionPlan) -> str:
    branches = [f"WHEN {_passes_sql(channel)} THEN {place}" for place, channel in enumerate(action.channels)]
    return f"(CASE {' '.join(branches)} ELSE -1 END)" if branches else "-1"


def _passes_sql(channel: Channel) -> str:
    return " AND ".join(check.sql(quote(check.name)) for check in channel.checks) or "TRUE"


def _propensity_sql(action: ActionPlan) -> str:
    if action.uplift is None:
        return _stated_sql(action)
    return f"COALESCE({_effect_sql(action.uplift)}, CAST({_stated_sql(action)} AS DOUBLE))"


def _effect_sql(model: str) -> str:
    score = quote(f"score.{model}")
    return f"CASE WHEN {score} < 0 THEN 0 ELSE {score} END"


def _stated_sql(action: ActionPlan) -> str:
    if action.model:
        return _effect_sql(action.model) if action.is_incremental else quote(f"score.{action.model}")
    return "NULL" if action.propensity is None else repr(action.propensity)


def _value_sql(action: ActionPlan, clock: Clock) -> str:
    value = action.value
    return to_sql(value, quote, clock=clock) if isinstance(value, Expression) else repr(value)


def _influence_sql(action: ActionPlan) -> str:
    """Return what past outcomes add to L, as a whole number that is never NULL."""
    summed = " + ".join(f"COALESCE({quote(name)}, 0)" for name in action.influences)
    return f"CAST({summed} AS BIGINT)"


def _holds_sql(rule: ContextRule, schema: Mapping[str, Type], clock: Clock) -> str:
    """Return the condition that a profile's own name has the rule's value; a value of another type never is.

    The same as `arbitration.has_value`, which takes 1 and TRUE, or 7 and '7', for different.
    """
    kind = schema[rule.key]
    if kind is not Type.ANY and not isinstance(rule.value, _PYTHON[kind]):
        return "FALSE"
    if isinstance(rule.value, bool) is not (kind is Type.BOOLEAN) and kind is not Type.ANY:
        return "FALSE"
    value = literal(rule.value) if isinstance(rule.value, str) else str(rule.value).upper()
    return condition_sql(parse(f"{rule.key} = {value}", schema, want=Type.BOOLEAN), quote, clock=clock)


def matrix(table: pa.Table, prefix: str, plan: DecisionPlan, missing: float) -> Floats:
    """Return the columns of one kind of the result of `input_sql` as (n, m), a number in place of NULL."""
    columns = [
        table.column(f"{prefix}{index}").fill_null(missing).to_numpy() for index in range(len(plan.actions))
    ]
    stacked = np.empty((table.num_rows, len(columns)))
    for index, column in enumerate(columns):
        stacked[:, index] = column
    return stacked


def _removed(failed: Ints, propensity: Floats, value: Floats) -> Ints:
    """Return why each candidate never comes to a comparison: its own numbers first, then the funnel."""
    has_value = np.isnan(value) | np.isfinite(value)
    has_propensity = np.isnan(propensity) | ((propensity >= 0) & (propensity <= 1))
    return np.asarray(np.where(~has_propensity, 1, np.where(~has_value, 2, failed)))


def _silence(plan: DecisionPlan, rows: int) -> BatchDecision:
    """Return the decision of a workspace without actions."""
    nothing = np.full((rows, plan.arbitration.slots), np.nan)
    return BatchDecision(
        actions=np.full(nothing.shape, -1, dtype=np.int64),
        channels=np.full(nothing.shape, -1, dtype=np.int64),
        priority=nothing,
        propensity=nothing,
        context=nothing,
        value=nothing,
        lever=nothing,
        cost=nothing,
        reasons=np.zeros((rows, 0), dtype=np.int64),
        reason_names=reason_names(plan),
    )


def _context(plan: DecisionPlan, table: pa.Table, context: Context) -> Floats:
    """Return C of every customer and action, each a float of an exact sum: weights may cancel.

    Few combinations of rules occur, so each is summed once.
    """
    rules = plan.arbitration.context_rules
    holds = np.zeros((table.num_rows, len(rules)), dtype=bool)
    for index, rule in enumerate(rules):
        holds[:, index] = _holds(table, index, rule, context)
    packed = np.packbits(holds, axis=1)
    _, first, group = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    weights = [_weights(plan, holds[row]) for row in first]
    return np.array(weights, dtype=np.float64).reshape(-1, len(plan.actions))[group.reshape(-1)]


def _weights(plan: DecisionPlan, holds: Bools) -> list[float]:
    rules = [rule for rule, is_held in zip(plan.arbitration.context_rules, holds, strict=True) if is_held]
    return [float(weight_of(rules, as_candidate(action))) for action in plan.actions]


def _holds(table: pa.Table, index: int, rule: ContextRule, context: Context) -> Bools | bool:
    """Say for whom a context rule holds; the moment's context goes before the profile's."""
    if rule.key in context:
        return has_value(context, rule.key, rule.value)
    name = f"c{index}"
    return np.asarray(table.column(name).to_numpy()) if name in table.column_names else False


def _influences(plan: DecisionPlan, table: pa.Table) -> Ints | None:
    """Return what past outcomes add to L of each customer and action; None where nothing does."""
    influenced = [index for index, action in enumerate(plan.actions) if action.influences]
    if not influenced:
        return None
    found = np.zeros((table.num_rows, len(plan.actions)), dtype=np.int64)
    for index in influenced:
        found[:, index] = table.column(f"l{index}").to_numpy()
    return found


def _switched(
    plan: DecisionPlan, propensity: Floats, context: Floats, value: Floats, influences: Ints | None
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return P, C, V, L with those that are off, or that the mode does not use, set to 1."""
    on, is_full = plan.arbitration.factors, plan.arbitration.mode == "pcvl"
    ones = np.ones_like(propensity)
    return (
        propensity if on.P else ones,
        context if on.C and is_full else ones,
        value if on.V else ones,
        ones * levers_of(plan, influences) if on.L and is_full else ones,
    )


class _Row(msgspec.Struct, frozen=True):
    """What is known of one customer's candidates, by action."""

    propensity: Floats
    value: Floats
    removed: Ints
    influences: Ints | None
    costs: Floats | None


def _exactly(
    plan: DecisionPlan, table: pa.Table, row: int, given: _Row, context: Context
) -> tuple[Ints, Ints]:
    """Decide one row again with exact decimals; return its shown candidates and all reasons."""
    candidates = [
        msgspec.structs.replace(
            as_candidate(action),
            propensity=_known(given.propensity[index]),
            value=_known(given.value[index]),
            failed=None if given.removed[index] == 0 else "removed",
            influence=0.0 if given.influences is None else int(given.influences[index]) / UNIT,
            cost=0.0 if given.costs is None else float(given.costs[index]),
        )
        for index, action in enumerate(plan.actions)
    ]
    moment = dict(context)
    for index, rule in enumerate(plan.arbitration.context_rules):
        name = f"c{index}"
        if rule.key not in context and name in table.column_names and table.column(name)[row].as_py():
            moment[rule.key] = rule.value
    ranking = arbitrate(candidates, plan.arbitration, moment)
    position = {action.name: index for index, action in enumerate(plan.actions)}
    shown = [position[entry.action] for entry in ranking.ranked]
    reasons = given.removed.copy()
    for entry in ranking.lost:
        if entry.reason in _OWN_REASONS[_NOT_POSITIVE:]:
            reasons[position[entry.action]] = _OWN_REASONS.index(entry.reason)
    return np.array(shown + [-1] * (plan.arbitration.slots - len(shown)), dtype=np.int64), reasons


def _known(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
