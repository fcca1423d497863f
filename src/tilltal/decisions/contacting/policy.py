"""The contact policy of a workspace, compiled: judges a contact by what the customer had, did and said.

    terms ──► checks of a contact ─┐
                                   ├─► verdict: reasons in order, the permit, when to try again
    past ───► readings of a moment ┘

The readings of a moment serve all contacts that may be proposed then. They hold only what is not 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec

from tilltal.core.instants import instant_of, micros
from tilltal.decisions.contacting.checks import (
    Check,
    count_name,
    holdout_name,
    limits,
    no_consent,
    permit_name,
    quiet_name,
    silence_name,
)
from tilltal.decisions.contacting.cooldowns import silence_of
from tilltal.decisions.contacting.holdouts import draw_of
from tilltal.decisions.contacting.parts import Contact, applies
from tilltal.decisions.contacting.permission import Answer, Permit, is_free, is_plain, permit
from tilltal.decisions.contacting.quiet_hours import first_open, hours_of
from tilltal.decisions.contacting.windows import FOREVER, Span, Unit, calendar_span, duration_micros
from tilltal.workspace.definitions.contact import Contact as Terms
from tilltal.workspace.definitions.policies import Consent

Named = tuple[tuple[int, str], ...]  # number of a rule, name of its reading for a contact
K = TypeVar("K")
V = TypeVar("V")

_MOST_KEPT = 1 << 16  # contacts, and local days, whose names and spans are remembered


class Made(msgspec.Struct, frozen=True, gc=False):
    """A past contact that counts, and when it was made; microseconds since 1970 in UTC.

    `sends` is when it is sent, if that was chosen; it may be yet to come. Caps count it then.
    """

    at: int
    contact: Contact
    sends: int | None = None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What came of a contact: `kind` is a response, such as `reject`."""

    at: int
    kind: str
    contact: Contact


class Past(msgspec.Struct, frozen=True):
    """What a customer had, did and said: contacts that count, outcomes, answers; each in any order."""

    made: Sequence[Made] = ()
    outcomes: Sequence[Outcome] = ()
    answers: Sequence[Answer] = ()


class Moment(msgspec.Struct, frozen=True):
    """When and whom: the instant, the customer's time zone and jurisdiction, and the profile for holdouts."""

    now: int
    zone: ZoneInfo
    place: str | None = None
    profile: int | None = None


class Verdict(msgspec.Struct, frozen=True):
    """Whether a contact may be made: all reasons against it in fixed order, and what permits it.

    `retry_at` is the first instant after the quiet hours that stand against it.
    """

    reasons: tuple[str, ...]
    permit: Permit | None
    retry_at: int | None = None

    @property
    def is_allowed(self) -> bool:
        """True if nothing stands against the contact."""
        return not self.reasons


class ContactPolicy:
    """The rules of `policies/contact.yaml` and `policies/consent.yaml`, compiled."""

    def __init__(self, terms: Terms, consent: Consent) -> None:
        """Compile rules that passed their check.

        Raises:
            ValueError: if a duration or a time of day cannot be read.
        """
        self.terms = terms
        self.consent = consent
        self._rolling = [None if cap.rolling is None else duration_micros(cap.rolling) for cap in terms.caps]
        self._silences = [silence_of(rule) for rule in terms.cooldowns]
        self._kinds = frozenset(rule.outcome for rule in terms.cooldowns)
        self._quiet = [hours_of(rule) for rule in terms.quiet_hours]
        self._quiet_names = [quiet_name(number) for number in range(len(self._quiet))]
        self._draws = [(holdout_name(one), draw_of(one)) for one in terms.holdouts]
        self._counts_of: dict[Contact, Named] = {}
        self._silences_of: dict[Contact, Named] = {}
        self._limits: dict[Contact, tuple[Check, ...]] = {}
        self._spans: dict[tuple[str, Unit], Span] = {}

    def judge(self, contact: Contact, past: Past, moment: Moment, sends: int | None = None) -> Verdict:
        """Judge one contact; `sends` is the instant at which it is sent, if not now.

        Quiet hours and caps are those of that instant, all else is as of now.
        """
        allowed = self.permit(contact, past.answers, moment)
        readings = self.readings(past, moment, sends)
        found = [] if allowed else [no_consent(contact)]
        found += [one.reason for one in self._limits_of(contact) if not one.passes(readings.get(one.name))]
        reasons = tuple(dict.fromkeys(found))
        return Verdict(reasons, allowed, self.opens(contact, moment) if "quiet_hours" in reasons else None)

    def permit(self, contact: Contact, answers: Iterable[Answer], moment: Moment) -> Permit | None:
        """Return what permits a contact, or None."""
        purpose, channel = contact.purpose or "", contact.channel or ""
        return permit(self.consent, purpose, channel, answers, moment.now, moment.place)

    def opens(self, contact: Contact, moment: Moment) -> int | None:
        """Return the first instant from now on without quiet hours for a contact; None if there is none."""
        hours = [
            each
            for each, rule in zip(self._quiet, self.terms.quiet_hours, strict=True)
            if applies(rule.applies_to, contact)
        ]
        found = first_open(hours, instant_of(moment.now), moment.zone)
        return None if found is None else micros(found)

    def readings(self, past: Past, moment: Moment, sends: int | None = None) -> dict[str, int]:
        """Return what stands against contacts now, by name; what is missing is 0.

        `sends` is the instant of whose quiet hours and caps are told, if not now.
        """
        found: dict[str, int] = {}
        at = moment.now if sends is None else sends
        if past.made:
            self._count(past.made, at, moment.zone, found)
        if past.outcomes:
            self._fall_silent(past.outcomes, moment, found)
        if self._quiet:
            local = instant_of(at).astimezone(moment.zone).time()
            for name, hours in zip(self._quiet_names, self._quiet, strict=True):
                if hours.has(local):
                    found[name] = 1
        if moment.profile is not None:
            for name, draw in self._draws:
                if draw.has(moment.profile):
                    found[name] = 1
        return found

    def permits(
        self, pairs: Iterable[tuple[str, str]], answers: Collection[Answer], moment: Moment
    ) -> dict[str, bool]:
        """Return whether contacts are permitted, by name, for the pairs of purpose and channel in `legal`."""
        return {
            permit_name(purpose, channel): permit(
                self.consent, purpose, channel, answers, moment.now, moment.place
            )
            is not None
            for purpose, channel in pairs
        }

    def legal(self, contacts: Iterable[Contact]) -> tuple[tuple[str, str], ...]:
        """Return the pairs of purpose and channel that may be permitted by something else than a consent."""
        pairs = dict.fromkeys((one.purpose or "", one.channel or "") for one in contacts)
        return tuple(
            pair for pair in pairs if not is_plain(self.consent, *pair) and not is_free(self.consent, *pair)
        )

    def _count(self, made: Sequence[Made], now: int, zone: ZoneInfo, found: dict[str, int]) -> None:
        spans = [self._span(number, now, zone) for number in range(len(self._rolling))]
        for one in made:
            at, is_sent_at = (one.at, False) if one.sends is None else (one.sends, True)
            for number, name in self._counts_of.get(one.contact) or self._counted(one.contact):
                first, end, sent_end = spans[number]
                if first <= at < (sent_end if is_sent_at else end):
                    found[name] = found.get(name, 0) + 1

    def _fall_silent(self, outcomes: Sequence[Outcome], moment: Moment, found: dict[str, int]) -> None:
        scopes: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        for one in outcomes:
            if one.kind in self._kinds:
                for number, name in self._silenced(one.contact):
                    if self.terms.cooldowns[number].outcome == one.kind:
                        scopes[number, name].append(one.at)
        for (number, name), instants in scopes.items():
            if self._silences[number].until(sorted(instants), moment.now) is not None:
                found[name] = 1

    def _span(self, number: int, now: int, zone: ZoneInfo) -> tuple[int, int, int]:
        """Return a cap's span around an instant: its first one, its end, its end for what is sent later.

        A rolling window may lie anywhere around an instant: what is sent less than its length before or after
        counts, so that none holds too many.
        """
        length = self._rolling[number]
        if length is not None:
            return now - length + 1, FOREVER, now + length
        unit = self.terms.caps[number].calendar or "day"
        key = (zone.key, unit)
        known = self._spans.get(key)
        if known is None or not known.first <= now < known.end:
            known = _kept(self._spans)[key] = calendar_span(unit, now, zone)
        return known.first, known.end, known.end

    def _counted(self, contact: Contact) -> Named:
        found = self._counts_of.get(contact)
        if found is None:
            names = [(number, count_name(cap, contact)) for number, cap in enumerate(self.terms.caps)]
            found = _kept(self._counts_of)[contact] = tuple((at, name) for at, name in names if name)
        return found

    def _silenced(self, contact: Contact) -> Named:
        found = self._silences_of.get(contact)
        if found is None:
            names = [
                (number, silence_name(rule, contact)) for number, rule in enumerate(self.terms.cooldowns)
            ]
            found = _kept(self._silences_of)[contact] = tuple((at, name) for at, name in names if name)
        return found

    def _limits_of(self, contact: Contact) -> tuple[Check, ...]:
        found = self._limits.get(contact)
        if found is None:
            found = _kept(self._limits)[contact] = limits(contact, self.terms)
        return found


def _kept(memory: dict[K, V]) -> dict[K, V]:
    """Return a memory with room for one more."""
    if len(memory) >= _MOST_KEPT:
        memory.clear()
    return memory
