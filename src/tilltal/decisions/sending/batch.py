"""The moments of all customers' messages: SQL counts their hours, numpy takes the best of those allowed.

The same as `choosing` for one, held equal by a test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilltal.core.instants import micros
from tilltal.core.names import literal, quote
from tilltal.core.time import day_start, known_zone, sql_timestamp
from tilltal.customers.live.traits.partials import QUARTER
from tilltal.customers.rhythms.local_hours import Span, spans
from tilltal.customers.rhythms.rhythm import HOURS, TOTAL, Rhythm
from tilltal.decisions.contacting.checks import READINGS
from tilltal.decisions.contacting.parts import contact_of
from tilltal.decisions.contacting.windows import FOREVER
from tilltal.decisions.plan import DecisionPlan
from tilltal.decisions.sending.choosing import Because, Closing, Sender, Weights, smoothed
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.contact import Contact as Terms
from tilltal.workspace.definitions.sending import Sending

TABLE = "sending_hours"
"""Of customers by hour of the day: `profile`, `hour`, `n`."""
_DAY = 96  # quarters
_ZONE = quote(f"{READINGS}zone")  # no profile has such a name

Ints = npt.NDArray[np.int64]


def hours_sql(sending: Sending, terms: Terms, clock: Clock, relation: str) -> str:
    """Return a SELECT of in how many local hours each customer was there, by hour of the day.

    Args:
        sending: which events tell, and how far back.
        terms: where a profile says in which time zone the customer lives.
        clock: the instant, and the zone of customers whose own is unknown.
        relation: the profiles.
    """
    since = day_start(clock.today - timedelta(days=sending.days - 1), clock.zone)
    happened = f"({_events_sql(sending.events, micros(since), clock)}) AS happened"
    first, end = micros(since) // QUARTER // _DAY * _DAY, (micros(clock.now) // QUARTER // _DAY + 1) * _DAY
    own = spans(clock.zone, first, end)
    ahead = _ahead_sql([str(one.offset) for one in own], [str(one.first) for one in own[1:]])
    if terms.time_zone is not None:
        zones = {name: spans(ZoneInfo(name), first, end) for name in sorted(available_timezones())}
        living, ahead = _living_sql(relation, terms.time_zone, zones, own)
        happened += f" JOIN ({living}) AS living USING (profile)"
    return (
        "SELECT profile, CAST(local % 24 AS SMALLINT) AS hour, count(*) AS n FROM ("
        f"SELECT DISTINCT profile, (quarter + {ahead}) // 4 AS local FROM {happened}) AS hours "
        "GROUP BY profile, hour"
    )


def _ahead_sql(offsets: Sequence[str], changes: Sequence[str]) -> str:
    """Return SQL for by how many quarters clocks are ahead of UTC, from change to change."""
    cases = "".join(
        f" WHEN quarter >= {change} THEN {offset}"
        for change, offset in reversed(list(zip(changes, offsets[1:], strict=True)))
    )
    return f"CASE{cases} ELSE {offsets[0]} END" if cases else offsets[0]


def _living_sql(
    relation: str, column: str, zones: Mapping[str, Sequence[Span]], own: Sequence[Span]
) -> tuple[str, str]:
    """Return a SELECT of each customer's offsets and changes of the clock, and what reads them.

    They are columns, so that nothing but profiles is joined: a join by time would pair everything with all.
    """
    most = max(map(len, (*zones.values(), own)))
    offsets = [quote(f"{READINGS}offset.{place}") for place in range(most)]
    changes = [quote(f"{READINGS}change.{place}") for place in range(1, most)]
    rows = ", ".join(
        f"({literal(name)}, {', '.join(map(str, _padded(found, most)))})" for name, found in zones.items()
    )
    default = zip((*offsets, *changes), _padded(own, most), strict=True)
    chosen = ", ".join(f"COALESCE({name}, {value}) AS {name}" for name, value in default)
    named = ", ".join((_ZONE, *offsets, *changes))
    living = (
        f"SELECT profile, {chosen} FROM {relation} "
        f"LEFT JOIN (VALUES {rows}) AS zones({named}) ON {_ZONE} = {quote(column)}"
    )
    return living, _ahead_sql(offsets, changes)


def _padded(found: Sequence[Span], most: int) -> list[int]:
    """Return offsets, then changes; what a zone has fewer of never comes."""
    missing = most - len(found)
    offsets = [one.offset for one in found] + [found[-1].offset] * missing
    return [*offsets, *(one.first for one in found[1:]), *[FOREVER] * missing]


def _events_sql(events: Iterable[str], since: int, clock: Clock) -> str:
    """Return a SELECT of `profile` and `quarter` of the events that tell when a customer is there."""
    found = " UNION ALL ".join(
        f'SELECT profile, epoch_us("at") // {QUARTER} AS quarter FROM {quote("event." + event)} '
        f'WHERE epoch_us("at") >= {since} AND "at" <= {sql_timestamp(clock.now)}'
        for event in events
    )
    return found or "SELECT CAST(NULL AS BIGINT) AS profile, CAST(NULL AS BIGINT) AS quarter WHERE FALSE"


def histogram_sql(relation: str = TABLE) -> str:
    """Return a SELECT of what `rhythm.population_of` learns from."""
    totals = f"SELECT profile, sum(n) AS n FROM {relation} GROUP BY profile"
    return (
        f"SELECT CAST(hour AS BIGINT), CAST(n AS BIGINT), count(*) FROM {relation} GROUP BY hour, n "
        f"UNION ALL SELECT {TOTAL}, CAST(n AS BIGINT), count(*) FROM ({totals}) AS totals GROUP BY n"
    )


def closed_columns(closing: Closing, sender: Sender, terms: Terms, clock: Clock) -> tuple[str, ...]:
    """Return a column for each reading of `choosing.Closing`: 1 where no moment is left."""
    now = micros(clock.now)
    found = []
    for name, (rules, ends) in closing.names.items():
        closed = {
            zone
            for zone in ({clock.zone.key} if terms.time_zone is None else available_timezones())
            if sender.is_closed(rules, ends, now, ZoneInfo(zone))
        }
        default = int(sender.is_closed(rules, ends, now, clock.zone))
        found.append(f"{_closed_sql(closed, default, terms)} AS {quote(name)}")
    return tuple(found)


def _closed_sql(closed: set[str], default: int, terms: Terms) -> str:
    if terms.time_zone is None:
        return f"CAST({default} AS BIGINT)"
    lived = quote(terms.time_zone)

    def among(zones: Iterable[str]) -> str:
        return f"{lived} IN ({', '.join(map(literal, sorted(zones)))})"

    branch = f"WHEN {among(closed)} THEN 1 " if closed else ""
    others = available_timezones() - closed
    branch += f"WHEN {among(others)} THEN 0 " if others and default else ""
    return f"CAST(CASE {branch}ELSE {default} END AS BIGINT)" if branch else f"CAST({default} AS BIGINT)"


class Living(msgspec.Struct, frozen=True):
    """Customers in order of their profiles: in which zone each lives, and the weights of their hours.

    `zones` are places in `names`; `weights` has a row of HOURS each, `seen` their own hours in it.
    """

    profiles: Ints
    zones: Ints
    names: tuple[ZoneInfo, ...]
    weights: Weights
    seen: Ints


def living_of(
    profiles: Ints, texts: Sequence[object], hours: pa.Table, population: Rhythm, clock: Clock
) -> Living:
    """Return how customers live.

    Args:
        profiles: rising.
        texts: the zone of each as the profile holds it; what is no zone counts as missing.
        hours: rows of TABLE of these customers.
        population: the rhythm of all.
        clock: for the zone of customers whose own is unknown.
    """
    counts = np.zeros((len(profiles), HOURS), dtype=np.int64)
    rows = np.searchsorted(profiles, hours.column("profile").to_numpy())
    counts[rows, hours.column("hour").to_numpy()] = hours.column("n").to_numpy()
    zones = [(known_zone(text) if isinstance(text, str) else None) or clock.zone for text in texts]
    names = tuple(dict.fromkeys(zones))
    places = {zone: place for place, zone in enumerate(names)}
    return Living(
        profiles,
        np.array([places[zone] for zone in zones], dtype=np.int64),
        names,
        smoothed(counts, population),
        counts.sum(axis=1),
    )


def choose_all(
    sender: Sender, plan: DecisionPlan, shown: pa.Table, living: Living, population: Rhythm, clock: Clock
) -> tuple[pa.Array, pa.Array]:
    """Return the moment of each shown action, and whose rhythm it is by; NULL where it is not chosen.

    Args:
        sender: the rules.
        plan: the actions.
        shown: rows with `profile`, `action` and `channel`.
        living: the customers.
        population: the rhythm of all.
        clock: the instant.
    """
    at = np.full(shown.num_rows, -1, dtype=np.int64)
    people = np.searchsorted(living.profiles, shown.column("profile").to_numpy())
    now = micros(clock.now)
    for (action, channel, zone), rows in _groups(plan, sender, shown, living.zones[people]).items():
        one = plan.actions[action]
        allowed = sender.slots(
            contact_of(one.name, one.definition, channel), one.ends, now, living.names[zone]
        )
        if allowed:
            weights = living.weights[np.ix_(people[rows], [slot.hour for slot in allowed])]
            at[rows] = np.array([slot.at for slot in allowed])[weights.argmax(axis=1)]
    is_chosen = at >= 0
    names: tuple[Because, ...] = (
        "own_rhythm",
        "population_rhythm" if population.customers else "first_allowed",
    )
    because = np.array(names, dtype=object)[np.where(living.seen[people] > 0, 0, 1)]
    return (
        pa.array(at, pa.int64(), mask=~is_chosen).cast(pa.timestamp("us")),
        pa.array(because, pa.string(), mask=~is_chosen),
    )


def _groups(
    plan: DecisionPlan, sender: Sender, shown: pa.Table, zones: Ints
) -> dict[tuple[int, str, int], Ints]:
    """Return the rows by action, channel and zone, of channels whose moment is chosen."""
    places = {action.name: place for place, action in enumerate(plan.actions)}
    channels = sorted(sender.channels)
    action = np.array([places[name] for name in shown.column("action").to_pylist()], dtype=np.int64)
    by = {name: place for place, name in enumerate(channels)}
    channel = np.array(
        [by.get(name or "", -1) for name in shown.column("channel").to_pylist()], dtype=np.int64
    )
    key = (action * len(channels) + channel) * (int(zones.max(initial=0)) + 1) + zones
    found: dict[tuple[int, str, int], Ints] = {}
    planned = np.flatnonzero(channel >= 0)
    order = planned[np.argsort(key[planned], kind="stable")]
    for rows in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        if len(rows):
            first = rows[0]
            found[int(action[first]), channels[int(channel[first])], int(zones[first])] = rows
    return found
