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
    has_value,
    lever,
    weight_of,
)
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

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_FLOAT = 1e-14  # more than four factors and a rounding lose of a float's 16 digits
_HALF_PLACE = 5e-10  # a priority up to it rounds to 0
_WHOLE = 1e16  # floats from here on have no decimals

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
    if not plan.actions:
        return _silence(plan, table.num_rows)
    given = _matrix(table, "p", plan, np.nan), _matrix(table, "v", plan, np.nan)
    removed = _removed(_matrix(table, "f", plan, 0.0).astype(np.int64), *given)
    propensity = np.where(np.isnan(given[0]), policy.defaults.propensity, given[0])
    value = np.where(np.isnan(given[1]), policy.defaults.value, given[1])
    factors = _switched(plan, propensity, _context(plan, table, context), value)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond the floats: decided exactly below
        product = factors[0] * factors[1] * factors[2] * factors[3]
        priority = np.where(np.abs(product) < _WHOLE, np.round(product, 9), product)
    mandatory = np.array([action.definition.mandatory for action in plan.actions], dtype=bool)
    is_worthless = policy.offer_only_positive & (priority <= 0) & ~mandatory
    reasons = np.where((removed == 0) & is_worthless, 3, removed)
    order = _order(priority, reasons, mandatory)
    shown = _take(plan, order, reasons)
    unsure = _is_close(order, factors, priority, reasons, mandatory) | _is_doubtful(
        product, removed, is_strict=policy.offer_only_positive
    )
    for row in np.flatnonzero(unsure):
        shown[row], reasons[row] = _exactly(plan, table, int(row), given, removed, context)
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


def _matrix(table: pa.Table, prefix: str, plan: DecisionPlan, missing: float) -> Floats:
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
    return [float(weight_of(rules, _candidate(action))) for action in plan.actions]


def _holds(table: pa.Table, index: int, rule: ContextRule, context: Context) -> Bools | bool:
    """Say for whom a context rule holds; the moment's context goes before the profile's."""
    if rule.key in context:
        return has_value(context, rule.key, rule.value)
    name = f"c{index}"
    return np.asarray(table.column(name).to_numpy()) if name in table.column_names else False


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
    levers = ones * np.array([float(lever(_candidate(action), plan.arbitration)) for action in plan.actions])
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
    order: Ints, factors: Sequence[Floats], priority: Floats, reasons: Ints, mandatory: Bools
) -> Bools:
    """Say for which rows two neighbours in the order are so near that float rounding could swap them.

    Neighbours whose four factors are equal, or whose products are exactly 0, are true ties.
    """
    first, second = order[:, :-1], order[:, 1:]
    rows = np.arange(len(order))[:, None]
    left, right = priority[rows, first], priority[rows, second]
    with np.errstate(invalid="ignore"):
        near = np.abs(left - right) <= 2e-9 + _FLOAT * np.abs(left)
    same = np.logical_and.reduce([factor[rows, first] == factor[rows, second] for factor in factors])
    same |= (left == 0) & (right == 0)
    both = (reasons[rows, first] == 0) & (reasons[rows, second] == 0)
    both &= mandatory[first] == mandatory[second]
    return np.asarray((near & ~same & both).any(axis=1))


def _is_doubtful(product: Floats, removed: Ints, *, is_strict: bool) -> Bools:
    """Say for which rows a priority is beyond the floats, or so small that rounding says if it is 0."""
    doubt = ~np.isfinite(product)
    if is_strict:
        doubt |= np.abs(product - _HALF_PLACE) < _FLOAT * _HALF_PLACE
    return np.asarray((doubt & (removed == 0)).any(axis=1))


def _exactly(
    plan: DecisionPlan,
    table: pa.Table,
    row: int,
    given: tuple[Floats, Floats],
    removed: Ints,
    context: Context,
) -> tuple[Ints, Ints]:
    """Decide one row again with exact decimals; return its shown candidates and all reasons."""
    candidates = [
        _candidate(
            action,
            propensity=_known(given[0][row, index]),
            value=_known(given[1][row, index]),
            failed=None if removed[row, index] == 0 else "removed",
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
    reasons = removed[row].copy()
    reasons[[position[entry.action] for entry in ranking.lost if entry.reason == _OWN_REASONS[3]]] = 3
    return np.array(shown + [-1] * (plan.arbitration.slots - len(shown)), dtype=np.int64), reasons


def _known(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
