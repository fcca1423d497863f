"""The catalogues of words: every language says every reason, with the same names in it."""

from __future__ import annotations

import string
from pathlib import Path

import msgspec
import pytest

from tilltal.core.errors import TilltalError
from tilltal.decisions.plan import StageRule
from tilltal.decisions.words.catalogue import Words
from tilltal.decisions.words.channels import CHANNELS
from tilltal.decisions.words.saying import CATALOGUES, UNTRAINED, Parts, Speaker, parts_of, title_of
from tilltal.rules.expression import parse
from tilltal.rules.types import Type
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.contact import Cap, CoolDown, Holdout
from tilltal.workspace.definitions.engagement import Tiers
from tilltal.workspace.definitions.policies import Purpose
from tilltal.workspace.load import load

REASONS = {
    "eligibility:adult": "adult",
    "eligibility:not_started": "",
    "eligibility:expired": "",
    "applicability:is_new": "is new",
    "suitability:debt": "debt",
    "contact_policy:no_consent:marketing/email": "marketing",
    "contact_policy:cap:a_week": "a week",
    "contact_policy:cooldown:after_no": "after no",
    "contact_policy:holdout:base": "base",
    "contact_policy:quiet_hours": "",
    "contact_policy:no_channel": "",
    "contact_policy:capacity:day": "",
    "contact_policy:not_named": "",
    "contact_policy:not_tried": "",
    "outranked:loan": "A loan",
    "tie_name:loan": "A loan",
    "mandatory:loan": "A loan",
    "group_limit:loan": "A loan",
    "issue_limit:loan": "A loan",
    "not_positive": "",
    "below_nothing": "",
    "invalid_propensity": "",
    "invalid_value": "",
    "not_open": "",
}


def places(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


@pytest.mark.parametrize("language", ["sv", "nb", "ru"])
def test_a_language_has_words_of_its_own_with_the_same_names_in_them(language: str) -> None:
    mine, english = CATALOGUES[language], CATALOGUES["en"]
    for field in msgspec.structs.fields(Words):
        own, other = getattr(mine, field.name), getattr(english, field.name)
        assert own, field.name
        assert places(own) == places(other), field.name
        assert own != other, field.name
        assert not own.endswith("."), field.name
    assert mine.language == language


def test_russian_is_written_in_its_letters() -> None:
    for field in msgspec.structs.fields(Words):
        text = getattr(CATALOGUES["ru"], field.name)
        assert field.name == "language" or any("а" <= letter <= "я" for letter in text), field.name


@pytest.mark.parametrize("language", list(CATALOGUES))
def test_every_reason_is_said_in_every_language(language: str) -> None:
    speaker = Speaker(language, {"loan": "A loan"})
    said = {reason: speaker.reason(reason) for reason in REASONS}
    assert len(set(said.values())) == len(REASONS)
    for reason, name in REASONS.items():
        assert name in said[reason]
        assert said[reason].endswith(".")
        assert "{" not in said[reason]
        assert said[reason] != reason


def test_a_reason_nobody_knows_is_shown_as_it_is() -> None:
    assert Speaker().reason("later:thing") == "later:thing"
    assert Speaker().reason("contact_policy:later:thing") == "The contact policy forbids it: later:thing."


def test_a_rule_is_said_in_the_words_of_its_author() -> None:
    rule = StageRule(
        reason="eligibility:has_no_card",
        description="Has no card yet.",
        condition=parse("a", {"a": Type.BOOLEAN}),
        words={"sv": "Har inget kort än."},
    )
    sentence = "Kunden kan inte få det. Krävs: Har inget kort än."
    assert Speaker("sv").reason(rule.reason, rule) == sentence
    assert Speaker("en").reason(rule.reason, rule) == "The customer may not have it. Needed: Has no card yet."
    bare = msgspec.structs.replace(rule, description="", words={})
    assert Speaker("nb").reason(rule.reason, bare) == "Kunden kan ikke få det. Kreves: has no card."


def test_a_reason_has_parts() -> None:
    assert parts_of("contact_policy:no_consent:a/b") == Parts("contact_policy", "no_consent", "a/b")
    assert parts_of("contact_policy:quiet_hours") == Parts("contact_policy", "quiet_hours", "")
    assert parts_of("eligibility:adult") == Parts("eligibility", "eligibility", "adult")
    assert parts_of("eligibility:expired") == Parts("eligibility", "expired", "expired")
    assert parts_of("outranked:loan") == Parts("arbitration", "outranked", "loan")
    assert parts_of("not_positive") == Parts("arbitration", "not_positive", "")


def test_a_language_without_words_is_refused() -> None:
    with pytest.raises(TilltalError, match="C129"):
        Speaker("fi")


@pytest.mark.parametrize("language", ["sv", "nb", "ru"])
def test_why_a_model_is_missing_is_said_in_the_language_alone(language: str) -> None:
    speaker, words = Speaker(language), CATALOGUES[language]
    reasons = {
        UNTRAINED: words.model_untrained,
        "its file cannot be read: Permission denied": words.model_unreadable,
        "M404 The model reads a, b, which the profile no longer has.": f"{words.model_names}, M404: a, b",
        "M405 a was a number when the model was trained and is a text.": f"{words.model_types}, M405: a",
        "M406 The stored model cannot be read: it is cut off.": f"{words.model_damaged}, M406",
        "M407 The stored model has format 9, not 1.": f"{words.model_format}, M407",
    }
    for reason, text in reasons.items():
        assert speaker.lacking("liking", reason) == f"{words.model_missing.format(model='liking')} ({text})"
        assert reason in Speaker().lacking("liking", reason)


EXAMPLE = Path(__file__).resolve().parents[2] / "examples/nordbank"


def test_the_example_bank_says_everything_in_swedish() -> None:
    workspace = load(EXAMPLE)
    engagement = workspace.engagement
    tiers = [engagement.all_, *engagement.issues.values(), *engagement.groups.values()]
    for action in workspace.actions.values():
        assert title_of(action, "sv") != action.title
        assert title_of(action, "en") == action.title
    owners: list[Tiers | Action] = [*tiers, *workspace.actions.values()]
    for owner in owners:
        for condition in (*owner.eligibility, *owner.applicability, *owner.suitability):
            assert "sv" in condition.words, condition.name
    terms = workspace.contact
    rules: list[Cap | CoolDown | Holdout | Purpose] = [*terms.caps, *terms.cooldowns, *terms.holdouts]
    for rule in (*rules, *workspace.consent.purposes.values()):
        assert "sv" in rule.words


def test_rules_purposes_and_channels_are_called_by_their_words() -> None:
    spoken = {"cap:week": {"sv": "två i veckan"}, "purpose:marketing": {"sv": "marknadsföring"}}
    swedish, russian = Speaker("sv", {}, spoken), Speaker("ru", {}, spoken)
    head = "Kontaktreglerna tillåter det inte: "
    assert swedish.reason("contact_policy:cap:week") == (
        f"{head}redan kontaktad så ofta som ”två i veckan” tillåter."
    )
    assert swedish.reason("contact_policy:no_consent:marketing/email") == (
        f"{head}inget samtycke till marknadsföring via e-post."
    )
    assert "«marketing»" in russian.reason("contact_policy:no_consent:marketing/email")
    assert "email" not in russian.reason("contact_policy:no_consent:marketing/email")


def test_every_language_names_the_same_channels() -> None:
    assert {frozenset(names) for names in CHANNELS.values()} == {frozenset(CHANNELS["en"])}
    assert CHANNELS.keys() == CATALOGUES.keys()
