"""What one customer's contacts and outcomes give: names of `history.` and influences, as of an instant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from tilltal.decisions.contacting.policy import Made, Outcome, Past
from tilltal.decisions.history.influences import influence_name, left_of, remembered
from tilltal.workspace.decision_names import CONTACT, MOST_DAYS, HistoryName, read_history_name
from tilltal.workspace.definitions.policies import Influencer

DAY = 86_400_000_000
"""Microseconds of a day of 24 hours."""

Event = Made | Outcome


class History:
    """What the conditions and influencers of a plan ask of the past, compiled."""

    def __init__(self, names: Collection[str], influencers: Sequence[Influencer]) -> None:
        """Compile what is asked.

        Args:
            names: those that a plan reads; of them only those of the history count.
            influencers: of the arbitration.
        """
        self.names = asked_of(names)
        self.influencers = tuple(influencers)
        self._names_of: defaultdict[str, list[HistoryName]] = defaultdict(list)
        for one in self.names:
            self._names_of[one.kind].append(one)
        self._influencers_of: defaultdict[str, list[tuple[int, Influencer]]] = defaultdict(list)
        for number, influencer in enumerate(self.influencers):
            self._influencers_of[influencer.on].append((number, influencer))

    @property
    def days(self) -> dict[str, int]:
        """Return kind → how many days back it is asked for, rounded up."""
        found: dict[str, int] = {}
        for one in self.names:
            found[one.kind] = max(found.get(one.kind, 0), one.days or MOST_DAYS)
        for influencer in self.influencers:
            days = -(-remembered(influencer) // DAY)
            found[influencer.on] = max(found.get(influencer.on, 0), days)
        return found

    def readings(self, past: Past, now: int) -> dict[str, object]:
        """Return every count, every day since that there is, and every influence that is not nothing."""
        found = {one.name: 0 for one in self.names if one.days is not None}
        if self._names_of or self._influencers_of:
            self._read(CONTACT, past.made, now, found)
            for kind in {one.kind for one in past.outcomes}:
                self._read(kind, (one for one in past.outcomes if one.kind == kind), now, found)
        return {**found}

    def _read(self, kind: str, events: Iterable[Event], now: int, found: dict[str, int]) -> None:
        names, influencers = self._names_of.get(kind, ()), self._influencers_of.get(kind, ())
        if not names and not influencers:
            return
        for event in events:
            age = now - event.at
            if age < 0:
                continue
            for name in names:
                if name.part is None or event.contact.part(name.part) == name.value:
                    _note(name, age, found)
            for number, influencer in influencers:
                value = event.contact.part(influencer.scope)
                left = left_of(influencer, age)
                if value is not None and left:
                    key = influence_name(number, value)
                    found[key] = found.get(key, 0) + left


def asked_of(names: Collection[str]) -> tuple[HistoryName, ...]:
    """Return the names of the history among names, read, in order."""
    read = (read_history_name(name) for name in sorted(names))
    return tuple(one for one in read if one is not None)


def _note(name: HistoryName, age: int, found: dict[str, int]) -> None:
    if name.days is not None:
        found[name.name] += age < name.days * DAY
    elif age < MOST_DAYS * DAY:
        found[name.name] = min(found.get(name.name, MOST_DAYS), age // DAY)
