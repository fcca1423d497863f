"""The readings of all customers at once, in SQL: what `policy.ContactPolicy.readings` gives for one.

Contacts and outcomes are events here. Quiet hours are NULL, which lets everything pass: a refresh decides
what is next, not the minute it is sent; the reservation asks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from tilltal.core.instants import instant_of, micros
from tilltal.core.names import literal, quote
from tilltal.core.time import sql_timestamp
from tilltal.decisions.contacting.checks import (
    READINGS,
    count_name,
    holdout_name,
    permit_name,
    quiet_name,
    silence_name,
)
from tilltal.decisions.contacting.cooldowns import Silence, silence_of
from tilltal.decisions.contacting.holdouts import draw_of
from tilltal.decisions.contacting.parts import Contact
from tilltal.decisions.contacting.permission import ALL_CHANNELS, basis_of, is_plain
from tilltal.decisions.contacting.windows import FOREVER, Span, calendar_span, window
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.contact import PARTS, AppliesTo, Cap, CoolDown
from tilltal.workspace.definitions.contact import Contact as Terms
from tilltal.workspace.definitions.policies import Basis, Consent

Conditions = dict[str, str]  # name of a reading → which rows it is made of


class ContactReadings(msgspec.Struct, frozen=True):
    """How the readings are made: tables by name, of the customers who have any, and columns for everyone."""

    tables: Mapping[str, str]
    columns: tuple[str, ...]

    def select(self, relation: str) -> str:
        """Return the SELECT of a relation of profiles with all readings, once the tables are there."""
        joins = "".join(f" LEFT JOIN {name} USING (profile)" for name in self.tables)
        return f"SELECT {', '.join(('*', *self.columns))} FROM {relation}{joins}"


def readings(
    contacts: Sequence[Contact],
    terms: Terms,
    consent: Consent,
    actions: Mapping[str, Action],
    clock: Clock,
    relation: str,
) -> ContactReadings:
    """Return how to make every reading that contacts may ask for.

    Args:
        contacts: every contact that may be proposed.
        terms: the rules.
        consent: purposes and jurisdictions; answers are read from the view `consents`.
        actions: to know group, issue and purpose of past contacts.
        clock: the instant, and the zone of customers whose own is unknown.
        relation: the profiles, with time zones and jurisdictions.
    """
    tables = {
        "contact_counts": counts_sql(contacts, terms, actions, clock, relation),
        "contact_answers": _answers_sql(contacts, consent),
    }
    for number, rule in enumerate(terms.cooldowns):
        tables[f"contact_silences_{number}"] = silences_sql(contacts, terms, rule, actions, clock)
    draws = (f"CASE WHEN {draw_of(one).sql('profile')} THEN 1 ELSE 0 END" for one in terms.holdouts)
    named = zip(draws, map(holdout_name, terms.holdouts), strict=True)
    quiet = (("CAST(NULL AS BIGINT)", quiet_name(number)) for number in range(len(terms.quiet_hours)))
    permits = ((_permit_sql(consent, *pair), permit_name(*pair)) for pair in _legal(contacts, consent))
    return ContactReadings(
        {name: sql for name, sql in tables.items() if sql is not None},
        tuple(f"{sql} AS {quote(name)}" for sql, name in (*named, *quiet, *permits)),
    )


def counts_sql(
    contacts: Iterable[Contact], terms: Terms, actions: Mapping[str, Action], clock: Clock, relation: str
) -> str | None:
    """Return a SELECT of `profile` and one BIGINT column per count, or None where nothing is counted."""
    zones = _Zones(terms, clock)
    found = {
        name: _counted(cap, contact, zones)
        for contact in contacts
        for cap in terms.caps
        if (name := count_name(cap, contact)) is not None
    }
    if not found:
        return None
    columns = {name: f"count(*) FILTER (WHERE {condition})" for name, condition in found.items()}
    since = min((zones.earliest(cap) for cap in terms.caps), default=0)
    past = events_sql(terms.events, since)
    return _per_profile(columns, past, actions, zones.join(relation))


def silences_sql(
    contacts: Iterable[Contact], terms: Terms, rule: CoolDown, actions: Mapping[str, Action], clock: Clock
) -> str | None:
    """Return a SELECT of `profile` and one BIGINT column per scope of a cool-down, 1 where silence holds."""
    found = {
        name: "TRUE" if rule.scope == "all" else f"{_is(rule.scope, contact)}"
        for contact in contacts
        if (name := silence_name(rule, contact)) is not None
    }
    if not found:
        return None
    columns = {name: f"MAX(CASE WHEN {condition} THEN 1 ELSE 0 END)" for name, condition in found.items()}
    events = [event for event, kind in terms.outcomes.items() if kind == rule.outcome]
    return _silent(columns, events_sql(events, 0), rule, actions, clock)


def _silent(
    columns: Conditions, past: str | None, rule: CoolDown, actions: Mapping[str, Action], clock: Clock
) -> str:
    silence = silence_of(rule)
    if past is None:
        return _nobody(columns)
    scope = "" if rule.scope == "all" else f", {quote(rule.scope)}"
    first = f'LAG("at", {silence.times - 1}) OVER (PARTITION BY profile{scope} ORDER BY "at") AS first_at'
    scoped = _narrowed(rule.applies_to)
    outcomes = (
        f'SELECT profile, "at", action, "group", channel, {first} FROM ({past}) '
        f'LEFT JOIN {known_sql(actions)} USING (action) WHERE "at" <= {sql_timestamp(clock.now)}'
        f"{''.join(f' AND {one}' for one in scoped)}"
    )
    listed = ", ".join(f"{sql} AS {quote(name)}" for name, sql in sorted(columns.items()))
    return f"SELECT profile, {listed} FROM ({outcomes}) WHERE {_holds(silence, clock)} GROUP BY profile"


def _holds(silence: Silence, clock: Clock) -> str:
    since = sql_timestamp(instant_of(micros(clock.now) - silence.length))
    near = "" if silence.within >= FOREVER else f' AND epoch_us("at") - epoch_us(first_at) < {silence.within}'
    return f'"at" > {since} AND first_at IS NOT NULL{near}'


def _per_profile(columns: Conditions, past: str | None, actions: Mapping[str, Action], joined: str) -> str:
    if past is None:  # nothing was ever a contact, so every count is missing, which counts as 0
        return _nobody(columns)
    listed = ", ".join(f"{sql} AS {quote(name)}" for name, sql in sorted(columns.items()))
    # An action of the past may be unknown today.
    return (
        f"SELECT profile, {listed} FROM ({past}) LEFT JOIN {known_sql(actions)} USING (action){joined} "
        "GROUP BY profile"
    )


def _nobody(columns: Iterable[str]) -> str:
    none = ", ".join(f"CAST(NULL AS BIGINT) AS {quote(name)}" for name in sorted(columns))
    return f"SELECT CAST(NULL AS BIGINT) AS profile, {none} WHERE FALSE"


def events_sql(events: Iterable[str], since: int) -> str | None:
    """Return a SELECT of profile, instant, action, channel of events from an instant on; None: no event."""
    after = f' WHERE "at" >= {sql_timestamp(instant_of(since))}' if since else ""
    selects = [
        f'SELECT profile, "at", action, channel FROM {quote("event." + event)}{after}' for event in events
    ]
    return " UNION ALL ".join(selects) or None


def known_sql(actions: Mapping[str, Action]) -> str:
    """Return a relation of what is known today of actions: their group, issue and purpose."""
    known = ", ".join(
        f"({literal(name)}, {literal(action.group)}, {literal(action.issue)}, {literal(action.purpose)})"
        for name, action in sorted(actions.items())
    )
    return f'(VALUES {known}) AS known(action, "group", issue, purpose)'


def _counted(cap: Cap, contact: Contact, zones: _Zones) -> str:
    own = [_is(part, contact) for part in PARTS if part in cap.each]
    return " AND ".join((zones.inside(cap), *own, *_narrowed(cap.applies_to)))


def _is(part: str, contact: Contact) -> str:
    return f"{quote(part)} = {literal(contact.part(part) or '')}"


def _narrowed(scope: AppliesTo) -> list[str]:
    stated = ((part, scope.allowed(part)) for part in PARTS)
    return [
        f"{quote(part)} IN ({', '.join(map(literal, allowed))})"
        for part, allowed in stated
        if allowed is not None
    ]


class _Zones:
    """The windows of caps where customers live in several time zones.

    A calendar window begins at another instant in each. What begins when is written out, zone by zone, so
    that no engine needs to know them.
    """

    def __init__(self, terms: Terms, clock: Clock) -> None:
        self._terms = terms
        self._clock = clock
        self._now = micros(clock.now)
        units = (cap.calendar for cap in terms.caps if cap.calendar is not None)
        self._units = tuple(dict.fromkeys(units)) if terms.time_zone else ()

    def inside(self, cap: Cap) -> str:
        """Return the condition that a contact's instant lies in a cap's window."""
        span = window(cap, self._now, self._clock.zone)
        first, end = _stamps(span)
        if cap.calendar in self._units:
            first, end = (
                f"COALESCE({edge}, {default})"
                for edge, default in zip(_edges(cap.calendar or ""), (first, end), strict=True)
            )
        return f'"at" >= {first}' + (f' AND "at" < {end}' if cap.calendar else "")

    def earliest(self, cap: Cap) -> int:
        """Return the first instant that may lie in a cap's window, wherever a customer lives."""
        first = window(cap, self._now, self._clock.zone).first
        return first - _FARTHEST if cap.calendar in self._units else first

    def join(self, relation: str) -> str:
        """Return the join that gives each customer the windows of where they live."""
        if not self._units:
            return ""
        names = ", ".join(edge for unit in self._units for edge in _edges(unit))
        rows = ", ".join(
            f"({literal(name)}, {', '.join(self._row(ZoneInfo(name)))})"
            for name in sorted(available_timezones())
        )
        zones = (
            f"(VALUES {rows}) AS zones({_ZONE}, {names}) ON {_ZONE} = {quote(self._terms.time_zone or '')}"
        )
        return f" LEFT JOIN (SELECT profile, {names} FROM {relation} JOIN {zones}) AS living USING (profile)"

    def _row(self, zone: ZoneInfo) -> list[str]:
        spans = (calendar_span(unit, self._now, zone) for unit in self._units)
        return [stamp for span in spans for stamp in _stamps(span)]


def _edges(unit: str) -> tuple[str, str]:
    """Return the columns of a window's first instant and end; a profile has no such names."""
    return quote(f"{READINGS}{unit}.first"), quote(f"{READINGS}{unit}.end")


_ZONE = quote(f"{READINGS}zone")
_FARTHEST = 36 * 3_600_000_000  # local midnights of the same day are at most 26 hours apart


def _stamps(span: Span) -> tuple[str, str]:
    end = "NULL" if span.end >= FOREVER else sql_timestamp(instant_of(span.end))
    return sql_timestamp(instant_of(span.first)), end


def _legal(contacts: Iterable[Contact], consent: Consent) -> tuple[tuple[str, str], ...]:
    pairs = dict.fromkeys((one.purpose or "", one.channel or "") for one in contacts)
    return tuple(pair for pair in pairs if not is_plain(consent, *pair))


def _answers_sql(contacts: Iterable[Contact], consent: Consent) -> str | None:
    """Return a SELECT of `profile` and the number of the decisive answer per pair, odd for a refusal."""
    number = '2 * epoch_us("at") + CASE WHEN granted THEN 0 ELSE 1 END'
    columns = [
        f"MAX({number}) FILTER (WHERE purpose = {literal(purpose)} AND "
        f"channel IN ({literal(channel)}, {literal(ALL_CHANNELS)})) AS {_answer(purpose, channel)}"
        for purpose, channel in _legal(contacts, consent)
    ]
    return f"SELECT profile, {', '.join(columns)} FROM consents GROUP BY profile" if columns else None


def _answer(purpose: str, channel: str) -> str:
    return quote(f"{permit_name(purpose, channel)}.answer")


def _permit_sql(consent: Consent, purpose: str, channel: str) -> str:
    """Return the BOOLEAN whether a contact is permitted, where each customer lives."""
    answer = _answer(purpose, channel)
    elsewhere = _allowed(basis_of(consent, purpose, channel, None), answer)
    branches = [
        f"WHEN {literal(place)} THEN {_allowed(basis_of(consent, purpose, channel, place), answer)}"
        for place in consent.jurisdictions
    ]
    if not branches:
        return elsewhere
    return f"CASE {quote(consent.jurisdiction or '')} {' '.join(branches)} ELSE {elsewhere} END"


def _allowed(basis: Basis, answer: str) -> str:
    if basis == "not_required":
        return "TRUE"
    return f"COALESCE({answer} % 2 = 0, {'TRUE' if basis == 'unless_refused' else 'FALSE'})"
