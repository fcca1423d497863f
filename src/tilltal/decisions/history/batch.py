"""What the contacts and outcomes of all customers give, in SQL: what `readings.History` gives for one.

Contacts and outcomes are events here, as in `contacting.batch`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from tilltal.core.instants import instant_of, micros
from tilltal.core.names import literal, quote
from tilltal.core.time import sql_timestamp
from tilltal.decisions.contacting.batch import ContactReadings, events_sql, known_sql
from tilltal.decisions.contacting.checks import READINGS
from tilltal.decisions.history.influences import fading, influence_name, remembered, step_of
from tilltal.decisions.history.readings import DAY, History
from tilltal.decisions.plan import DecisionPlan
from tilltal.rules.clock import Clock
from tilltal.workspace.decision_names import CONTACT, MOST_DAYS, HistoryName
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.contact import Contact as Terms

TABLE = "contact_history"


class HistorySql(msgspec.Struct, frozen=True):
    """How the history is made: the SELECT of a table by profile (None: not asked), columns for everyone."""

    table: str | None
    columns: tuple[str, ...]


def history_sql(plan: DecisionPlan, terms: Terms, actions: Mapping[str, Action], clock: Clock) -> HistorySql:
    """Return how to make all that a plan asks of the past.

    Args:
        plan: the plan.
        terms: which events are contacts and outcomes.
        actions: to know group and issue of past contacts.
        clock: the instant.
    """
    history = History(plan.names, plan.arbitration.influencers)
    columns = tuple(_column(place, one) for place, one in enumerate(history.names))
    influences = sorted({name for action in plan.actions for name in action.influences})
    if not columns and not influences:
        return HistorySql(None, ())
    listed = [
        *(f"{_raw_sql(one, clock)} AS {_raw(place)}" for place, one in enumerate(history.names)),
        *(f"{sql} AS {quote(name)}" for name, sql in _sums(history, plan, influences)),
    ]
    past = _past(history, terms, clock)
    if past is None:
        nothing = ", ".join(f"CAST(NULL AS BIGINT) AS {one.rpartition(' AS ')[2]}" for one in listed)
        return HistorySql(f"SELECT CAST(NULL AS BIGINT) AS profile, {nothing} WHERE FALSE", columns)
    amounts = "".join(
        f", {_amount(number, history, clock)} AS amount_{number}"
        for number in range(len(history.influencers))
    )
    joined = f"SELECT *{amounts} FROM ({past}) LEFT JOIN {known_sql(actions)} USING (action)"
    return HistorySql(f"SELECT profile, {', '.join(listed)} FROM ({joined}) GROUP BY profile", columns)


def with_history(
    found: ContactReadings, history: HistorySql, further: tuple[str, ...] = ()
) -> ContactReadings:
    """Return readings of contacts with those of the history, and further columns."""
    tables = found.tables if history.table is None else {**found.tables, TABLE: history.table}
    return ContactReadings(tables, (*found.columns, *history.columns, *further))


def _past(history: History, terms: Terms, clock: Clock) -> str | None:
    """Return a SELECT of every event that is asked for, with its kind."""
    now = micros(clock.now)
    selects = []
    for kind, days in sorted(history.days.items()):
        events = _events_of(kind, terms)
        found = events_sql(events, now - days * DAY)
        if found is not None:
            selects.append(
                f'SELECT profile, "at", action, channel, {literal(kind)} AS kind FROM ({found}) '
                f'WHERE "at" <= {sql_timestamp(clock.now)}'
            )
    return " UNION ALL ".join(selects) or None


def _events_of(kind: str, terms: Terms) -> Collection[str]:
    if kind == CONTACT:
        return terms.events
    return [event for event, known in terms.outcomes.items() if known == kind]


def _column(place: int, one: HistoryName) -> str:
    missing = "NULL" if one.days is None else "0"
    return f"COALESCE({_raw(place)}, CAST({missing} AS BIGINT)) AS {quote(one.name)}"


def _raw(place: int) -> str:
    return quote(f"{READINGS}history.{place}")


def _raw_sql(one: HistoryName, clock: Clock) -> str:
    now = micros(clock.now)
    since = sql_timestamp(instant_of(now - (one.days or MOST_DAYS) * DAY))
    own = "" if one.part is None else f" AND {quote(one.part)} = {literal(one.value or '')}"
    rows = f'FILTER (WHERE kind = {literal(one.kind)} AND "at" > {since}{own})'
    if one.days is not None:
        return f"count(*) {rows}"
    return f'CAST(({now} - max(epoch_us("at")) {rows}) // {DAY} AS BIGINT)'


def _amount(number: int, history: History, clock: Clock) -> str:
    """Return what is left of an influencer's weight for an event; NULL for one that it is not about."""
    one, now = history.influencers[number], micros(clock.now)
    step = f'({now} - epoch_us("at")) // {step_of(one)}'
    table = ", ".join(map(str, fading(one.weight)))
    age = f'"at" > {sql_timestamp(instant_of(now - remembered(one)))}'
    return f"CASE WHEN kind = {literal(one.on)} AND {age} THEN CAST(([{table}])[1 + {step}] AS BIGINT) END"


def _sums(history: History, plan: DecisionPlan, influences: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each influence that actions ask for, with the sum that it is."""
    wanted = set(influences)
    for number, one in enumerate(history.influencers):
        values = {
            {"action": action.name, "group": action.definition.group, "issue": action.definition.issue}[
                one.scope
            ]
            for action in plan.actions
        }
        for value in sorted(values):
            name = influence_name(number, value)
            if name in wanted:
                condition = f"{quote(one.scope)} = {literal(value)}"
                yield name, f"CAST(sum(amount_{number}) FILTER (WHERE {condition}) AS BIGINT)"
