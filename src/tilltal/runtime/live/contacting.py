"""What stands against contacts of one customer now, from the state of the profile.

Contacts and outcomes that came as events are kept as occurrences in the state, as far back as a rule looks;
what was reserved here is given by who reads it from the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import lru_cache

import msgspec

from tilltal.core.instants import micros
from tilltal.core.time import Unit, Window, known_zone, parse_duration
from tilltal.customers.live.profile import ProfileProgram, ProfileState
from tilltal.customers.live.traits.families import Family
from tilltal.customers.rhythms.rhythm import FLAT, Rhythm
from tilltal.decisions.contacting.parts import Contact, contact_of
from tilltal.decisions.contacting.permission import answers_of
from tilltal.decisions.contacting.policy import ContactPolicy, Made, Moment, Outcome, Past
from tilltal.decisions.history.readings import History
from tilltal.decisions.plan import DecisionPlan
from tilltal.rules.clock import Clock
from tilltal.runtime.live.contacts.rations import Rations
from tilltal.runtime.live.pacing import Pacing
from tilltal.workspace.decision_names import CONTACT, MOST_DAYS
from tilltal.workspace.definitions.contact import Cap, CoolDown
from tilltal.workspace.definitions.contact import Contact as Terms
from tilltal.workspace.workspace import Workspace

_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_MONTH = 31  # days
_UNITS = {"day": timedelta(days=2), "week": timedelta(days=8), "month": timedelta(days=32)}
_AGES = 36_500  # days: outcomes that may be any time apart
_BORDERS = 3  # days: windows begin within one, and customers' days are not the workspace's
_MOST_KEPT = 65_536
_NOTHING = Past()


class LiveContacts:
    """The contact policy over states of profiles, with when contacts are sent and how many there are.

    `families` must be kept by the program that makes the states; `days` is how far back a rule looks.
    `parts` gives the contact that an action makes in a channel, as far as the action is known today.
    """

    def __init__(self, workspace: Workspace, plan: DecisionPlan, rhythm: Rhythm = FLAT) -> None:
        """Compile the policy of a workspace; `rhythm` is the population's.

        Raises:
            ValueError: if a duration or a time of day cannot be read.
        """
        terms = workspace.contact
        self.policy = ContactPolicy(terms, workspace.consent)
        self.pacing = Pacing(workspace, plan, rhythm)
        self.rations = Rations(workspace, plan)
        self._actions = workspace.actions
        self._zone = workspace.zone
        self._legal = self.policy.legal(plan.contacts)
        self._history = History(plan.names, plan.arbitration.influencers)
        reaches = _reaches(terms, self._history)
        self.days = max(reaches.values(), default=0)
        self._reach = _reach(terms, max(self._history.days.values(), default=0))
        self._made = _family(terms.events, reaches.get(CONTACT, 0))
        self._outcomes = dict(_outcome_families(terms, reaches))
        self.parts = lru_cache(maxsize=_MOST_KEPT)(self._contact_of)

    @property
    def families(self) -> list[Family]:
        """What of contacts and outcomes, and of when customers are there, must be kept."""
        made = [] if self._made is None else [self._made]
        return [*made, *self._outcomes.values(), *self.pacing.families]

    @property
    def counts(self) -> bool:
        """True if any rule asks for contacts of before or for what came of them."""
        return self.days > 0

    def since(self, now: int) -> int:
        """Return the instant before which no contact, and nothing that came of one, matters any more."""
        return now - self._reach

    def contact(self, action: str, channel: str) -> Contact:
        """Return the contact that an action makes in a channel, with its priority."""
        known = self.parts(action, channel)
        return msgspec.structs.replace(known, priority=self.priority(known.purpose))

    def priority(self, purpose: str | None) -> float:
        """Return the priority of a purpose's contacts."""
        return self.policy.terms.priorities.get(purpose or "", 0.0)

    def moment(self, values: Mapping[str, object], clock: Clock, profile: int | None) -> Moment:
        """Return the moment of a customer, given the names of `DecisionPlan.living` among the values."""
        zone = values.get(self.policy.terms.time_zone or "")
        place = values.get(self.policy.consent.jurisdiction or "")
        return Moment(
            micros(clock.now),
            (known_zone(zone) if isinstance(zone, str) else None) or self._zone,
            place if isinstance(place, str) else None,
            profile,
        )

    def past(self, program: ProfileProgram, state: ProfileState, now: int, reserved: Past = _NOTHING) -> Past:
        """Return what a customer had and did, what was reserved here included."""
        made, outcomes = list(reserved.made), list(reserved.outcomes)
        if self._made is not None:
            found = program.occurrences(state, self._made)
            made += [Made(one.at, self.parts(*one.fields)) for one in found if one.at <= now]
        for kind, family in self._outcomes.items():
            found = program.occurrences(state, family)
            outcomes += [Outcome(one.at, kind, self.parts(*one.fields)) for one in found]
        return Past(made, outcomes, tuple(answers_of(program.answers(state))) if self._legal else ())

    def readings(self, past: Past, moment: Moment) -> dict[str, object]:
        """Return every reading that is not nothing, and every count of the history, by name."""
        return {
            **self._history.readings(past, moment.now),
            **self.policy.readings(past, moment),
            **(self.policy.permits(self._legal, past.answers, moment) if self._legal else {}),
            **self.pacing.readings(moment),
        }

    def _contact_of(self, action: object, channel: object) -> Contact:
        """Return the parts of a past contact, as far as its action is known today."""
        by = channel if isinstance(channel, str) else None
        name = action if isinstance(action, str) else None
        known = self._actions.get(name or "")
        if known is None or name is None:
            return Contact(action=name, group=None, issue=None, channel=by, purpose=None)
        return msgspec.structs.replace(contact_of(name, known, ""), channel=by)


def _family(events: tuple[str, ...], days: int) -> Family | None:
    """Return what must be kept of events that are contacts or outcomes; None where no rule asks."""
    if not events or not days:
        return None
    return Family(
        types=tuple(sorted(events)),
        windows=(Window(days, Unit.DAYS),),
        is_whole=True,
        fields=("action", "channel"),
    )


def _reach(terms: Terms, days: int) -> int:
    """Return how far back rules look, in microseconds; `days` is how far the history does."""
    caps = [
        _UNITS[cap.calendar or "day"] if cap.rolling is None else parse_duration(cap.rolling)
        for cap in terms.caps
    ]
    rests = [parse_duration(rule.for_) + timedelta(days=_days_within(rule)) for rule in terms.cooldowns]
    return max([timedelta(days=days + _BORDERS if days else 0), *caps, *rests]) // _MICROSECOND


def longest_reach(terms: Terms) -> int:
    """Return how many days back anything of a policy, or of the history that rules may name, can look."""
    rules = [_days(rule.for_) + _days_within(rule) for rule in terms.cooldowns]
    return max([MOST_DAYS + _BORDERS, *map(_days_of_cap, terms.caps), *rules])


def _reaches(terms: Terms, history: History) -> dict[str, int]:
    """Return how many days back rules look, by kind of outcome; contacts themselves are CONTACT."""
    found = {kind: days + _BORDERS for kind, days in history.days.items()}
    for cap in terms.caps:
        found[CONTACT] = max(found.get(CONTACT, 0), _days_of_cap(cap))
    for rule in terms.cooldowns:
        found[rule.outcome] = max(found.get(rule.outcome, 0), _days(rule.for_) + _days_within(rule))
    return found


def _outcome_families(terms: Terms, reaches: Mapping[str, int]) -> Iterator[tuple[str, Family]]:
    for kind, days in reaches.items():
        events = tuple(event for event, known in terms.outcomes.items() if known == kind)
        family = _family(events, days)
        if family is not None:
            yield kind, family


def _days_within(rule: CoolDown) -> int:
    if rule.times == 1:
        return 0
    return _AGES if rule.within is None else _days(rule.within)


def _days_of_cap(cap: Cap) -> int:
    return _MONTH + _BORDERS if cap.rolling is None else _days(cap.rolling)


def _days(duration: str) -> int:
    return parse_duration(duration) // _DAY + _BORDERS
