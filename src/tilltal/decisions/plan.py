"""A decision plan: the actions of a workspace, parsed once, ready to be asked about any customer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from tilltal.core.time import parse_instant
from tilltal.decisions.contacting.checks import READINGS, Check, caseless, checks
from tilltal.decisions.contacting.parts import Contact, contact_of
from tilltal.decisions.history.influences import influences_of
from tilltal.decisions.sending.choosing import Sender
from tilltal.rules.clock import Clock
from tilltal.rules.expression import Expression, parse
from tilltal.rules.types import Type
from tilltal.workspace.decision_names import decision_schema
from tilltal.workspace.definitions.actions import Action, Condition, Learned
from tilltal.workspace.definitions.base import Language
from tilltal.workspace.definitions.contact import Contact as ContactTerms
from tilltal.workspace.definitions.engagement import EngagementPolicy, Tiers
from tilltal.workspace.definitions.policies import Arbitration, Consent
from tilltal.workspace.definitions.sending import Sending

NOT_OPEN = "not_open"
STAGES = ("eligibility", "applicability", "suitability")


class StageRule(msgspec.Struct, frozen=True, kw_only=True):
    """A condition of the engagement policy: `<stage>:<rule>` is the reason when it does not hold.

    `words` say by language what it asks for.
    """

    reason: str
    description: str
    condition: Expression
    words: Mapping[str, str] = {}


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel an action can use, what the contact policy asks of it, and what a contact by it costs."""

    name: str
    checks: tuple[Check, ...]
    cost: float = 0.0


class ActionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One action, parsed. `model` names the score that is its propensity, if a model gives it.

    `propensity` is the stated probability; of an adaptive propensity, its base rate. If it `is_incremental`
    the score is what the action adds to the probability, and where it takes away, P is 0. `uplift` names a
    model of that kind which goes before the propensity for whom it says anything. `influences` names the
    readings that add to its L.
    """

    name: str
    definition: Action
    rules: tuple[StageRule, ...]
    channels: tuple[Channel, ...]
    value: Expression | float
    model: str | None
    is_incremental: bool = False
    uplift: str | None = None
    propensity: float | None
    starts: datetime | None
    ends: datetime | None
    influences: tuple[str, ...] = ()

    @property
    def has_cost(self) -> bool:
        """True if a contact by some channel costs something."""
        return any(channel.cost for channel in self.channels)

    def probability(self, score: float) -> float:
        """Return P for a score of the model."""
        return max(0.0, score) if self.is_incremental else score

    def effect(self, score: object) -> float | None:
        """Return P for a score of the uplift model; None where it says nothing: the propensity stays."""
        return max(0.0, float(score)) if isinstance(score, int | float) else None

    def outside_life(self, clock: Clock) -> str | None:
        """Return the reason why the action is not alive at the clock's instant, or None."""
        if self.starts and clock.now < self.starts:
            return "eligibility:not_started"
        if self.ends and clock.now >= self.ends:
            return "eligibility:expired"
        return None


class DecisionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All actions in order of their names, and the policy that ranks them.

    `living` names what of the profile says where a customer lives: time zone and jurisdiction. `spoken` is
    what rules of the contact policy (`cap:<name>` and so on) and purposes are called, by language.
    """

    actions: tuple[ActionPlan, ...]
    arbitration: Arbitration
    schema: Mapping[str, Type]
    living: frozenset[str] = frozenset()
    spoken: Mapping[str, Mapping[str, str]] = {}

    @property
    def contacts(self) -> tuple[Contact, ...]:
        """Every contact that may be proposed."""
        return tuple(
            contact_of(action.name, action.definition, channel.name)
            for action in self.actions
            for channel in action.channels
        )

    @property
    def endings(self) -> tuple[tuple[Contact, datetime | None], ...]:
        """Every contact that may be proposed, with the end of its action."""
        ends = [action.ends for action in self.actions for _ in action.channels]
        return tuple(zip(self.contacts, ends, strict=True))

    @property
    def names(self) -> frozenset[str]:
        """The profile names that deciding reads, readings of the contact policy included."""
        found = set(self.living)
        for action in self.actions:
            found.update(*(rule.condition.names for rule in action.rules))
            found.update(check.name for channel in action.channels for check in channel.checks)
            found.update(action.influences)
            if isinstance(action.value, Expression):
                found |= action.value.names
            if action.model:
                found.add(f"score.{action.model}")
            if action.uplift:
                found.add(f"score.{action.uplift}")
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
    uplifts: Collection[str] = (),
) -> DecisionPlan:
    """Parse the actions of a workspace.

    Args:
        actions: name → action.
        channels: action name → its channels in order of preference.
        schema: the names of the profile, with their types; those of context and history come with the
            policies.
        policies: arbitration, engagement, consent, contact policy and sending.
        clock: for its zone: dates without offset in `starts` and `ends` are local.
        uplifts: models whose score is what an action adds.

    Raises:
        WorkspaceError: with every fault of every expression.
    """
    schema = decision_schema(schema, actions, None, policies.engagement, policies.contact)
    sender = Sender(policies.sending, policies.contact)
    plans = [
        _plan(name, actions[name], channels.get(name, ()), schema, policies, sender, clock, uplifts)
        for name in sorted(actions)
    ]
    living = {policies.contact.time_zone, policies.consent.jurisdiction}
    return DecisionPlan(
        actions=tuple(plans),
        arbitration=policies.arbitration,
        schema=schema,
        living=frozenset(name for name in living if name is not None),
        spoken=dict(_spoken(policies)),
    )


def _spoken(policies: Policies) -> Iterator[tuple[str, Mapping[str, str]]]:
    terms = policies.contact
    kinds = (("cap", terms.caps), ("cooldown", terms.cooldowns), ("holdout", terms.holdouts))
    for kind, rules in kinds:
        yield from ((f"{kind}:{rule.name}", _by_language(rule.words)) for rule in rules if rule.words)
    for name, purpose in policies.consent.purposes.items():
        if purpose.words:
            yield f"purpose:{name}", _by_language(purpose.words)


def _by_language(words: Mapping[Language, str]) -> Mapping[str, str]:
    return {str(language): text for language, text in words.items()}


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """The policies that decide: how to rank, what fits whom, what needs consent, how often and when."""

    arbitration: Arbitration
    consent: Consent
    contact: ContactTerms = ContactTerms()
    engagement: EngagementPolicy = EngagementPolicy()
    sending: Sending = Sending()


def _plan(
    name: str,
    action: Action,
    channels: Sequence[str],
    schema: Mapping[str, Type],
    policies: Policies,
    sender: Sender,
    clock: Clock,
    uplifts: Collection[str],
) -> ActionPlan:
    value, propensity = action.value, action.propensity
    ends = parse_instant(action.ends, clock.zone) if action.ends else None
    priority = policies.contact.priorities.get(action.purpose, 0.0)
    return ActionPlan(
        name=name,
        definition=action,
        rules=tuple(_rules(action, policies.engagement, schema)),
        channels=tuple(
            Channel(
                name=channel,
                checks=(
                    *_checks(contact_of(name, action, channel, priority), policies, sender, ends),
                    *_opening(name, action, policies.arbitration),
                ),
                cost=float(
                    policies.arbitration.costs.get(channel, 0.0) if action.cost is None else action.cost
                ),
            )
            for channel in channels
        ),
        value=parse(value, schema, want=Type.NUMBER) if isinstance(value, str) else float(value),
        model=propensity if isinstance(propensity, str) else None,
        uplift=action.uplift,
        is_incremental=isinstance(propensity, str) and propensity in uplifts,
        propensity=_fixed(propensity),
        starts=parse_instant(action.starts, clock.zone) if action.starts else None,
        ends=ends,
        influences=influences_of(name, action, policies.arbitration.influencers),
    )


def _checks(contact: Contact, policies: Policies, sender: Sender, ends: datetime | None) -> tuple[Check, ...]:
    """Return what the policies ask of a contact; where its moment is chosen, quiet hours only put it off."""
    quiet = sender.checks(contact, ends) if sender.plans(contact.channel) else None
    return checks(contact, policies.contact, policies.consent, quiet)


def _fixed(propensity: str | float | Learned | None) -> float | None:
    """Return the probability that the definition states; what is learned begins with its base rate."""
    if isinstance(propensity, Learned):
        return propensity.adaptive.base_rate
    return None if propensity is None or isinstance(propensity, str) else float(propensity)


def _opening(name: str, action: Action, policy: Arbitration) -> tuple[Check, ...]:
    """Return the check that a new action is open to a customer; last, so that nothing else stops it."""
    if not policy.exploration.opening or not isinstance(action.propensity, Learned):
        return ()
    return (Check(reason=NOT_OPEN, name=opening_name(name), limit=1, is_of_policy=False),)


def opening_name(action: str) -> str:
    """Name the reading that is 1 for whom a new action is not open yet."""
    return f"{READINGS}opening.{caseless(action)}"


def _rules(action: Action, engagement: EngagementPolicy, schema: Mapping[str, Type]) -> Iterator[StageRule]:
    """Yield the rules of an action tier by tier; in each those of all, its issue, its group, its own."""
    nothing = Tiers()
    levels = (
        engagement.all_,
        engagement.issues.get(action.issue, nothing),
        engagement.groups.get(action.group, nothing),
        action,
    )
    for stage in STAGES:
        for level in levels:
            for condition in _conditions(level, stage):
                yield _rule(stage, condition, schema)


def _conditions(level: Action | Tiers, stage: str) -> tuple[Condition, ...]:
    return {
        "eligibility": level.eligibility,
        "applicability": level.applicability,
        "suitability": level.suitability,
    }[stage]


def _rule(stage: str, condition: Condition, schema: Mapping[str, Type]) -> StageRule:
    return StageRule(
        reason=f"{stage}:{condition.name}",
        description=condition.description,
        words=_by_language(condition.words),
        condition=parse(condition.when, schema, want=Type.BOOLEAN),
    )
