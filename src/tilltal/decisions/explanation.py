"""An explanation: what won and why, what lost and at which stage, in words."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tilltal.decisions.arbitration import Factored
from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.decisions.single import Decision
from tilltal.workspace.definitions.actions import Learned

_STAGES = {
    "eligibility": "The customer may not have it",
    "applicability": "It is not relevant now",
    "suitability": "It is not in the customer's interest",
    "contact_policy": "The contact policy forbids it",
}


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """An action that is shown, with its factors, its channel and the model's reasons in words."""

    rank: int
    action: str
    title: str
    channel: str | None
    priority: float
    P: float
    C: float
    V: float
    L: float
    because: tuple[str, ...] = ()


class NotChosen(msgspec.Struct, frozen=True, kw_only=True):
    """An action that is not shown: the reason as a code and in words, and the values the rule saw."""

    action: str
    title: str
    reason: str
    words: str
    priority: float | None = None
    saw: dict[str, object] = {}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why one customer gets what at one instant. Shown, stored and sent as it is.

    `definitions` is the content hash of those that decided; `has_changed` says that the profile was made by
    others, so that the stored decision may be another.
    """

    profile: str
    as_of: str
    definitions: str
    has_changed: bool = False
    known: dict[str, object]
    scores: dict[str, float]
    chosen: tuple[Chosen, ...]
    not_chosen: tuple[NotChosen, ...]


def chosen_actions(
    plan: DecisionPlan,
    decision: Decision,
    because: Mapping[str, tuple[str, ...]],
    *,
    has_learned: bool = False,
) -> tuple[Chosen, ...]:
    """Return the shown actions.

    Args:
        plan: what was decided by.
        decision: what came of it.
        because: the models' reasons in words, by action.
        has_learned: adaptive models gave their probabilities; without, base rates stood in for them.
    """
    plans = {action.name: action for action in plan.actions}
    return tuple(
        Chosen(
            rank=entry.rank,
            action=entry.action,
            title=plans[entry.action].definition.title,
            channel=decision.proposals[entry.action].channel,
            priority=float(entry.priority),
            because=(*because.get(entry.action, ()), *_notes(plans[entry.action], has_learned)),
            **_floats(entry.factors),
        )
        for entry in decision.ranking.ranked
    )


def _notes(action: ActionPlan, has_learned: bool) -> tuple[str, ...]:
    """Say what no model says: that an action is mandatory, or where its probability comes from."""
    notes = ("mandatory: goes before all others",) if action.definition.mandatory else ()
    if action.model:
        return notes
    if has_learned and isinstance(action.definition.propensity, Learned):
        return (*notes, "P is learned from the answers so far")
    return (*notes, "P is assumed, not predicted")


def other_actions(plan: DecisionPlan, decision: Decision) -> tuple[NotChosen, ...]:
    """Return every other action with its reason, nearest to being chosen first."""
    titles = {action.name: action.definition.title for action in plan.actions}
    descriptions = {
        (action.name, rule.reason): rule.description for action in plan.actions for rule in action.rules
    }
    found = [
        NotChosen(
            action=entry.action,
            title=titles[entry.action],
            reason=entry.reason,
            words=in_words(entry.reason, descriptions.get((entry.action, entry.reason), "")),
            priority=None if entry.priority is None else float(entry.priority),
            saw=dict(decision.proposals[entry.action].seen),
        )
        for entry in decision.ranking.lost
    ]
    return tuple(sorted(found, key=_nearest_first))


def in_words(reason: str, description: str = "") -> str:
    """Say a reason so that a customer would understand it.

    >>> in_words("eligibility:has_loan", "Has a loan with us")
    'The customer may not have it. Needed: Has a loan with us.'
    """
    head, _, rest = reason.partition(":")
    if head == "contact_policy":
        return f"{_STAGES[head]}: {_contact_words(rest)}."
    if head in _STAGES:
        return f"{_STAGES[head]}{_rule_words(rest, description)}."
    sentences = {
        "outranked": f"{rest} has a higher priority.",
        "tie_name": f"{rest} has the same priority and comes first by name.",
        "mandatory": f"{rest} is mandatory and goes first.",
        "group_limit": f"{rest} of the same group is shown already.",
        "not_positive": "It is worth nothing, or less, to the bank.",
        "invalid_propensity": "Its probability is no number between 0 and 1.",
        "invalid_value": "Its value is no finite number.",
    }
    return sentences.get(head, reason)


def _rule_words(rule: str, description: str) -> str:
    """Say what the rule asks for; a description says it as its author would, such as `Only for adults`."""
    lives = {"not_started": ": it has not started yet", "expired": ": it has ended"}
    if rule in lives:
        return lives[rule]
    return f". Needed: {description.rstrip('.') or rule.replace('_', ' ')}"


def _contact_words(rest: str) -> str:
    kind, _, name = rest.partition(":")
    if kind == "no_consent":
        purpose, _, channel = name.partition("/")
        return f"no consent to {purpose} by {channel}"
    if kind == "cap":
        return f"contacted as often as {name.replace('_', ' ')!r} allows"
    return {"no_channel": "there is no channel to say it in"}.get(kind, rest.replace("_", " "))


def _nearest_first(entry: NotChosen) -> tuple[bool, float, str]:
    return (entry.priority is None, -(entry.priority or 0.0), entry.action)


def _floats(factors: Factored) -> dict[str, float]:
    return {name: float(getattr(factors, name)) for name in ("P", "C", "V", "L")}
