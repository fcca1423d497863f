"""Saying why: a reason's code and a language give a sentence.

A reason is `<stage>:<rule>`, or what the ranking says (`outranked:<action>`). What a workspace's own rule
asks for is said as its author says it: in `words` of that language, else in its description, else by its
name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from tilltal.core.errors import TilltalError, nearest
from tilltal.decisions.plan import ActionPlan, StageRule
from tilltal.decisions.words import en, nb, ru, sv
from tilltal.decisions.words.catalogue import Words
from tilltal.decisions.words.channels import channel_in
from tilltal.workspace.definitions.actions import Action

CATALOGUES: Mapping[str, Words] = MappingProxyType(
    {one.language: one for one in (sv.WORDS, nb.WORDS, en.WORDS, ru.WORDS)}
)
DEFAULT = "en"

_STAGES = frozenset({"eligibility", "applicability", "suitability"})
_LIVES = frozenset({"not_started", "expired"})
_BY_RULE = frozenset({"cap", "cooldown", "holdout"})
_BY_ACTION = frozenset({"outranked", "tie_name", "mandatory", "group_limit", "issue_limit"})
_ALONE = frozenset({"not_positive", "below_nothing", "invalid_propensity", "invalid_value", "not_open"})
UNTRAINED = "it was never trained"
"""Why a model could not be used that has no file."""

_FAULTS = {"M404": "model_names", "M405": "model_types", "M406": "model_damaged", "M407": "model_format"}
_NAMES = re.compile(r"The model reads (.+?), which|^M405 (\S+) was")


class Parts(msgspec.Struct, frozen=True):
    """A reason in its parts: where it was removed, by what kind of thing, and by which.

    `stage` is eligibility, applicability, suitability, contact_policy or arbitration; `code` the kind, such
    as `cap` (of the first three stages: the stage); `rule` the rule's name, or the action that went before.
    """

    stage: str
    code: str
    rule: str = ""


def parts_of(reason: str) -> Parts:
    """Take a reason apart.

    >>> parts_of("contact_policy:cap:weekly")
    Parts(stage='contact_policy', code='cap', rule='weekly')
    """
    head, _, rest = reason.partition(":")
    if head == "contact_policy":
        code, _, rule = rest.partition(":")
        return Parts(head, code, rule)
    if head in _STAGES:
        return Parts(head, rest if rest in _LIVES else head, rest)
    return Parts("arbitration", head, rest)


def words_of(language: str) -> Words:
    """Return the catalogue of a language.

    Raises:
        TilltalError: C129 if there is none.
    """
    found = CATALOGUES.get(language)
    if found is None:
        raise TilltalError.of(
            "C129", f"There are no words in {language!r}.", valid=nearest(language, CATALOGUES)
        )
    return found


class Speaker:
    """Says reasons in one language; `titles` are those of the actions, by name.

    `spoken` is what rules of the contact policy and purposes are called, as `DecisionPlan.spoken` has it.
    """

    def __init__(
        self,
        language: str = DEFAULT,
        titles: Mapping[str, str] = MappingProxyType({}),
        spoken: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> None:
        """Take a language.

        Raises:
            TilltalError: C129 if there are no words in it.
        """
        self.words = words_of(language)
        self._titles = titles
        self._spoken = {name: words[language] for name, words in spoken.items() if language in words}

    def title(self, action: str) -> str:
        """Return the title of an action; its name if that is not known."""
        return self._titles.get(action) or action

    def reason(self, reason: str, rule: StageRule | None = None) -> str:
        """Say why an action was removed; `rule` is the one that did, if it was one of the action's own.

        >>> Speaker().reason("contact_policy:no_channel")
        'The contact policy forbids it: there is no channel to say it in.'
        """
        parts, words = parts_of(reason), self.words
        if parts.stage == "contact_policy":
            return f"{words.contact_policy}: {self._contact(parts)}."
        if parts.stage in _STAGES:
            stage = str(getattr(words, parts.stage))
            if parts.code in _LIVES:
                return f"{stage}: {getattr(words, parts.code)}."
            asked = readable(parts.rule) if rule is None else self.rule(rule)
            return f"{stage}. {words.needed.format(rule=asked)}."
        if parts.code in _BY_ACTION:
            return str(getattr(words, parts.code)).format(action=self.title(parts.rule)) + "."
        return f"{getattr(words, parts.code)}." if parts.code in _ALONE else reason

    def rule(self, rule: StageRule) -> str:
        """Say what a rule asks for, without its full stop."""
        name = rule.reason.partition(":")[2]
        return (rule.words.get(self.words.language) or rule.description).rstrip(".") or readable(name)

    def held(self, action: ActionPlan) -> tuple[str, ...]:
        """Say what held for whoever an action is shown to: what made it relevant, else what allowed it."""
        for stage, text in (("applicability", self.words.relevant), ("eligibility", self.words.allowed)):
            rules = [rule for rule in action.rules if rule.reason.startswith(f"{stage}:")]
            if rules:
                return tuple(text.format(rule=self.rule(rule)) for rule in rules)
        return ()

    def effect(self, action: ActionPlan, *, adds: bool) -> tuple[str, ...]:
        """Say where P comes from of an action that asks an experiment first.

        Args:
            action: names the uplift model.
            adds: it said something; else the action's propensity stays.
        """
        if adds:
            return (self.words.adds.format(model=action.uplift),)
        stays = self.words.predicted.format(model=action.model) if action.model else self.words.assumed
        return (self.words.no_effect.format(model=action.uplift), stays)

    def lacking(self, model: str, reason: str) -> str:
        """Say that a model could not be used, and why; `reason` is in English, with the code of an error.

        >>> Speaker("sv").lacking("m", "M406 The stored model cannot be read: it is cut off.").split("(")[1]
        'den sparade modellen är skadad, M406)'
        """
        words = self.words
        head = words.model_missing.format(model=model)
        if words.language == DEFAULT:
            return f"{head} ({reason})"
        code = reason[:4]
        if code in _FAULTS:
            found = _NAMES.search(reason)
            names = "" if found is None else found.group(1) or found.group(2)
            return f"{head} ({getattr(words, _FAULTS[code])}, {': '.join(filter(None, (code, names)))})"
        return f"{head} ({words.model_untrained if reason == UNTRAINED else words.model_unreadable})"

    def _contact(self, parts: Parts) -> str:
        words = self.words
        if parts.code == "no_consent":
            purpose, _, channel = parts.rule.partition("/")
            called = self._spoken.get(f"purpose:{purpose}") or readable(purpose)
            return words.no_consent.format(purpose=called, channel=channel_in(words.language, channel))
        if parts.code in _BY_RULE:
            called = self._spoken.get(f"{parts.code}:{parts.rule}") or readable(parts.rule)
            return str(getattr(words, parts.code)).format(rule=called)
        fixed = {
            "no_channel": words.no_channel,
            "no_time_to_reserve": words.no_time_to_reserve,
            "not_tried": words.not_tried,
            "quiet_hours": words.quiet_hours,
            "capacity": words.capacity,
            "not_named": words.not_named,
        }
        return fixed.get(parts.code, readable(":".join(filter(None, (parts.code, parts.rule)))))


def title_of(action: Action, language: str) -> str:
    """Return an action's title in a language, if it has one."""
    return {str(key): text for key, text in action.titles.items()}.get(language) or action.title


def readable(name: str) -> str:
    """Return a name as words.

    >>> readable("has_no_card")
    'has no card'
    """
    return name.replace("_", " ")
