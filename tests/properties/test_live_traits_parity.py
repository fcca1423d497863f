"""Traits kept as state equal those taken from all events, however the events come, split and are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties.test_traits_parity import NOWS, SCHEMAS, ZONE, _event, _every_trait, _traits

from tilltal.core.time import Unit, day_start, local_date
from tilltal.customers.live.traits.buckets import TraitState
from tilltal.customers.live.traits.live_traits import LiveTraits
from tilltal.customers.traits.compiled import CompiledTrait, compile_traits
from tilltal.customers.traits.online import Evaluator, Event
from tilltal.customers.traits.timeline import moments_of
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.profile import Trait

TICK = timedelta(microseconds=1)
CLOCKED = (
    "due < TODAY()",
    "seen <= NOW() AND price > 0",
    "DATE_OF(seen) = TODAY() OR pieces > 1",
    "due IS NULL OR due >= TODAY()",
)


def _typed(values: Mapping[str, object]) -> dict[str, tuple[type, object]]:
    """Keep True, 1 and 1.0 apart."""
    return {name: (type(value), value) for name, value in values.items()}


class Life:
    """One customer whose events come one by one, in several fragments, while time passes."""

    def __init__(self, compiled: Sequence[CompiledTrait], random: Random) -> None:
        self.compiled, self.random = compiled, random
        self.live = LiveTraits(compiled, SCHEMAS, ZONE)
        self.evaluator = Evaluator(compiled, SCHEMAS)
        self.fragments = [self.live.empty() for _ in range(random.choice((1, 1, 2, 3)))]
        self.events: list[Event] = []
        self.read: dict[str, object] = {}
        self.cells = 0

    def add(self, event: Event, clock: Clock) -> None:
        """Add an event to any fragment; what its mask does not name stays the same."""
        number = self.random.randrange(len(self.fragments))
        before = self.live.values(self.whole, clock)
        mask = self.live.add(self.fragments[number], event)
        self.events.append(event)
        changed = self.live.values(self.whole, clock, mask)
        assert _typed({**before, **changed}) == _typed(self.live.values(self.whole, clock))
        if self.random.random() < 0.3:
            self.fragments[number] = self.live.decode(self.live.encode(self.fragments[number]))

    @property
    def whole(self) -> TraitState:
        return self.live.merged(self.fragments)

    def compare(self, now: datetime) -> None:
        """Compare all values with those of all events."""
        clock = Clock(now, ZONE)
        if self.random.random() < 0.3:
            self.live.prune(self.random.choice(self.fragments), clock)
        values = self.live.values(self.whole, clock)
        assert _typed(values) == _typed(self.evaluator.evaluate(self.events, clock)), now
        one = self.random.randrange(len(self.compiled))
        assert self.live.value(self.whole, one, clock) == values[self.compiled[one].name]
        self.cells += len(values)

    def look_ahead(self, now: datetime) -> None:
        """Nothing may change before the state says so."""
        clock = Clock(now, ZONE)
        change = self.live.next_change(self.whole, clock)
        assert change is None or change > now
        known = _typed(self.evaluator.evaluate(self.events, clock))
        until = change or now + timedelta(days=40)
        for probe in self._probes(now, until):
            assert _typed(self.evaluator.evaluate(self.events, Clock(probe, ZONE))) == known, (probe, change)

    def _probes(self, now: datetime, until: datetime) -> list[datetime]:
        """Return some instants before `until` at which a value may change, and the last before it."""
        slow = [trait for trait in self.compiled if trait.unit is Unit.DAYS or trait.measure != "recency"]
        soon = min(until, now + timedelta(seconds=20))
        moments = moments_of(slow, self.events, now, until, ZONE)
        moments |= moments_of(self.compiled, self.events, now, soon, ZONE)
        moments.add(now + (until - now) * self.random.random())
        inside = sorted(moment for moment in moments if moment < until)
        return [*self.random.sample(inside, min(len(inside), 6)), until - TICK]


def _with_clock(traits: Mapping[str, Trait], random: Random) -> dict[str, Trait]:
    """Let some conditions read the clock."""
    return {
        name: msgspec.structs.replace(trait, where=random.choice(CLOCKED))
        if "call" not in trait.from_ and random.random() < 0.3
        else trait
        for name, trait in traits.items()
    }


def live_through(traits: Mapping[str, Trait], seed: int, now: datetime, events: int) -> int:
    """Live through a random history; return the number of cells compared."""
    random = Random(seed)
    life = Life(compile_traits(_with_clock(traits, random), SCHEMAS), random)
    made = [_event(random, now, number) for number in range(events)]
    twins = [
        msgspec.structs.replace(_event(random, now, 500 + number), at=event.at, received=event.received)
        for number, event in enumerate(made)
        if random.random() < 0.3
    ]
    for event in _arrivals([*made, *twins], random):
        due = max(event.at, event.received)
        now = max(now, due) if due < now + timedelta(days=3) else due
        life.add(event, Clock(now, ZONE))
        if random.random() < 0.5:
            life.compare(now)
            life.look_ahead(now)
            now = _later(life, now, random)
            life.compare(now)
    return life.cells


def _arrivals(events: Sequence[Event], random: Random) -> list[Event]:
    """Let events come in any order, and rather by their arrival."""
    return sorted(events, key=lambda event: event.received + timedelta(hours=random.choice((0, 0, 30, 900))))


def _later(life: Life, now: datetime, random: Random) -> datetime:
    """Let time pass: to the next change, just before it, to a midnight or anywhere."""
    change = life.live.next_change(life.whole, Clock(now, ZONE)) or now
    midnight = day_start(local_date(now, ZONE) + timedelta(days=1), ZONE)
    far = now + timedelta(seconds=random.randrange(3 * 86400))
    return random.choice((now, change, max(change - TICK, now), midnight, midnight - TICK, far))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(traits=_traits(), seed=st.integers(0, 10**6), now=st.sampled_from(NOWS))
def test_state_equals_history(traits: dict[str, Trait], seed: int, now: datetime) -> None:
    assert live_through(traits, seed, now, events=6)


@pytest.mark.parametrize("now", NOWS)
def test_every_measure_field_and_window_of_state_equals_history(now: datetime) -> None:
    random = Random(11)
    life = Life(compile_traits(_every_trait(), SCHEMAS), random)
    for number in range(12):
        event = _event(random, now - timedelta(days=1), number)
        if max(event.at, event.received) <= now:
            life.add(event, Clock(now, ZONE))
    life.compare(now)
    life.compare(now + timedelta(hours=30))
    assert life.cells == 2 * len(life.compiled)


@pytest.mark.slow
def test_state_equals_history_in_a_hundred_thousand_cells() -> None:
    cells = 0

    @settings(max_examples=1500, deadline=None)
    @given(traits=_traits(), seed=st.integers(0, 10**9), now=st.sampled_from(NOWS))
    def many(traits: dict[str, Trait], seed: int, now: datetime) -> None:
        nonlocal cells
        cells += live_through(traits, seed, now, events=12)

    many()
    assert cells >= 100_000
