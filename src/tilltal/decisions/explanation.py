"""An explanation: what won and why, what lost and at which stage, in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from tilltal.core.instants import instant_of
from tilltal.decisions.arbitration import Factored
from tilltal.decisions.contacting.permission import Permit
from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.decisions.sending.choosing import Planned
from tilltal.decisions.single import Decision, Proposal
from tilltal.decisions.words.saying import DEFAULT, Speaker, parts_of, title_of
from tilltal.decisions.words.sending import said
from tilltal.workspace.definitions.actions import Learned
from tilltal.workspace.definitions.policies import Basis

_FACTORS = ("P", "C", "V", "L", "cost")


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """An action that is shown, with its factors, its channel and the model's reasons in words.

    `priority` is P × C × V × L less `cost`, which is what the contact costs, in major currency units.
    `before` is what the model said before its answers of late corrected P; None where nothing did. `send_at`
    is the moment that was chosen for it; None = at once. `basis` is what permitted the contact, and
    `answered` when the customer said so; None where that was not asked, or nothing said.
    """

    rank: int
    action: str
    title: str
    channel: str | None
    priority: float
    P: float
    C: float
    V: float
    L: float
    cost: float = 0.0
    before: float | None = None
    because: tuple[str, ...] = ()
    send_at: datetime | None = None
    basis: Basis | None = None
    answered: datetime | None = None


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """What stands first against an action by one channel: the reason as a code and in words."""

    channel: str
    reason: str
    words: str


class NotChosen(msgspec.Struct, frozen=True, kw_only=True):
    """An action that is not shown: the reason as a code and in words, and the values the rule saw.

    `stage`, `code` and `rule` are the parts of the reason (`words.saying.Parts`). P, C, V, L, cost and
    priority are there where it came to a comparison; `before` as of what is chosen. Where the contact policy
    allows no channel, `channels` says why for each; `reason` is that of the first.
    """

    action: str
    title: str
    reason: str
    words: str
    stage: str = ""
    code: str = ""
    rule: str = ""
    priority: float | None = None
    P: float | None = None
    C: float | None = None
    V: float | None = None
    L: float | None = None
    cost: float | None = None
    before: float | None = None
    saw: dict[str, object] = {}
    channels: tuple[Against, ...] = ()


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


def speaker_of(plan: DecisionPlan, language: str = DEFAULT) -> Speaker:
    """Return who says the reasons of a plan's decisions.

    Raises:
        TilltalError: C129 if there are no words in that language.
    """
    titles = {action.name: title_of(action.definition, language) for action in plan.actions}
    return Speaker(language, titles, plan.spoken)


def chosen_actions(
    plan: DecisionPlan,
    decision: Decision,
    because: Mapping[str, tuple[str, ...]],
    *,
    has_learned: bool = False,
    speaker: Speaker | None = None,
) -> tuple[Chosen, ...]:
    """Return the shown actions.

    Args:
        plan: what was decided by.
        decision: what came of it.
        because: the models' reasons in words, by action.
        has_learned: adaptive models gave their probabilities; without, base rates stood in for them.
        speaker: says what no model says; in English if absent.
    """
    plans = {action.name: action for action in plan.actions}
    voice = speaker or speaker_of(plan)
    return tuple(
        Chosen(
            rank=entry.rank,
            action=entry.action,
            title=voice.title(entry.action),
            channel=decision.proposals[entry.action].channel,
            priority=float(entry.priority),
            because=(
                *_reasons(because, decision.proposals[entry.action]),
                *_notes(plans[entry.action], decision.proposals[entry.action].adds, has_learned, voice),
            ),
            send_at=None,
            basis=None,
            answered=None,
            **_floats(entry.factors),
        )
        for entry in decision.ranking.ranked
    )


def timed(one: Chosen, planned: Planned | None, speaker: Speaker) -> Chosen:
    """Return a shown action with the moment that was chosen for it, if one was, and why then."""
    if planned is None:
        return one
    words = said(planned, speaker.words)
    return msgspec.structs.replace(one, send_at=instant_of(planned.at), because=(*one.because, words))


def permitted(one: Chosen, permit: Permit | None) -> Chosen:
    """Return a shown action with what permitted the contact, if that was kept."""
    if permit is None:
        return one
    answered = None if permit.answer is None else instant_of(permit.answer.at)
    return msgspec.structs.replace(one, basis=permit.basis, answered=answered)


def _reasons(because: Mapping[str, tuple[str, ...]], proposal: Proposal) -> tuple[str, ...]:
    """Return the model's reasons; none where another model, or an experiment, gave P."""
    return () if proposal.adds else because.get(proposal.candidate.action, ())


def _notes(action: ActionPlan, adds: bool | None, has_learned: bool, speaker: Speaker) -> tuple[str, ...]:
    """Say what no model says: that an action is mandatory, or where its probability comes from."""
    words = speaker.words
    notes = (words.goes_first,) if action.definition.mandatory else ()
    if adds is not None:
        return (*notes, *speaker.effect(action, adds=adds))
    if action.model:
        return notes
    if has_learned and isinstance(action.definition.propensity, Learned):
        return (*notes, words.learns)
    return (*notes, words.assumed)


def other_actions(
    plan: DecisionPlan, decision: Decision, speaker: Speaker | None = None
) -> tuple[NotChosen, ...]:
    """Return every other action with its reason, nearest to being chosen first.

    Args:
        plan: what was decided by.
        decision: what came of it.
        speaker: says the reasons; in English if absent.
    """
    voice = speaker or speaker_of(plan)
    rules = {(action.name, rule.reason): rule for action in plan.actions for rule in action.rules}
    found = []
    for entry in decision.ranking.lost:
        parts = parts_of(entry.reason)
        factors = {} if entry.factors is None else _floats(entry.factors)
        found.append(
            NotChosen(
                action=entry.action,
                title=voice.title(entry.action),
                reason=entry.reason,
                words=voice.reason(entry.reason, rules.get((entry.action, entry.reason))),
                stage=parts.stage,
                code=parts.code,
                rule=parts.rule,
                priority=None if entry.priority is None else float(entry.priority),
                saw=dict(decision.proposals[entry.action].seen),
                channels=tuple(
                    Against(channel=channel, reason=reason, words=voice.reason(reason))
                    for channel, reason in decision.proposals[entry.action].against.items()
                ),
                **factors,
            )
        )
    return tuple(sorted(found, key=_nearest_first))


def _nearest_first(entry: NotChosen) -> tuple[bool, float, str]:
    return (entry.priority is None, -(entry.priority or 0.0), entry.action)


def _floats(factors: Factored) -> dict[str, float]:
    return {name: float(getattr(factors, name)) for name in _FACTORS}
