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
    as_candidate,
    depth_of,
    fill,
    is_close,
    is_doubtful,
    is_worthless,
    levers_of,
    order,
)
from tilltal.decisions.history.influences import UNIT
from tilltal.decisions.plan import ActionPlan, DecisionPlan
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

_WHOLE = 1e16  # floats from here on have no decimals

_OWN_REASONS = ("", "invalid_propensity", "invalid_value", "not_positive", "below_nothing")  # codes 0 to 4
_NOT_POSITIVE, _BELOW_NOTHING = 3, 4


class BatchDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What is best for each of n customers, in arrays of n rows and `slots` columns.

    `actions` holds indices into the plan's actions, -1 where fewer are shown; `reasons` holds, for each of
    the n × m candidates, an index into `reason_names`: 0 = took part in the ranking.
    """

    actions: Ints
    channels: Ints
    priority: Floats
    propensity: Floats
    context: Floats
    value: Floats
    lever: Floats
    reasons: Ints
    reason_names: tuple[str, ...]


def input_sql(plan: DecisionPlan, relation: str, clock: Clock, where: str = "TRUE") -> str:
    """Return the SELECT that takes every customer through the funnel.

    Its columns are `profile`, and for action number i: `f<i>` (code of the removing rule, see
    `reason_names`; 0 = passed), `h<i>` (index of the channel), `p<i>`, `v<i>`, and where past outcomes
    influence it, `l<i>` (what they add to L); `c<j>` says whether the profile fulfils context rule j.
    """
    names = reason_names(plan)
    codes = {name: code for code, name in enumerate(names)}
    parts = ["profile"]
    for index, action in enumerate(plan.actions):
        parts += [
            f"CAST({_failed_sql(action, codes, clock)} AS SMALLINT) AS f{index}",
            f"CAST({_channel_sql(action)} AS TINYINT) AS h{index}",
            f"CAST({_propensity_sql(action)} AS DOUBLE) AS p{index}",
            f"CAST({_value_sql(action, plan.arbitration.defaults.value, clock)} AS DOUBLE) AS v{index}",
        ]
        parts += [f"{_influence_sql(action)} AS l{index}"] if action.influences else []
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
    given = matrix(table, "p", plan, np.nan), matrix(table, "v", plan, np.nan)
    removed = _removed(matrix(table, "f", plan, 0.0).astype(np.int64), *given)
    propensity = np.where(np.isnan(given[0]), policy.defaults.propensity, given[0])
    value = np.where(np.isnan(given[1]), policy.defaults.value, given[1])
    influences = _influences(plan, table)
    factors = _switched(plan, propensity, _context(plan, table, context), value, influences)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond the floats: decided exactly below
        product = factors[0] * factors[1] * factors[2] * factors[3]
        priority = np.where(np.abs(product) < _WHOLE, np.round(product, 9), product)
    mandatory = np.array([action.definition.mandatory for action in plan.actions], dtype=bool)
    reasons = removed
    for code, worthless in zip((_NOT_POSITIVE, _BELOW_NOTHING), is_worthless(priority, policy), strict=True):
        reasons = np.where((removed == 0) & worthless & ~mandatory, code, reasons)
    ordered = order(priority, reasons, mandatory)
    shown = fill(plan, ordered, reasons)
    depth = depth_of(ordered, shown, reasons)
    unsure = is_close(ordered, depth, factors, priority, reasons, mandatory)
    unsure |= is_doubtful(product, removed, policy)
    for row in np.flatnonzero(unsure):
        given_row = _Row(
            given[0][row], given[1][row], removed[row], None if influences is None else influences[row]
        )
        shown[row], reasons[row] = _exactly(plan, table, int(row), given_row, context)
    rows = np.arange(len(shown))[:, None]
    channel = matrix(table, "h", plan, -1.0).astype(np.int64)
    picked = [np.where(shown >= 0, matrix[rows, shown], np.nan) for matrix in (priority, *factors)]
    return BatchDecision(
        actions=shown,
        channels=np.where(shown >= 0, channel[rows, shown], -1),
        priority=picked[0],
        propensity=picked[1],
        context=picked[2],
        value=picked[3],
        lever=picked[4],
        reasons=reasons,
        reason_names=reason_names(plan),
    )


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
    branches = []
    for index, channel in enumerate(action.channels):
        passes = " AND ".join(check.sql(quote(check.name)) for check in channel.checks) or "TRUE"
        branches.append(f"WHEN {passes} THEN {index}")
    return f"(CASE {' '.join(branches)} ELSE -1 END)" if branches else "-1"


def _propensity_sql(action: ActionPlan) -> str:
    if action.model:
        score = quote(f"score.{action.model}")
        return f"CASE WHEN {score} < 0 THEN 0 ELSE {score} END" if action.is_incremental else score
    return "NULL" if action.propensity is None else repr(action.propensity)


def _value_sql(action: ActionPlan, default: float, clock: Clock) -> str:
    """Return the value, less what a contact by the chosen channel costs."""
    value = action.value
    gross = to_sql(value, quote, clock=clock) if isinstance(value, Expression) else repr(value)
    if not action.has_cost:
        return gross
    costs = " ".join(
        f"WHEN {place} THEN CAST({channel.cost!r} AS DOUBLE)"
        for place, channel in enumerate(action.channels)
        if channel.cost
    )
    known = f"COALESCE(CAST({gross} AS DOUBLE), CAST({default!r} AS DOUBLE))"
    cost = f"(CASE {_channel_sql(action)} {costs} END)"
    return f"COALESCE({known} - {cost}, {gross})"


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
