"""Contact policy for one customer: the counters that `contact.counts_sql` makes for all at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from tilltal.decisions.contact import PARTS, Contact, applies, cap_start, count_name
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.policies import Cap


class PastContact(msgspec.Struct, frozen=True):
    """A contact that was made: when, by which action (maybe one that is no more), in which channel."""

    at: datetime
    action: str | None
    channel: str | None


class _Counter(msgspec.Struct, frozen=True, kw_only=True):
    """What one counter counts: contacts of the cap's window whose parts are these."""

    name: str
    cap: Cap
    wanted: tuple[tuple[str, str], ...]


class ContactCounts:
    """Counts past contacts for every counter that the contacts an action plan may propose ask for."""

    def __init__(
        self, contacts: Iterable[Contact], caps: Sequence[Cap], actions: Mapping[str, Action]
    ) -> None:
        """Take every contact that may be proposed, the caps, and the actions by name."""
        found = {
            count_name(cap, contact): _Counter(
                name=count_name(cap, contact), cap=cap, wanted=tuple(_wanted(cap, contact))
            )
            for contact in contacts
            for cap in caps
            if applies(cap, contact)
        }
        self._counters = tuple(found.values())
        self._actions = actions

    def count(self, past: Iterable[PastContact], clock: Clock) -> dict[str, int]:
        """Return counter → how many contacts; those later than the clock do not count."""
        counts = dict.fromkeys((counter.name for counter in self._counters), 0)
        known = [(one.at, self._parts(one)) for one in past if one.at <= clock.now]
        if not known:
            return counts
        for counter in self._counters:
            start, is_rolling = cap_start(counter.cap, clock), counter.cap.rolling is not None
            counts[counter.name] = sum(
                (at > start if is_rolling else at >= start)
                and all(parts.get(part) == value for part, value in counter.wanted)
                for at, parts in known
            )
        return counts

    def _parts(self, one: PastContact) -> Mapping[str, str | None]:
        action = self._actions.get(one.action or "")
        of_action = {part: getattr(action, part) for part in ("group", "issue", "purpose")} if action else {}
        return {"action": one.action, "channel": one.channel, **of_action}


def _wanted(cap: Cap, contact: Contact) -> Iterable[tuple[str, str]]:
    for part in PARTS:
        value = contact.part(part) if part in cap.each else getattr(cap.applies_to, part)
        if value is not None:
            yield part, value
