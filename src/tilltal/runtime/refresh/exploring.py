"""What a batch explores with: read of the operational store in a refresh, kept with the snapshot.

So whoever decides on a snapshot later, `tilltal explain` or a simulation, knows what the refresh knew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tilltal.core.instants import micros
from tilltal.decisions.batch_exploring import Exploration, belief_of, learning
from tilltal.decisions.live.decider import LiveDecider
from tilltal.decisions.plan import DecisionPlan
from tilltal.engines.operational.opening import open_store
from tilltal.rules.clock import Clock
from tilltal.runtime.live.answers.teams import state_name, teams_of
from tilltal.runtime.live.places import store_place
from tilltal.workspace.workspace import Workspace

FILE = "exploration.json"
Counts = tuple[float, float]  # answers of yes, of no


def explores(plan: DecisionPlan) -> bool:
    """True if what is known of actions that learn decides anything in batch."""
    policy = plan.arbitration.exploration
    return (policy.method != "none" or policy.opening) and bool(learning(plan))


class _Kept(msgspec.Struct, frozen=True):
    """What is kept: the seed, and by `action/channel` the answers of yes and of no."""

    seed: str
    counts: dict[str, Counts]


def known_so_far(workspace: Workspace, plan: DecisionPlan, clock: Clock) -> Exploration:
    """Return what the answers so far say of each pair that learns, with a seed of definitions and instant.

    Raises:
        EngineError: if there is an operational store, and it cannot be opened.
    """
    seed = f"{workspace.content_hash}/{clock.now.isoformat()}"
    if not explores(plan):
        return Exploration(seed, {})
    stored = asyncio.run(_stored(store_place(workspace)))
    at = micros(clock.now)
    teams = teams_of(LiveDecider(plan), stored, at, set())
    return _exploration(plan, seed, {state_name(pair): team.known(at) for pair, team in teams.items()})


def read_known(plan: DecisionPlan, clock: Clock, folder: Path) -> Exploration:
    """Return what a refresh knew and its seed, so that other definitions meet the same luck.

    Of a pair that was not there then, what its definition states is all that is known.
    """
    path = folder / FILE
    kept = _Kept(clock.now.isoformat(), {})
    if path.exists():
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
    return _exploration(plan, kept.seed, kept.counts)


def write_known(exploration: Exploration, folder: Path) -> None:
    """Keep a seed and what is known of each pair; nothing where nothing explores."""
    counts = {
        state_name(pair): (belief.positives, belief.negatives) for pair, belief in exploration.beliefs.items()
    }
    if counts:
        kept = _Kept(exploration.seed, counts)
        (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")


def _exploration(plan: DecisionPlan, seed: str, counts: Mapping[str, Counts]) -> Exploration:
    known = {
        pair: belief_of(learned, *counts.get(state_name(pair), (0.0, 0.0)))
        for pair, learned in learning(plan).items()
    }
    return Exploration(seed, known)


async def _stored(place: str) -> dict[str, bytes]:
    if "://" not in place and not Path(place).exists():  # nothing was ever served
        return {}
    store = await open_store(place)
    try:
        return await store.adaptive()
    finally:
        await store.close()
