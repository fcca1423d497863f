"""A decision plan: the actions of a workspace, parsed once, ready to be asked about any customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from tilltal.core.time import parse_instant
from tilltal.decisions.contact import Check, Contact, checks, contact_of
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression, parse
from tilltal.rules.types import Type
from tilltal.workspace.definitions.actions import Action, Condition, Learned
from tilltal.workspace.definitions.policies import Arbitration, Cap, Consent

STAGES = ("eligibility", "applicability", "suitability")


class StageRule(msgspec.Struct, frozen=True, kw_only=True):
    """A condition of the engagement policy: `<stage>:<rule>` is the reason when it does not hold."""

    reason: str
    description: str
    condition: Expression


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel an action can use, and what the contact policy asks of it."""

    name: str
    checks: tuple[Check, ...]


class ActionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One action, parsed. `model` names the score that is its propensity, if a model gives it.

    `propensity` is the stated probability; of an adaptive propensity, its base rate.
    """

    name: str
    definition: Action
    rules: tuple[StageRule, ...]
    channels: tuple[Channel, ...]
    value: Expression | float
    model: str | None
    propensity: float | None
    starts: datetime | None
    ends: datetime | None

    def outside_life(self, clock: Clock) -> str | None:
        """Return the reason why the action is not alive at the clock's instant, or None."""
        if self.starts and clock.now < self.starts:
            return "eligibility:not_started"
        if self.ends and clock.now >= self.ends:
            return "eligibility:expired"
        return None


class DecisionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All actions in order of their names, and the policy that ranks them."""

    actions: tuple[ActionPlan, ...]
    arbitration: Arbitration
    schema: Mapping[str, Type]

    @property
    def contacts(self) -> tuple[Contact, ...]:
        """Every contact that may be proposed."""
        return tuple(
            contact_of(action.name, action.definition, channel.name)
            for action in self.actions
            for channel in action.channels
        )

    @property
    def names(self) -> frozenset[str]:
        """The profile names that deciding reads, counters of contacts included."""
        found: set[str] = set()
        for action in self.actions:
            found.update(*(rule.condition.names for rule in action.rules))
            found.update(check.name for channel in action.channels for check in channel.checks)
            if isinstance(action.value, Expression):
                found |= action.value.names
            if action.model:
                found.add(f"score.{action.model}")
            if isinstance(action.definition.propensity, Learned):
                found.update(action.definition.propensity.adaptive.features)
        found |= {rule.key for rule in self.arbitration.context_rules if rule.key in self.schema}
        return frozenset(found)


def plan_decisions(
    actions: Mapping[str, Action],
    channels: Mapping[str, Sequence[str]],
    schema: Mapping[str, Type],
    policies: Policies,
    clock: Clock,
) -> DecisionPlan:
    """Parse the actions of a workspace.

    Args:
        actions: name → action.
        channels: action name → its channels in order of preference.
        schema: the names a condition may use, with their types.
        policies: arbitration, consent and caps.
        clock: for its zone: dates without offset in `starts` and `ends` are local.

    Raises:
        WorkspaceError: with every fault of every expression.
    """
    plans = [
        _plan(name, actions[name], channels.get(name, ()), schema, policies, clock)
        for name in sorted(actions)
    ]
    return DecisionPlan(actions=tuple(plans), arbitration=policies.arbitration, schema=schema)


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """The policies that decide: how to rank, what needs consent, how often to contact."""

    arbitration: Arbitration
    consent: Consent
    caps: tuple[Cap, ...] = ()


def _plan(
    name: str,
    action: Action,
    channels: Sequence[str],
    schema: Mapping[str, Type],
    policies: Policies,
    clock: Clock,
) -> ActionPlan:
    value, propensity = action.value, action.propensity
    return ActionPlan(
        name=name,
        definition=action,
        rules=tuple(
            _rule(stage, condition, schema) for stage in STAGES for condition in _conditions(action, stage)
        ),
        channels=tuple(
            Channel(
                name=channel,
                checks=checks(contact_of(name, action, channel), policies.consent, policies.caps),
            )
            for channel in channels
        ),
        value=parse(value, schema, want=Type.NUMBER) if isinstance(value, str) else float(value),
        model=propensity if isinstance(propensity, str) else None,
        propensity=_fixed(propensity),
        starts=parse_instant(action.starts, clock.zone) if action.starts else None,
        ends=parse_instant(action.ends, clock.zone) if action.ends else None,
    )


def _fixed(propensity: str | float | Learned | None) -> float | None:
    """Return the probability that the definition states; what is learned begins with its base rate."""
    if isinstance(propensity, Learned):
        return propensity.adaptive.base_rate
    return None if propensity is None or isinstance(propensity, str) else float(propensity)


def _conditions(action: Action, stage: str) -> tuple[Condition, ...]:
    return {
        "eligibility": action.eligibility,
        "applicability": action.applicability,
        "suitability": action.suitability,
    }[stage]


def _rule(stage: str, condition: Condition, schema: Mapping[str, Type]) -> StageRule:
    return StageRule(
        reason=f"{stage}:{condition.name}",
        description=condition.description,
        condition=parse(condition.when, schema, want=Type.BOOLEAN),
    )
