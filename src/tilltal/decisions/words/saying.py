"""Saying why: a reason's code and a language give a sentence.

A reason is `<stage>:<rule>`, or what the ranking says (`outranked:<action>`). What a workspace's own rule
asks for is said as its author says it: in `words` of that language, else in its description, else by its
name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from tilltal.core.errors import TilltalError, nearest
from tilltal.decisions.plan import ActionPlan, StageRule
from tilltal.decisions.words import en, nb, ru, sv
from tilltal.decisions.words.catalogue import Words

CATALOGUES: Mapping[str, Words] = MappingProxyType(
    {one.language: one for one in (sv.WORDS, nb.WORDS, en.WORDS, ru.WORDS)}
)
DEFAULT = "en"

_STAGES = frozenset({"eligibility", "applicability", "suitability"})
_LIVES = frozenset({"not_started", "expired"})
_BY_RULE = frozenset({"cap", "cooldown", "holdout"})
_BY_ACTION = frozenset({"outranked", "tie_name", "mandatory", "group_limit", "issue_limit"})
_ALONE = frozenset({"not_positive", "below_nothing", "invalid_propensity", "invalid_value", "not_open"})


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
    """Says reasons in one language; `titles` are those of the actions, by name."""

    def __init__(self, language: str = DEFAULT, titles: Mapping[str, str] = MappingProxyType({})) -> None:
        """Take a language.

        Raises:
            TilltalError: C129 if there are no words in it.
        """
        self.words = words_of(language)
        self._titles = titles

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
            title = self._titles.get(parts.rule) or parts.rule
            return str(getattr(words, parts.code)).format(action=title) + "."
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

    def _contact(self, parts: Parts) -> str:
        words = self.words
        if parts.code == "no_consent":
            purpose, _, channel = parts.rule.partition("/")
            return words.no_consent.format(purpose=purpose, channel=channel)
        if parts.code in _BY_RULE:
            return str(getattr(words, parts.code)).format(rule=readable(parts.rule))
        fixed = {
            "no_channel": words.no_channel,
            "no_time_to_reserve": words.no_time_to_reserve,
            "quiet_hours": words.quiet_hours,
        }
        return fixed.get(parts.code, readable(":".join(filter(None, (parts.code, parts.rule)))))


def readable(name: str) -> str:
    """Return a name as words.

    >>> readable("has_no_card")
    'has no card'
    """
    return name.replace("_", " ")
