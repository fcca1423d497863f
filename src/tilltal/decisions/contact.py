"""Contact policy in batch: consent per channel, and caps counted from the contacts already made.

A cap allows a contact if the contacts in its window, plus this one, do not pass its limit. Rolling windows
are exact to the second (`at > now - window`), calendar windows begin at local midnight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from tilltal.core.names import literal, quote
from tilltal.core.time import day_start, local_date, parse_duration, sql_timestamp
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.policies import Cap, Consent

COUNTERS = "contacts."  # how the names of counters begin; no name of a profile does
PARTS = ("action", "group", "issue", "channel", "purpose")


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """What a contact is, to a policy: the parts a cap may name."""

    action: str
    group: str
    issue: str
    channel: str
    purpose: str

    def part(self, name: str) -> str:
        """Return one part by its name in a policy."""
        return str(getattr(self, name))


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One rule a contact must pass: a profile name, and how its value passes.

    For consent the value must be TRUE; for a cap, a count, it must be below `limit`.
    """

    reason: str
    name: str
    limit: int | None = None

    def passes(self, value: object) -> bool:
        """True if a profile's value of `name` lets the contact through; NULL never does, save for counts."""
        if self.limit is None:
            return value is True
        return (value if isinstance(value, int) else 0) < self.limit

    def sql(self, column: str) -> str:
        """Return the same as a SQL condition that is never NULL."""
        if self.limit is None:
            return f"COALESCE({column}, FALSE)"
        return f"COALESCE({column}, 0) < {self.limit}"


def contact_of(name: str, action: Action, channel: str) -> Contact:
    """Return the contact that an action makes in a channel."""
    return Contact(
        action=name, group=action.group, issue=action.issue, channel=channel, purpose=action.purpose
    )


def checks(contact: Contact, consent: Consent, caps: Sequence[Cap]) -> tuple[Check, ...]:
    """Return what a contact must pass, in the order in which reasons are named: consent, then caps."""
    found = []
    purpose = consent.purposes.get(contact.purpose)
    if purpose is None or purpose.consent == "required":
        name = f"consent.{contact.purpose}.{contact.channel}"
        found.append(Check(reason=f"no_consent:{contact.purpose}/{contact.channel}", name=name))
    found.extend(
        Check(reason=f"cap:{cap.name}", name=count_name(cap, contact), limit=cap.limit)
        for cap in caps
        if applies(cap, contact)
    )
    return tuple(found)


def count_name(cap: Cap, contact: Contact) -> str:
    """Name the counter of a cap for a contact: `contacts.<cap>`, one per value of each part in `each`.

    Columns know no case, so capitals are written as `^` and the small letter: no two counters share a name.
    """
    parts = (cap.name, *(contact.part(part) for part in cap.each))
    return COUNTERS + ".".join(map(_caseless, parts))


def counts_sql(
    contacts: Iterable[Contact],
    caps: Sequence[Cap],
    events: Sequence[str],
    actions: Mapping[str, Action],
    clock: Clock,
) -> str | None:
    """Return a SELECT of `profile` and one BIGINT column per counter, or None where nothing is counted.

    Args:
        contacts: every contact that may be proposed.
        caps: the caps of the contact policy.
        events: the event types that are contacts; they have the fields `action` and `channel`.
        actions: to know group, issue and purpose of past contacts.
        clock: the instant that windows end at, and the zone of calendar windows.
    """
    columns = {
        count_name(cap, contact): f"count(*) FILTER (WHERE {_counted(cap, contact, clock)})"
        for contact in contacts
        for cap in caps
        if applies(cap, contact)
    }
    if not columns:
        return None
    if not events:  # nothing was ever a contact, so every counter is missing, which counts as 0
        none = ", ".join(f"CAST(NULL AS BIGINT) AS {quote(name)}" for name in sorted(columns))
        return f"SELECT CAST(NULL AS BIGINT) AS profile, {none} WHERE FALSE"
    counted = ", ".join(f"{sql} AS {quote(name)}" for name, sql in sorted(columns.items()))
    earliest = min(cap_start(cap, clock) for cap in caps)
    since = f'"at" >= {sql_timestamp(earliest)}'
    past = " UNION ALL ".join(
        f'SELECT profile, "at", action, channel FROM {quote("event." + event)} WHERE {since}'
        for event in events
    )
    known = ", ".join(
        f"({literal(name)}, {literal(action.group)}, {literal(action.issue)}, {literal(action.purpose)})"
        for name, action in sorted(actions.items())
    )
    return (
        f"SELECT profile, {counted} FROM ({past}) LEFT JOIN "  # an action of the past may be unknown today
        f'(VALUES {known}) AS known(action, "group", issue, purpose) USING (action) GROUP BY profile'
    )


def _caseless(text: str) -> str:
    return "".join(f"^{sign.lower()}" if sign in ".^" or sign != sign.lower() else sign for sign in text)


def applies(cap: Cap, contact: Contact) -> bool:
    """True if a cap limits such contacts."""
    wanted = ((getattr(cap.applies_to, part), contact.part(part)) for part in PARTS)
    return all(want is None or want == got for want, got in wanted)


def _counted(cap: Cap, contact: Contact, clock: Clock) -> str:
    comparison = ">" if cap.rolling else ">="
    conditions = [f'"at" {comparison} {sql_timestamp(cap_start(cap, clock))}']
    for part in PARTS:
        wanted = contact.part(part) if part in cap.each else getattr(cap.applies_to, part)
        if wanted is not None:
            conditions.append(f"{quote(part)} = {literal(wanted)}")
    return " AND ".join(conditions)


def cap_start(cap: Cap, clock: Clock) -> datetime:
    """Return where a cap's window begins; a rolling one without that instant, a calendar one with it."""
    if cap.rolling:
        return clock.now - parse_duration(cap.rolling)
    today = local_date(clock.now, clock.zone)
    back = {"day": 0, "week": today.weekday(), "month": today.day - 1}[cap.calendar or "day"]
    return day_start(today - timedelta(days=back), clock.zone)
