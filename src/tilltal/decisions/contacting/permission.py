"""Consent: whether a purpose permits a contact by a channel, and which answer of the customer says so.

Default deny: a purpose that nobody declared, and a law that is not known, ask for a consent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from tilltal.workspace.definitions.policies import Basis, Consent

ALL_CHANNELS = "*"


class Answer(msgspec.Struct, frozen=True):
    """What a customer answered; `channel` may be `*`. `at` in microseconds since 1970 in UTC."""

    purpose: str
    channel: str
    granted: bool
    at: int


class Permit(msgspec.Struct, frozen=True):
    """What permits a contact: the basis and, where one was given, the answer. Stored with the decision."""

    purpose: str
    channel: str
    basis: Basis
    answer: Answer | None


def permit(
    consent: Consent,
    purpose: str,
    channel: str,
    answers: Iterable[Answer],
    now: int,
    place: str | None = None,
) -> Permit | None:
    """Return what permits a contact at an instant, or None.

    Args:
        consent: the purposes and what the law of each jurisdiction asks for.
        purpose: what the contact is for.
        channel: its channel.
        answers: all answers of the customer, in any order; those of later than `now` say nothing yet. They
            are not looked at where nothing is asked for.
        now: the instant.
        place: the customer's jurisdiction, None if unknown.
    """
    basis = basis_of(consent, purpose, channel, place)
    if basis == "not_required":
        return Permit(purpose, channel, basis, None)
    answer = decisive(answers, purpose, channel, now)
    if basis == "required" and (answer is None or not answer.granted):
        return None
    if basis == "unless_refused" and answer is not None and not answer.granted:
        return None
    return Permit(purpose, channel, basis, answer)


def basis_of(consent: Consent, purpose: str, channel: str, place: str | None) -> Basis:
    """Return what a contact needs: as the jurisdiction says, else as the purpose does, else a consent."""
    terms = consent.purposes.get(purpose)
    if not consent.jurisdictions:
        return terms.basis(channel) if terms else "required"
    local = consent.jurisdictions.get(place or "", {}).get(purpose)
    if local is not None:
        return local.basis(channel)
    return "not_required" if terms and terms.basis(channel) == "not_required" else "required"


def is_plain(consent: Consent, purpose: str, channel: str) -> bool:
    """True if a consent, and nothing else, permits such contacts of every customer."""
    terms = consent.purposes.get(purpose)
    stated = [places[purpose] for places in consent.jurisdictions.values() if purpose in places]
    return all(each.basis(channel) == "required" for each in (*stated, *([terms] if terms else ())))


def is_free(consent: Consent, purpose: str, channel: str) -> bool:
    """True if such contacts need nothing, wherever the customer is."""
    terms = consent.purposes.get(purpose)
    return not consent.jurisdictions and terms is not None and terms.basis(channel) == "not_required"


def decisive(answers: Iterable[Answer], purpose: str, channel: str, now: int) -> Answer | None:
    """Return the latest answer for a purpose and channel; of answers at the same instant the refusal."""
    heard = (
        one
        for one in answers
        if one.purpose == purpose and one.channel in (channel, ALL_CHANNELS) and one.at <= now
    )
    return max(heard, key=lambda one: (one.at, not one.granted), default=None)


class Answers(msgspec.Struct, frozen=True):
    """The latest answers of a live profile, read each time that somebody looks at them, and only then."""

    read: Callable[[], Mapping[str, Mapping[str, int]]]

    def __iter__(self) -> Iterator[Answer]:
        """Yield the answers."""
        return answers_of(self.read())


def answers_of(numbers: Mapping[str, Mapping[str, int]]) -> Iterator[Answer]:
    """Yield the latest answers of a live profile, which keeps one number per purpose and channel.

    A number is twice the instant, plus one for a refusal: `customers.live.facts.consent_answers`.
    """
    for purpose, channels in numbers.items():
        for channel, number in channels.items():
            yield Answer(purpose, channel, number % 2 == 0, number // 2)
