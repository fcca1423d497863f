"""Running the strategies side by side, in groups of customers, on all cores.

A group is a replication: its customers, their luck and what is learned from them are its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from tilltal.demo.shapes import Floats, generator
from tilltal.demo.worth.batch import by_propensity, by_segments, mass_mailing, next_best, weekly
from tilltal.demo.worth.kit import Bureau, bureau, profiles_of
from tilltal.demo.worth.lives import FIGURES, Lives
from tilltal.demo.worth.oracle import oracle
from tilltal.demo.worth.realtime import in_real_time
from tilltal.demo.worth.tally import step
from tilltal.demo.worth.timeline import Happening, timeline
from tilltal.demo.worth.world import World, future, present, world_of
from tilltal.insight.report.worth import WorthView
from tilltal.runtime.answers.snapshot import open_snapshot
from tilltal.runtime.progress import Progress, Silent
from tilltal.workspace.check import usable

GROUP = 300
_MOST_WORKERS = 4  # each holds a chunk of the bank
OWN = "NBA in real time"


class Scene(NamedTuple):
    """A group of customers with their months ahead, and the product that knows them."""

    world: World
    happenings: list[Happening]
    bureau: Bureau


STRATEGIES: dict[str, tuple[str, Callable[[Scene], Lives]]] = {
    "Mass mailing": (
        "one campaign a week to all who consent",
        lambda scene: mass_mailing(scene.world, scene.happenings),
    ),
    "Rule segments": (
        "a campaign per segment, weekly",
        lambda scene: weekly(*scene, by_segments),
    ),
    "Propensity targeting": (
        "the best-scored fifth per model, weekly",
        lambda scene: weekly(*scene, by_propensity),
    ),
    "NBA in batch": (
        "one best action a customer, weekly",
        lambda scene: weekly(*scene, next_best),
    ),
    OWN: (
        "the best action at the customer's moment, learning from each answer",
        lambda scene: in_real_time(*scene),
    ),
    "Oracle": (
        "knows every true probability",
        lambda scene: oracle(scene.world, scene.happenings),
    ),
}


class Trial(msgspec.Struct, frozen=True):
    """What is simulated: the demo bank in a folder as it was made, and for whom how far ahead.

    `customers`, `months` and `seed` are the bank's; `sample` customers are followed for `ahead` months.
    """

    folder: str
    customers: int
    months: int
    seed: int
    sample: int
    ahead: int = 3

    @property
    def groups(self) -> int:
        """How many groups, of about `GROUP` customers each."""
        return max(1, round(self.sample / GROUP))


def measure(trial: Trial, progress: Progress | None = None, workers: int | None = None) -> WorthView:
    """Run all strategies on all groups and compare them.

    Args:
        trial: what is simulated; the folder holds a snapshot.
        progress: told of each strategy in each group.
        workers: processes; one a core, at most four, if None; none at all for 1.

    Raises:
        DataError: E507 if there is no snapshot yet.
    """
    watcher = progress or Silent()
    tasks = [(group, name) for group in range(trial.groups) for name in STRATEGIES]
    watcher.start("what each step is worth", len(tasks))
    found: dict[tuple[int, str], dict[str, Floats]] = {}
    for task, figures in _done(trial, tasks, workers or min(os.cpu_count() or 1, _MOST_WORKERS)):
        found[task] = figures
        watcher.advance()
    return view_of(trial, found)


def view_of(trial: Trial, found: dict[tuple[int, str], dict[str, Floats]]) -> WorthView:
    """Put the groups' figures together, by (group, strategy)."""
    figures = {
        name: {
            figure: np.concatenate([found[group, name][figure] for group in range(trial.groups)])
            for figure in FIGURES
        }
        for name in STRATEGIES
    }
    return WorthView(
        customers=len(figures[OWN]["contacts"]),
        months=trial.ahead,
        steps=tuple(
            step(name, meaning, figures[name], figures[OWN]) for name, (meaning, _) in STRATEGIES.items()
        ),
        own=OWN,
    )


def figures_of(trial: Trial, group: int, name: str) -> dict[str, Floats]:
    """Run one strategy on one group; return its figures by customer."""
    return STRATEGIES[name][1](scene_of(trial, group)).figures


@lru_cache(maxsize=2)
def scene_of(trial: Trial, group: int) -> Scene:
    """Set the scene for a group; who is in it follows from the seed."""
    bank = future(trial.seed, trial.customers, trial.months, trial.ahead)
    here = present(bank)
    with open_snapshot(usable(Path(trial.folder))) as snapshot:
        known = profiles_of(snapshot, bank.people.numbers[here])
        who = here[[int(number) in known for number in bank.people.numbers[here]]]
        drawn = generator(trial.seed, 0, "worth sample").permutation(who)[: trial.sample]
        mine = np.array_split(drawn, trial.groups)[group]
        world = world_of(bank, mine, trial.seed)
        people = [known[int(number)] for number in bank.people.numbers[mine]]
        return Scene(world, timeline(world, trial.seed), bureau(snapshot, people))


def _done(
    trial: Trial, tasks: list[tuple[int, str]], workers: int
) -> Iterator[tuple[tuple[int, str], dict[str, Floats]]]:
    if workers == 1:
        for task in tasks:
            yield task, figures_of(trial, *task)
        return
    with ProcessPoolExecutor(min(workers, len(tasks)), get_context("spawn")) as pool:
        waiting = {pool.submit(figures_of, trial, *task): task for task in tasks}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
