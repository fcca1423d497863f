"""The contacts of one customer, as profiles and timelines tell of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tilltal.core.instants import instant_of
from tilltal.core.operational import Reads
from tilltal.runtime.live.contacts.books import each_once
from tilltal.runtime.live.contacts.contract import ContactCount
from tilltal.runtime.live.contacts.entries import Entry
from tilltal.runtime.live.contract import TimelineEntry

_ALWAYS = -(2**63)


async def contacts_of(reads: Reads, profile: int) -> list[Entry]:
    """Return the contacts of a profile that were allowed, by time."""
    rows = (await reads.contacts_of((profile,), _ALWAYS)).get(profile, [])
    return each_once(rows)


def counted(entries: Iterable[Entry], now: int) -> dict[str, ContactCount]:
    """Return how many contacts count at an instant, by channel."""
    found = Counter(
        (one.contact.channel or "", one.state(now))
        for one in (entry.contacted for entry in entries)
        if one is not None and one.at <= now and one.counts(now)
    )
    return {
        channel: ContactCount(reserved=found[channel, "reserved"], committed=found[channel, "committed"])
        for channel in sorted({channel for channel, _ in found})
    }


def line(entry: Entry, now: int) -> TimelineEntry:
    """Return a contact as an entry of a timeline, as it stands now."""
    one = entry.contacted
    parts = {} if one is None else {"channel": one.contact.channel, "purpose": one.contact.purpose}
    state = "denied" if one is None else one.state(now)
    came = [kind for kind, _ in entry.outcomes]
    action = None if one is None else one.contact.action
    return TimelineEntry(
        at=instant_of(entry.at),
        kind="contact",
        name=action or "",
        fields={"contact": entry.id, **parts, "state": state, "outcomes": came},
    )
