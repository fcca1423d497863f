"""States made by SQL of all events at once equal those to which the events were added one by one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

import pytest
from tests.properties.test_traits_parity import (
    NOWS,
    SCHEMAS,
    ZONE,
    _every_trait,
    _histories,
    _table,
    _typed,
)

from tilltal.core.names import quote
from tilltal.customers.live.traits.bucket_sql import bucket_sql, packed
from tilltal.customers.live.traits.families import Family, family_of
from tilltal.customers.live.traits.live_traits import LiveTraits
from tilltal.customers.traits.compiled import compile_traits
from tilltal.customers.traits.online import Event, known
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.rules.clock import Clock


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as opened:
        yield opened


def _state(live: LiveTraits, events: list[Event], clock: Clock) -> bytes:
    state = live.empty()
    for event in events:
        live.add(state, event)
    live.prune(state, clock)
    return live.encode(state)


def _bulk(
    engine: DuckDBEngine, live: LiveTraits, histories: list[list[Event]], clock: Clock, where: str
) -> dict[int, bytes]:
    for name in SCHEMAS:
        engine.register(f"all.{name}", _table(histories, name))
        engine.run(
            f"CREATE OR REPLACE VIEW {quote(f'event.{name}')} AS "
            "SELECT * EXCLUDE (profile) REPLACE (event_id::UUID AS event_id), profile AS token "
            f"FROM {quote(f'all.{name}')}"
        )
    queries = bucket_sql(live, SCHEMAS, clock, "token", where)
    return packed(live, SCHEMAS, ((query, engine.rows(query.sql)) for query in queries))


@pytest.mark.parametrize("now", [NOWS[1], *(pytest.param(now, marks=pytest.mark.slow) for now in NOWS)])
def test_states_made_at_once_equal_those_added_one_by_one(engine: DuckDBEngine, now: datetime) -> None:
    compiled, clock = compile_traits(_every_trait(), SCHEMAS), Clock(now, ZONE)
    whole = Family(types=("buy", "call"), fields=("amount", "city"), is_whole=True, is_endless=True)
    live = LiveTraits(compiled, SCHEMAS, ZONE, [family_of(compiled[1], keeps_days=True), whole])
    histories = [known(events, now) for events in _histories(3, now, 25)]
    states = _bulk(engine, live, histories, clock, "TRUE")
    for key, events in enumerate(histories):
        data = states.get(key, live.encode(live.empty()))
        bulk, single = live.decode(data), live.decode(_state(live, events, clock))
        for later in (now, now + timedelta(minutes=3), now + timedelta(days=5)):
            at = Clock(later, ZONE)
            assert _typed(live.values(bulk, at)) == _typed(live.values(single, at))
            assert live.next_change(bulk, at) == live.next_change(single, at)
        for index, family in enumerate(live.families):
            if family.has_days:
                assert live.days(bulk, index) == live.days(single, index)
            if family.has_occurrences:
                one, other = live.occurrences(bulk, index), live.occurrences(single, index)
                assert sorted(map(repr, one)) == sorted(map(repr, other))
    assert len(states) > 10


def test_some_keys_may_be_taken_at_a_time(engine: DuckDBEngine) -> None:
    clock = Clock(NOWS[0], ZONE)
    some = dict(islice(_every_trait().items(), 0, None, 37))
    live = LiveTraits(compile_traits(some, SCHEMAS), SCHEMAS, ZONE)
    histories = [known(events, clock.now) for events in _histories(3, clock.now, 25)]
    everyone = _bulk(engine, live, histories, clock, "TRUE")
    parts = [_bulk(engine, live, histories, clock, f"token % 2 = {part}") for part in (0, 1)]
    assert all(parts)
    assert parts[0].keys() | parts[1].keys() == everyone.keys()
    assert not parts[0].keys() & parts[1].keys()
