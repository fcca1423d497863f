"""Deciding for the customers of a simulation, in chunks: DuckDB reads one while numpy ranks those before."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec
import numpy as np
import pyarrow as pa

from tilltal.core.names import quote
from tilltal.core.ports import BatchEngine
from tilltal.decisions.arbitration import Context
from tilltal.decisions.batch import input_sql
from tilltal.decisions.batch_exploring import Exploration, explored, is_drawn
from tilltal.decisions.batch_ranking import Ints
from tilltal.decisions.contacting.checks import READINGS
from tilltal.decisions.plan import DecisionPlan
from tilltal.decisions.simulation.experiments import Experiment, drawn, varied
from tilltal.decisions.simulation.observed import Observed, join, observe
from tilltal.rules.clock import Clock
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.deciding import INPUT

PEOPLE = "simulated_people"
_CELLS = 4_000_000  # customers × actions of a chunk: a matrix of it is 32 MB, and ranking holds some fifteen
_LEAST = 1_000
_THREADS = 2
_KEPT = 5_000_000  # propensities kept to find a quantile


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to decide: a plan, and how.

    What is expected is counted with the probabilities as they are stated, or, as a refresh records it, with
    those that were drawn (`is_drawn_counted`).
    """

    plan: DecisionPlan
    clock: Clock
    context: Context
    experiment: Experiment | None
    seed: int
    exploration: Exploration
    is_drawn_counted: bool = False


def open_people(engine: BatchEngine, plan: DecisionPlan, chosen: Ints | None) -> None:
    """Make the table of customers with all that the plan reads; of those chosen, where not of all."""
    present = {row[0] for row in engine.rows("DESCRIBE profiles")}
    names = sorted(plan.names & present - {"profile", "is_known"})
    where = "is_known"
    if chosen is not None:
        engine.register("chosen_people", pa.table({"profile": pa.array(chosen)}))
        where = "is_known AND profile IN (SELECT profile FROM chosen_people)"
    listed = "".join(f", {quote(name)}" for name in names if not name.startswith(READINGS))
    engine.run(
        f"CREATE OR REPLACE TABLE {PEOPLE} AS SELECT profile, is_known{listed} FROM profiles "
        f"WHERE {where} ORDER BY profile"
    )


def decide_people(
    engine: BatchEngine,
    profiles: Ints,
    task: Task,
    progress: Progress,
    *,
    name: str,
    is_sensitivity_asked: bool = True,
) -> Observed:
    """Decide for all customers of `decision_input`.

    Args:
        engine: with the input of `open_input` over `PEOPLE`.
        profiles: (n,) their ids in order.
        task: what to decide.
        progress: told of the chunks.
        name: what the progress calls it.
        is_sensitivity_asked: count the winners that change without each factor; an experiment never does.
    """
    plan = varied(task.plan, task.experiment) if task.experiment else task.plan
    size = max(_CELLS // max(len(plan.actions), 1), _LEAST)
    pieces = [profiles[start : start + size] for start in range(0, max(len(profiles), 1), size)]
    thinning = max(1, -(-len(profiles) * len(plan.actions) // _KEPT))
    asks = is_sensitivity_asked and task.experiment is None
    progress.start(name, len(pieces))
    waiting: deque[Future[Observed]] = deque()
    found: list[Observed] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for number, piece in enumerate(pieces):
            table = engine.arrow(input_sql(plan, INPUT, task.clock, _between(piece)) + " ORDER BY profile")
            waiting.append(pool.submit(_observe, plan, table, task, number, (asks, thinning)))
            if len(waiting) > _THREADS:
                found.append(waiting.popleft().result())
                progress.advance()
        for each in waiting:
            found.append(each.result())
            progress.advance()
    return join(found)


def _between(piece: Ints) -> str:
    return f"profile BETWEEN {piece[0]} AND {piece[-1]}" if len(piece) else "FALSE"


def _observe(
    plan: DecisionPlan, table: pa.Table, task: Task, number: int, wanted: tuple[bool, int]
) -> Observed:
    ranked = None
    if task.experiment and task.experiment.is_drawn:
        ranked = drawn(table, plan, np.random.default_rng((task.seed, number)))
    elif is_drawn(plan):
        ranked = explored(plan, table, task.exploration)
        table = ranked if task.is_drawn_counted else table
    asks, thinning = wanted
    return observe(plan, table, task.context, ranked=ranked, is_sensitivity_asked=asks, thinning=thinning)


def sampled(profiles: Ints, size: int | None, seed: int) -> Ints | None:
    """Return that many customers by chance, in order; None where all are wanted."""
    if size is None or size >= len(profiles):
        return None
    chance = np.random.default_rng(seed)
    return np.sort(chance.choice(profiles, size, replace=False))
