"""The moment of a message for one customer: of the hours that are allowed the one of the highest rate.

Of equal ones the first counts. What was chosen follows from the customer's habit, the instant, the time zone
and the definitions, so it can be chosen again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import add
from struct import Struct
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from tilltal.core.instants import instant_of, micros
from tilltal.customers.rhythms.rhythm import HOURS, Rhythm
from tilltal.decisions.contacting.checks import READINGS, Check
from tilltal.decisions.contacting.parts import Contact, applies
from tilltal.decisions.contacting.quiet_hours import Hours, hours_of
from tilltal.decisions.contacting.windows import duration_micros
from tilltal.decisions.sending.slots import Slot, hour_of, opening, slots
from tilltal.workspace.definitions.contact import Contact as Terms
from tilltal.workspace.definitions.sending import Sending

Because = Literal["own_rhythm", "population_rhythm", "first_allowed"]
"""Whose rhythm the moment is by; `first_allowed`: nothing is known of any."""

WEIGHT = np.dtype("<f4")
"""How a weight is kept: more digits would say nothing."""
_PACKED = Struct(f"<{HOURS}f")
_MOST_KEPT = 4096  # zones and hours whose slots are remembered


class Habit(msgspec.Struct, frozen=True):
    """A customer's rhythm, smoothed: the weight of each hour of the day as WEIGHT, in bytes.

    `seen` are the hours of their own in it, `customers` are those whom the population's was learned from.
    """

    weights: bytes
    seen: int
    customers: int

    @property
    def because(self) -> Because:
        """Whose rhythm it is."""
        if self.seen:
            return "own_rhythm"
        return "population_rhythm" if self.customers else "first_allowed"


class Planned(msgspec.Struct, frozen=True):
    """When a message is sent (microseconds since 1970 UTC), at which local hour, and by whose rhythm."""

    at: int
    hour: int
    because: Because


def habit_of(counts: Sequence[int], population: Rhythm) -> Habit:
    """Return the habit of a customer who was there so often at each hour of the day."""
    weights = _PACKED.pack(*map(add, counts, population.alpha))
    return Habit(weights, sum(counts), population.customers)


def smoothed(counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]], population: Rhythm) -> Weights:
    """Return the weights of hours, in the last axis, of customers with these counts."""
    weights: Weights = (counts + np.array(population.alpha)).astype(WEIGHT)
    return weights


Weights = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class Sender:
    """`policies/sending.yaml` with the quiet hours, compiled."""

    def __init__(self, sending: Sending, terms: Terms) -> None:
        """Compile rules that passed their check.

        Raises:
            ValueError: if a duration or a time of day cannot be read.
        """
        self.definition = sending
        self.channels = frozenset(sending.channels)
        self.horizon = duration_micros(sending.horizon)
        self._terms = terms
        self._quiet = [hours_of(rule) for rule in terms.quiet_hours]
        self._rules: dict[tuple[str | None, ...], tuple[int, ...]] = {}
        self._later: dict[tuple[tuple[int, ...], str, int], tuple[Slot, ...]] = {}

    def plans(self, channel: str | None) -> bool:
        """True for a channel whose moment is chosen."""
        return channel in self.channels

    def checks(self, contact: Contact, ends: datetime | None) -> tuple[Check, ...]:
        """Return what stands for quiet hours where the moment is chosen: that some allowed one is left."""
        rules = self.rules(contact)
        if not rules:
            return ()
        return (Check(reason="quiet_hours", name=closed_name(rules, ends), limit=1),)

    def rules(self, contact: Contact) -> tuple[int, ...]:
        """Return the numbers of the quiet hours that concern a contact."""
        key = (contact.action, contact.group, contact.issue, contact.channel, contact.purpose)
        found = self._rules.get(key)
        if found is None:
            scopes = enumerate(rule.applies_to for rule in self._terms.quiet_hours)
            found = tuple(number for number, scope in scopes if applies(scope, contact))
            self._rules[key] = found
        return found

    def until(self, now: int, ends: datetime | None) -> int:
        """Return the first instant at which it is too late: the horizon, or the end of the action."""
        horizon = now + self.horizon
        return horizon if ends is None else min(horizon, micros(ends))

    def is_closed(self, rules: Sequence[int], ends: datetime | None, now: int, zone: ZoneInfo) -> bool:
        """True if quiet hours leave no moment before it is too late."""
        opens = opening(self._hours(rules), zone, now)
        return opens is None or opens >= self.until(now, ends)

    def is_quiet(self, rules: Sequence[int], now: int, zone: ZoneInfo) -> bool:
        """True while one of some quiet hours holds."""
        local = instant_of(now).astimezone(zone).time()
        return any(self._quiet[number].has(local) for number in rules)

    def slots(self, contact: Contact, ends: datetime | None, now: int, zone: ZoneInfo) -> tuple[Slot, ...]:
        """Return the moments that are allowed: those of `slots.slots`.

        What lies after the first of them is the same for everybody in a zone until the hour is over.
        """
        rules, until = self.rules(contact), self.until(now, ends)
        opens = opening(self._hours(rules), zone, now)
        if opens is None or opens >= until:
            return ()
        hour, after = hour_of(opens, zone)
        later = (slot for slot in self._after(rules, zone, after) if slot.at < until)
        return (Slot(hour % HOURS, opens), *later)

    def _after(self, rules: tuple[int, ...], zone: ZoneInfo, start: int) -> tuple[Slot, ...]:
        key = (rules, zone.key, start)
        found = self._later.get(key)
        if found is None:
            if len(self._later) >= _MOST_KEPT:
                self._later.clear()
            found = self._later[key] = slots(self._hours(rules), zone, start, start + self.horizon)
        return found

    def choose(
        self, contact: Contact, ends: datetime | None, now: int, zone: ZoneInfo, habit: Habit
    ) -> Planned | None:
        """Return the moment of a message; None if none is allowed."""
        allowed = self.slots(contact, ends, now, zone)
        if not allowed:
            return None
        weights = _PACKED.unpack(habit.weights)
        best = max(allowed, key=lambda slot: weights[slot.hour])  # the first of equal ones
        return Planned(best.at, best.hour, habit.because)

    def _hours(self, rules: Sequence[int]) -> list[Hours]:
        return [self._quiet[number] for number in rules]


def closed_name(rules: Sequence[int], ends: datetime | None) -> str:
    """Name the reading that is 1 where quiet hours leave no moment before the horizon, or an action's end."""
    end = "" if ends is None else str(micros(ends))
    return f"{READINGS}closed.{'_'.join(map(str, rules))}.{end}"


class Closing:
    """Tells what of a plan's messages can no longer be sent in time: the readings of `Sender.checks`."""

    def __init__(self, sender: Sender, asked: Iterable[tuple[Contact, datetime | None]]) -> None:
        """Compile.

        Args:
            sender: the rules.
            asked: every contact whose moment would be chosen, with the end of its action.
        """
        self._sender = sender
        pairs = ((sender.rules(contact), ends) for contact, ends in asked if sender.plans(contact.channel))
        self.names = {closed_name(rules, ends): (rules, ends) for rules, ends in pairs if rules}
        self._by_rules: dict[tuple[int, ...], list[tuple[str, datetime | None]]] = {}
        for name, (rules, ends) in self.names.items():
            self._by_rules.setdefault(rules, []).append((name, ends))

    def readings(self, now: int, zone: ZoneInfo) -> Mapping[str, int]:
        """Return the readings that are not 0."""
        return {
            name: 1
            for rules, asked in self._by_rules.items()
            if self._sender.is_quiet(rules, now, zone)
            for name, ends in asked
            if self._sender.is_closed(rules, ends, now, zone)
        }
