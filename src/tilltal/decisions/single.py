"""Deciding for one customer: the exact form, which explanation, case files and the online path use.

`decisions.batch` gives the same answers for many customers at once; a test holds them equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import msgspec

from tilltal.decisions.arbitration import Candidate, Context, Factored, Ranking, arbitrate
from tilltal.decisions.contacting.checks import Check
from tilltal.decisions.history.influences import UNIT
from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression
from tilltal.rules.python import to_python
from tilltal.rules.types import Type

Row = Mapping[str, object]  # profile name → value, as the batch computed it
Compile = Callable[[Expression], Callable[[Row, Clock], object]]

NO_CHANNEL = "contact_policy:no_channel"


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate with the channel it would use, and the values its removing rule saw.

    `adds` says whether P is what the action adds; None where no experiment is asked. `against` has the first
    reason against each channel, where the contact policy allows none; the first of them is the candidate's.
    """

    candidate: Candidate
    channel: str | None
    seen: Mapping[str, object]
    adds: bool | None = None
    against: Mapping[str, str] = {}


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What is best for one customer, and why each other action is not."""

    ranking: Ranking
    proposals: Mapping[str, Proposal]

    def factors(self, action: str) -> Factored | None:
        """Return the factors of an action that came to a comparison."""
        shown = {entry.action: entry.factors for entry in self.ranking.ranked}
        lost = {entry.action: entry.factors for entry in self.ranking.lost}
        return shown.get(action) or lost.get(action)


def decide(
    plan: DecisionPlan, row: Row, clock: Clock, context: Context, compiled: Compile = to_python
) -> Decision:
    """Decide for one customer.

    Args:
        plan: the parsed actions and policies.
        row: every name that `plan.names` lists, `context.<field>` included; a missing name counts as NULL.
        clock: the instant of the decision.
        context: what is known of the moment; the profile's own names serve as context too.
        compiled: makes a function of an expression; who decides often keeps them.
    """
    proposals = {action.name: propose(action, row, clock, compiled) for action in plan.actions}
    keys = {rule.key for rule in plan.arbitration.context_rules} & plan.schema.keys()
    known = {key: value for key in keys if isinstance(value := row.get(key), str | int | float | bool)}
    ranking = arbitrate(
        [proposal.candidate for proposal in proposals.values()], plan.arbitration, {**known, **context}
    )
    return Decision(ranking=ranking, proposals=proposals)


def as_row(stored: Mapping[str, object], schema: Mapping[str, Type]) -> Row:
    """Return a stored profile as expressions read it: no number is None, and untyped JSON is its value."""
    return {name: _value_of(value, schema.get(name)) for name, value in stored.items()}


def propose(action: ActionPlan, row: Row, clock: Clock, compiled: Compile = to_python) -> Proposal:
    """Take one action through eligibility, applicability, suitability and contact policy.

    Args:
        action: the action.
        row: as for `decide`.
        clock: the instant.
        compiled: as for `decide`.
    """
    failed, seen = _removed(action, row, clock, compiled)
    channel: str | None = None
    against: Mapping[str, Check] = {}
    if failed is None:
        channel, against = _channel(action, row)
        if channel is None:
            first = next(iter(against.values()), None)
            failed, seen = (
                (NO_CHANNEL, {}) if first is None else (first.why, {first.name: row.get(first.name)})
            )
    candidate = Candidate(
        action=action.name,
        group=action.definition.group,
        issue=action.definition.issue,
        propensity=_propensity(action, row),
        value=_value(action.value, row, clock, compiled),
        mandatory=action.definition.mandatory,
        failed=failed,
        influence=_influence(action, row),
        cost=next((each.cost for each in action.channels if each.name == channel), 0.0),
    )
    adds = None
    if action.uplift is not None:
        adds = action.effect(row.get(f"score.{action.uplift}")) is not None
    reasons = {name: check.why for name, check in against.items()}
    return Proposal(candidate=candidate, channel=channel, seen=seen, adds=adds, against=reasons)


def _value_of(stored: object, kind: Type | None) -> object:
    if isinstance(stored, float) and math.isnan(stored):
        return None
    if kind is Type.ANY and isinstance(stored, str):
        value: object = msgspec.json.decode(stored)
        return value
    return stored


def _removed(
    action: ActionPlan, row: Row, clock: Clock, compiled: Compile
) -> tuple[str | None, Mapping[str, object]]:
    outside = action.outside_life(clock)
    if outside:
        return outside, {}
    for rule in action.rules:
        if compiled(rule.condition)(row, clock) is not True:
            return rule.reason, {name: row.get(name) for name in sorted(rule.condition.names)}
    return None, {}


def _channel(action: ActionPlan, row: Row) -> tuple[str | None, Mapping[str, Check]]:
    """Return the first channel that the contact policy allows, else what fails first of each channel."""
    against = {}
    for channel in action.channels:
        failed = next((check for check in channel.checks if not check.passes(row.get(check.name))), None)
        if failed is None:
            return channel.name, {}
        against[channel.name] = failed
    return None, against


def _propensity(action: ActionPlan, row: Row) -> float | None:
    added = action.effect(row.get(f"score.{action.uplift}")) if action.uplift else None
    if added is not None:
        return added
    if action.model is None:
        return action.propensity
    score = row.get(f"score.{action.model}")
    return action.probability(float(score)) if isinstance(score, int | float) else None


def _influence(action: ActionPlan, row: Row) -> float:
    """Return what past outcomes add to L, in per cent."""
    counts = (row.get(name) for name in action.influences)
    return sum(count for count in counts if isinstance(count, int)) / UNIT


def _value(value: Expression | float, row: Row, clock: Clock, compiled: Compile) -> float | None:
    if not isinstance(value, Expression):
        return value
    worth = compiled(value)(row, clock)
    return float(worth) if isinstance(worth, int | float) else None
