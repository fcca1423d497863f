"""Live profiles are what a refresh as of the same instant finds, and change when its findings do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from random import Random

import msgspec
import pytest
from tests.live_bank import ZONE, Arrival, Handover, History, World, instant, live_workspace, random_world

from tilltal.customers.audiences import PREFIX
from tilltal.customers.live.profile import Moved, ProfileProgram, ProfileState, Reference
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.profile import Trait
from tilltal.workspace.definitions.segments import Audience
from tilltal.workspace.workspace import Workspace

TICK = timedelta(microseconds=1)
SPRING = instant(2026, 3, 27)  # clocks go forward on the 29th
AUTUMN = instant(2026, 10, 23)  # and back on the 25th


class LiveBank:
    """A world as a server lives through it: states are bytes between two touches."""

    def __init__(self, program: ProfileProgram, world: World) -> None:
        self.program, self._world = program, world
        self.moved: dict[int, list[Moved]] = {profile: [] for profile in world.profiles}
        self._owners = dict(world.owners)
        new = program.encode(program.new())
        self._states = dict.fromkeys(world.profiles, new)
        for profile in world.profiles:
            self._touch(profile, world.start)

    def run(self, steps: list[Arrival | Handover | datetime]) -> Iterator[datetime]:
        """Live through steps in order of time; stop at each probe, which is an instant among the steps."""
        for step in steps:
            if isinstance(step, Arrival):
                self._arrive(step)
            elif isinstance(step, Handover):
                self._hand_over(step)
            else:
                yield step

    def finish(self) -> None:
        """Bring everybody to the end."""
        for profile in self._states:
            self._touch(profile, self._world.end)

    def values(self, profile: int, at: datetime) -> dict[str, object]:
        """Return all names of a profile as of an instant."""
        return self.program.values(self._state(profile), Clock(at, ZONE))

    def audiences_at(self, profile: int, at: datetime) -> frozenset[str]:
        """Return the audiences that held a profile as of an instant, as its entries and exits tell."""
        held: set[str] = set()
        for moved in self.moved[profile]:
            if moved.at <= at:
                assert not held & set(moved.entered), "who is in does not enter"
                assert held >= set(moved.left), "who is out does not leave"
                held |= set(moved.entered)
                held -= set(moved.left)
        return frozenset(held)

    def stage_at(self, profile: int, at: datetime) -> str | None:
        """Return the stage of a profile as of an instant, as its transitions tell."""
        stages = [moved.stage[1] for moved in self.moved[profile] if moved.stage and moved.at <= at]
        return (stages[-1] or None) if stages else None

    def _arrive(self, arrival: Arrival) -> None:
        at, profile = arrival.fact.received, self._owners[arrival.token]
        state, clock = self._state(profile), Clock(at, ZONE)
        self.program.add(state, arrival.token, arrival.fact, clock)
        self._keep(profile, state, at)

    def _hand_over(self, step: Handover) -> None:
        before = self._owners[step.token]
        if before == step.profile:
            return
        self._touch(before, step.at - TICK)
        self._touch(step.profile, step.at - TICK)
        giver, taker = self._state(before), self._state(step.profile)
        fragment = self.program.take(giver, step.token)
        if fragment is not None:
            self.program.give(taker, step.token, fragment)
        self._owners[step.token] = step.profile
        self._keep(before, giver, step.at)
        self._keep(step.profile, taker, step.at)

    def _state(self, profile: int) -> ProfileState:
        return self.program.decode(self._states[profile])

    def _touch(self, profile: int, at: datetime) -> None:
        self._keep(profile, self._state(profile), at)

    def _keep(self, profile: int, state: ProfileState, at: datetime) -> None:
        state.is_known = profile in self._world.known_at(at)
        self.moved[profile] += self.program.advance(state, Clock(at, ZONE))
        self._states[profile] = self.program.encode(state)


def _steps(world: World, probes: list[datetime]) -> list[Arrival | Handover | datetime]:
    def when(step: Arrival | Handover | datetime) -> tuple[datetime, int]:
        if isinstance(step, Arrival):
            return step.fact.received, 1
        return (step.at, 0) if isinstance(step, Handover) else (step, 2)

    arrivals = [arrival for arrival in world.arrivals if arrival.fact.received <= world.end]
    return sorted([*arrivals, *world.handovers, *probes], key=when)


def _is_same(live: object, batch: object) -> bool:
    if isinstance(live, float | int) and isinstance(batch, float | int) and type(live) is not bool:
        return type(batch) is not bool and math.isclose(live, batch, rel_tol=1e-9, abs_tol=1e-9)
    return type(live) is type(batch) and live == batch


def _differences(live: Mapping[str, object], batch: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    assert live.keys() <= batch.keys()
    return {name: (live[name], batch[name]) for name in live if not _is_same(live[name], batch[name])}


def _check(
    workspace: Workspace,
    start: datetime,
    seed: int,
    *,
    days: int,
    profiles: int,
    probes: int,
    facts: int = 12,
) -> int:
    """Live through a random world and compare with DuckDB; return how many cells were compared."""
    random = Random(seed)
    world = random_world(seed, start, days=days, profiles=profiles, facts=facts)
    bank = LiveBank(ProfileProgram(workspace, Reference()), world)
    stops = [start + timedelta(seconds=random.randrange(3600, days * 86400)) for _ in range(probes)]
    history = History(workspace, world)
    try:
        cells = 0
        for at in bank.run(_steps(world, stops)):
            for profile, row in history.profiles(at).items():
                live = bank.values(profile, at)
                assert _differences(live, row) == {}, (seed, profile, at)
                cells += len(live)
        bank.finish()
        return cells + _check_moves(bank, world, history, random, probes)
    finally:
        history.close()


def _check_moves(bank: LiveBank, world: World, history: History, random: Random, probes: int) -> int:
    """Compare memberships and stages at the instants of some moves, and just before, for everybody."""
    instants = sorted(
        {moved.at for moves in bank.moved.values() for moved in moves if moved.at > world.start}
    )
    chosen = random.sample(instants, min(probes, len(instants)))
    cells = 0
    for at in [moment for move in chosen for moment in (move - TICK, move)]:
        for profile, row in history.profiles(at).items():
            batch = {name for name in bank.program.audience_names if row[PREFIX + name] is True}
            assert bank.audiences_at(profile, at) ^ batch == set(), (profile, at)
            assert bank.stage_at(profile, at) == row["lifecycle.stage"], (profile, at)
            cells += len(bank.program.audience_names) + 1
    return cells


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return live_workspace(tmp_path_factory.mktemp("livebank"))


@pytest.fixture(scope="module")
def quiet(workspace: Workspace) -> Workspace:
    """The bank with those audiences alone that no expression wakes every day."""
    names = ("rich", "busy", "bargain", "curious", "royal")
    return msgspec.structs.replace(workspace, audiences={name: workspace.audiences[name] for name in names})


def test_days_leave_their_windows_though_nobody_looks_every_day(quiet: Workspace) -> None:
    assert _check(quiet, SPRING, 301, days=4, profiles=20, probes=3) > 500


@pytest.mark.parametrize(
    "condition",
    [
        "NOW() >= TIMESTAMP '2026-03-28 12:30:00'",
        "NOW() > TIMESTAMP '2026-03-29 02:30:00'",  # which summer time skips
        "YEARS_BETWEEN(TODAY(), last_due) < 0",
    ],
)
def test_the_clock_turns_an_audience_on_time(workspace: Workspace, condition: str) -> None:
    audiences = {"turning": Audience(condition=condition)}
    turning = msgspec.structs.replace(workspace, audiences=audiences, traits=_without_audiences(workspace))
    assert _check(turning, SPRING, 7, days=4, profiles=8, probes=12) > 500


def _without_audiences(workspace: Workspace) -> dict[str, Trait]:
    return {
        name: trait for name, trait in workspace.traits.items() if "audience." not in (trait.expression or "")
    }


@pytest.mark.parametrize("start", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_live_values_and_moves_are_those_of_a_refresh(workspace: Workspace, start: datetime) -> None:
    assert _check(workspace, start, 1, days=4, profiles=8, probes=1) > 500


@pytest.mark.slow
def test_a_hundred_thousand_cells(workspace: Workspace) -> None:
    cells = 0
    seed = 100
    while cells < 100_000:
        seed += 1
        start = (SPRING, AUTUMN)[seed % 2]
        cells += _check(workspace, start, seed, days=4, profiles=60, probes=6, facts=4 + seed % 20)
    assert cells >= 100_000
