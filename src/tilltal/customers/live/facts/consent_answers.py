"""What one customer allows: the latest answer per purpose and channel.

The live form of `customers.consents.consents_sql`, where the rules are explained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from tilltal.core.instants import micros
from tilltal.customers.consents import consent_name
from tilltal.workspace.definitions.policies import Purpose

_ALL = "*"
_NONE = "not_required"
_NO_ANSWER = 1  # odd, as a refusal is


class ConsentFact(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. `channel` may be `*`. Instants are aware."""

    purpose: str
    channel: str
    granted: bool
    at: datetime
    received: datetime


class ConsentState(msgspec.Struct):
    """A fragment's answers: purpose → channel → the greatest number.

    An answer's number is its time in microseconds doubled, plus one for a refusal: so the latest is the
    greatest, and of answers at the same instant the refusal.
    """

    answers: dict[str, dict[str, int]] = {}


class ConsentPlan:
    """The consents of a workspace. Answers for other purposes and channels are kept too: they may come."""

    def __init__(self, purposes: Mapping[str, Purpose], channels: Sequence[str]) -> None:
        """Prepare the name of each purpose and channel."""
        self._always: dict[str, object] = {
            consent_name(purpose, channel): True
            for purpose, terms in purposes.items()
            for channel in channels
            if terms.basis(channel) == _NONE
        }
        self._needed = [
            (
                purpose,
                [(each, consent_name(purpose, each)) for each in channels if terms.basis(each) != _NONE],
            )
            for purpose, terms in purposes.items()
        ]

    def add(self, state: ConsentState, fact: ConsentFact) -> bool:
        """Take an answer into a fragment; True if it is now the latest for its purpose and channel."""
        number = 2 * micros(fact.at) + (0 if fact.granted else 1)
        channels = state.answers.setdefault(fact.purpose, {})
        if fact.channel in channels and channels[fact.channel] >= number:
            return False
        channels[fact.channel] = number
        return True

    def merged(self, states: Sequence[ConsentState]) -> ConsentState:
        """Return the fragments as one. A single one is returned itself: do not add to the result."""
        if len(states) == 1:
            return states[0]
        answers: dict[str, dict[str, int]] = {}
        for state in states:
            for purpose, channels in state.answers.items():
                known = answers.setdefault(purpose, {})
                for channel, number in channels.items():
                    known[channel] = max(known.get(channel, number), number)
        return ConsentState(answers)

    def values(self, state: ConsentState) -> dict[str, object]:
        """Return every consent as a boolean. Time alone changes none of them."""
        found = dict(self._always)
        for purpose, channels in self._needed:
            answers = state.answers.get(purpose, {})
            for channel, name in channels:
                found[name] = _is_granted(answers.get(channel), answers.get(_ALL))
        return found


def _is_granted(own: int | None, of_all: int | None) -> bool:
    if own is None or of_all is None:
        decisive = own if of_all is None else of_all
        return (_NO_ANSWER if decisive is None else decisive) % 2 == 0
    return max(own, of_all) % 2 == 0
