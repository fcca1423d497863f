"""An explanation: what won and why, what lost and at which stage, in words."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tilltal.decisions.arbitration import Factored
from tilltal.decisions.plan import ActionPlan, DecisionPlan
from tilltal.decisions.single import Decision
from tilltal.decisions.words.saying import DEFAULT, Speaker, parts_of
from tilltal.workspace.definitions.actions import Learned

_FACTORS = ("P", "C", "V", "L")


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """An action that is shown, with its factors, its channel and the model's reasons in words.

    `before` is what the model said before its answers of late corrected P; None where nothing did.
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
    before: float | None = None
    because: tuple[str, ...] = ()


class NotChosen(msgspec.Struct, frozen=True, kw_only=True):
    """An action that is not shown: the reason as a code and in words, and the values the rule saw.

    `stage`, `code` and `rule` are the parts of the reason (`words.saying.Parts`). P, C, V, L and priority are
    there where it came to a comparison; `before` as of what is chosen.
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
    before: float | None = None
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


def speaker_of(plan: DecisionPlan, language: str = DEFAULT) -> Speaker:
    """Return who says the reasons of a plan's decisions.

    Raises:
        TilltalError: C129 if there are no words in that language.
    """
    return Speaker(language, {action.name: action.definition.title for action in plan.actions})


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
            title=plans[entry.action].definition.title,
            channel=decision.proposals[entry.action].channel,
            priority=float(entry.priority),
            because=(*because.get(entry.action, ()), *_notes(plans[entry.action], has_learned, voice)),
            **_floats(entry.factors),
        )
        for entry in decision.ranking.ranked
    )


def _notes(action: ActionPlan, has_learned: bool, speaker: Speaker) -> tuple[str, ...]:
    """Say what no model says: that an action is mandatory, or where its probability comes from."""
    words = speaker.words
    notes = (words.goes_first,) if action.definition.mandatory else ()
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
    titles = {action.name: action.definition.title for action in plan.actions}
    rules = {(action.name, rule.reason): rule for action in plan.actions for rule in action.rules}
    found = []
    for entry in decision.ranking.lost:
        parts = parts_of(entry.reason)
        factors = {} if entry.factors is None else _floats(entry.factors)
        found.append(
            NotChosen(
                action=entry.action,
                title=titles[entry.action],
                reason=entry.reason,
                words=voice.reason(entry.reason, rules.get((entry.action, entry.reason))),
                stage=parts.stage,
                code=parts.code,
                rule=parts.rule,
                priority=None if entry.priority is None else float(entry.priority),
                saw=dict(decision.proposals[entry.action].seen),
                **factors,
            )
        )
    return tuple(sorted(found, key=_nearest_first))


def _nearest_first(entry: NotChosen) -> tuple[bool, float, str]:
    return (entry.priority is None, -(entry.priority or 0.0), entry.action)


def _floats(factors: Factored) -> dict[str, float]:
    return {name: float(getattr(factors, name)) for name in _FACTORS}
