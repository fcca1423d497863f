"""Deciding for many customers at once: one SQL text for the funnel, numpy for the ranking.

The same answers as `decisions.single`, held equal by a test. Priorities are compared as floats; the few
customers for whom rounding could matter are decided again with exact decimals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilltal.core.names import literal, quote
from tilltal.decisions.arbitration import (
    Candidate,
    Context,
    arbitrate,
    fits,
    has_value,
    lever,
)
from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.decisions.single import NO_CHANNEL
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression
from tilltal.rules.sql import condition_sql, to_sql
from tilltal.workspace.definitions.policies import ContextRule

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_OWN_REASONS = ("", "invalid_propensity", "invalid_value", "not_positive")  # codes 0 to 3


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
    `reason_names`; 0 = passed), `h<i>` (index of the channel), `p<i>`, `v<i>`; `c<j>` says whether the
    profile fulfils context rule j.
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
    parts += [
        f"COALESCE({quote(rule.key)} = {_constant(rule.value)}, FALSE) AS c{index}"
        for index, rule in enumerate(plan.arbitration.context_rules)
        if rule.key in plan.schema
    ]
    return f"SELECT {', '.join(parts)} FROM {relation} WHERE {where}"


def reason_names(plan: DecisionPlan) -> tuple[str, ...]:
    """Return every reason that may remove a candidate, in the order of their codes."""
    found = dict.fromkeys((*_OWN_REASONS, "eligibility:not_started", "eligibility:expired", NO_CHANNEL))
    for action in plan.actions:
        found.update(dict.fromkeys(rule.reason for rule in action.rules))
        found.update(
            dict.fromkeys(
                f"contact_policy:{check.reason}" for channel in action.channels for check in channel.checks
            )
        )
    return tuple(found)


def rank(plan: DecisionPlan, table: pa.Table, context: Context) -> BatchDecision:
    """Rank the candidates of every customer in the result of `input_sql`.

    Args:
        plan: the plan that made the SQL.
        table: n rows.
        context: what is known of the moment, the same for all.
    """
    policy = plan.arbitration
    reasons = _matrix(table, "f", plan, 0.0).astype(np.int64)
    propensity, value = _matrix(table, "p", plan, np.nan), _matrix(table, "v", plan, np.nan)
    reasons = np.where(np.isfinite(value) | np.isnan(value), reasons, 2)
    is_invalid = ~np.isnan(propensity) & ~((propensity >= 0) & (propensity <= 1))
    reasons = np.where(is_invalid, 1, reasons)
    given = (propensity, value)
    propensity = np.where(np.isnan(propensity), policy.defaults.propensity, propensity)
    value = np.where(np.isnan(value), policy.defaults.value, value)
    factors = _switched(plan, propensity, _context(plan, table, context), value)
    priority = np.round(factors[0] * factors[1] * factors[2] * factors[3], 9)
    mandatory = np.array([action.definition.mandatory for action in plan.actions], dtype=bool)
    if policy.offer_only_positive:
        reasons = np.where((reasons == 0) & (priority <= 0) & ~mandatory, 3, reasons)
    order = _order(priority, reasons, mandatory)
    shown = _take(plan, order, reasons)
    for row in np.flatnonzero(_is_close(shown, order, factors, priority, reasons, mandatory)):
        shown[row] = _exactly(plan, table, int(row), given, reasons, context)
    rows = np.arange(len(shown))[:, None]
    channel = _matrix(table, "h", plan, -1.0).astype(np.int64)
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
            f"WHEN NOT ({check.sql(quote(check.name))}) THEN {codes['contact_policy:' + check.reason]}"
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
        return quote(f"score.{action.model}")
    return "NULL" if action.propensity is None else repr(action.propensity)


def _value_sql(action: ActionPlan, clock: Clock) -> str:
    value = action.value
    return to_sql(value, quote, clock=clock) if isinstance(value, Expression) else repr(value)


def _constant(value: str | float | bool) -> str:
    return literal(value) if isinstance(value, str) else str(value).upper()


def _matrix(table: pa.Table, prefix: str, plan: DecisionPlan, missing: float) -> Floats:
    columns = [
        table.column(f"{prefix}{index}").fill_null(missing).to_numpy() for index in range(len(plan.actions))
    ]
    stacked = np.empty((table.num_rows, len(columns)))
    for index, column in enumerate(columns):
        stacked[:, index] = column
    return stacked


def _context(plan: DecisionPlan, table: pa.Table, context: Context) -> Floats:
    """Return C of every customer and action."""
    weights = np.zeros((table.num_rows, len(plan.actions)))
    for index, rule in enumerate(plan.arbitration.context_rules):
        columns = [number for number, action in enumerate(plan.actions) if _rule_fits(rule, action)]
        holds = _holds(table, index, rule, context)
        if columns and holds is not None:
            weights[:, columns] += np.where(holds, rule.weight, 0.0)[:, None]
    return np.asarray(np.maximum(1 + weights / 100, 0))


def _holds(table: pa.Table, index: int, rule: ContextRule, context: Context) -> Bools | None:
    """Say for whom a context rule holds; the moment's context goes before the profile's."""
    if rule.key in context:
        return np.full(table.num_rows, has_value(context, rule.key, rule.value))
    name = f"c{index}"
    return np.asarray(table.column(name).to_numpy()) if name in table.column_names else None


def _rule_fits(rule: ContextRule, action: ActionPlan) -> bool:
    return fits(rule.applies_to, _candidate(action))


def _candidate(action: ActionPlan, **given: float | str | None) -> Candidate:
    definition = action.definition
    bare = Candidate(
        action=action.name,
        group=definition.group,
        issue=definition.issue,
        mandatory=definition.mandatory,
    )
    return msgspec.structs.replace(bare, **given) if given else bare


def _switched(
    plan: DecisionPlan, propensity: Floats, context: Floats, value: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return P, C, V, L with those that are off, or that the mode does not use, set to 1."""
    on, is_full = plan.arbitration.factors, plan.arbitration.mode == "pcvl"
    ones = np.ones_like(propensity)
    levers = ones * [float(lever(_candidate(action), plan.arbitration)) for action in plan.actions]
    return (
        propensity if on.P else ones,
        context if on.C and is_full else ones,
        value if on.V else ones,
        levers if on.L and is_full else ones,
    )


def _order(priority: Floats, reasons: Ints, mandatory: Bools) -> Ints:
    """Return candidate indices, best first: mandatory, then priority, then name; removed ones last.

    Columns lie in order of name and the sort is stable, so equal priorities keep that order.
    """
    tier = np.where(reasons > 0, 2, np.where(mandatory, 0, 1))
    return np.asarray(np.lexsort((-priority, tier), axis=-1))


def _take(plan: DecisionPlan, order: Ints, reasons: Ints) -> Ints:
    """Fill the slots from the order, at most `max_per_group` of a group; -1 where nothing is left."""
    rows, width = order.shape
    slots, limit = plan.arbitration.slots, plan.arbitration.max_per_group
    groups = {name: number for number, name in enumerate({a.definition.group: 0 for a in plan.actions})}
    group_of = np.array([groups[action.definition.group] for action in plan.actions], dtype=np.int64)
    shown = np.full((rows, slots), -1, dtype=np.int64)
    filled = np.zeros(rows, dtype=np.int64)
    taken = np.zeros((rows, max(len(groups), 1)), dtype=np.int64)
    everyone = np.arange(rows)
    for position in range(width):
        candidate = order[:, position]
        group = group_of[candidate]
        fits_in = (reasons[everyone, candidate] == 0) & (filled < slots)
        if limit is not None:
            fits_in &= taken[everyone, group] < limit
        chosen = np.flatnonzero(fits_in)
        shown[chosen, filled[chosen]] = candidate[chosen]
        taken[chosen, group[chosen]] += 1
        filled[chosen] += 1
        if limit is None and position + 1 >= slots:
            break
    return shown


def _is_close(
    shown: Ints,
    order: Ints,
    factors: Sequence[Floats],
    priority: Floats,
    reasons: Ints,
    mandatory: Bools,
) -> Bools:
    """Say for which rows two neighbours in the order are so near that float rounding could swap them.

    Neighbours whose four factors are equal, or whose products are exactly 0, are true ties.
    """
    first, second = order[:, :-1], order[:, 1:]
    rows = np.arange(len(order))[:, None]
    left, right = priority[rows, first], priority[rows, second]
    near = np.abs(left - right) <= 2e-9 + 1e-14 * np.abs(left)
    same = np.logical_and.reduce([factor[rows, first] == factor[rows, second] for factor in factors])
    same |= (left == 0) & (right == 0)
    both = (reasons[rows, first] == 0) & (reasons[rows, second] == 0)
    both &= mandatory[first] == mandatory[second]
    return np.asarray((near & ~same & both).any(axis=1) & (shown[:, 0] >= 0))


def _exactly(
    plan: DecisionPlan,
    table: pa.Table,
    row: int,
    given: tuple[Floats, Floats],
    reasons: Ints,
    context: Context,
) -> Ints:
    """Decide one row again with exact decimals; return its shown candidates."""
    candidates = [
        _candidate(
            action,
            propensity=_known(given[0][row, index]),
            value=_known(given[1][row, index]),
            failed=None if reasons[row, index] == 0 else "removed",
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
    return np.array(shown + [-1] * (plan.arbitration.slots - len(shown)), dtype=np.int64)


def _known(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
