"""Allocating an outbound run: the snapshot's candidates under the limits of `policies/allocation.yaml`."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tilltal.core.errors import DataError, TilltalError
from tilltal.core.ids import profile_text
from tilltal.core.names import quote
from tilltal.decisions.allocation.allocate import Allocation, allocate
from tilltal.decisions.allocation.candidates import Option, options_of, problem_of, ranking_all, values_of
from tilltal.decisions.allocation.curve import value_curve
from tilltal.decisions.allocation.picture import curves_picture
from tilltal.decisions.allocation.prices import cost_of_last, missed, worth_of_one_more
from tilltal.decisions.allocation.problem import Problem
from tilltal.decisions.arbitration import Context
from tilltal.decisions.batch import input_sql, rank
from tilltal.decisions.plan import DecisionPlan
from tilltal.insight.report.gather.population import knows_worth
from tilltal.runtime.answers.snapshot import Snapshot, open_snapshot, refuse_stale
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.deciding import INPUT, decision_plan, open_input
from tilltal.runtime.storage import disk
from tilltal.workspace.workspace import Workspace

_CHUNK = 200_000
_SHARES = (0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)

Ints = npt.NDArray[np.int64]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a resource is used, and what one more unit is worth, as a number and in words."""

    resource: str
    unit: str
    limit: float
    used: float
    price: float
    words: str


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """A minimum: what was asked, what was reached, what its last contact costs; in words."""

    action: str
    at_least: int
    reached: int
    price: float
    words: str


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """How many customers get an action by a channel, and what that is worth."""

    action: str
    channel: str
    customers: int
    value: float


class Allocated(msgspec.Struct, frozen=True, kw_only=True):
    """An outbound run: what is sent, what it is worth and how near that is to the best possible.

    `value` and `bound` are in `money`: the currency, or `points` where the ranking is not in money. `gap` is
    the share of the bound that may be missing. `file` and `picture` are empty if none was asked.
    """

    as_of: str
    customers: int
    contacts: int
    money: str
    value: float
    bound: float
    gap: float
    usage: tuple[Usage, ...]
    minimums: tuple[Floor, ...]
    mandatory_missed: int
    shares: tuple[Share, ...]
    seconds: float
    file: str = ""
    picture: str = ""


class _Run(msgspec.Struct, frozen=True):
    problem: Problem
    options: tuple[Option, ...]
    profiles: Ints
    made: Allocation


def allocate_outbound(
    workspace: Workspace, context: Context, *, target: Path | None, picture: Path | None, progress: Progress
) -> Allocated:
    """Choose one action at most for every customer of the snapshot in force.

    Args:
        workspace: definitions that passed their check; they may have changed since the snapshot.
        context: what is known of the moment, the same for all.
        target: file for the run (.parquet), or None.
        picture: file for the picture of what capacities are worth (.png), or None.
        progress: told of the steps.

    Raises:
        TilltalError: C103 for a file of another kind.
        DataError: E507 without a snapshot; E514 if it lacks what the actions or households ask for.
    """
    _refuse(target, ".parquet")
    _refuse(picture, ".png")
    started = time.perf_counter()
    with open_snapshot(workspace) as snapshot:
        plan = decision_plan(workspace, snapshot.clock)
        refuse_stale(snapshot, plan)
        open_input(snapshot.engine, workspace, plan, snapshot.clock, "profiles", context=context)
        run = _run(snapshot, plan, context, progress)
        as_of = snapshot.manifest.as_of
    if target:
        _write_run(run, target)
    if picture:
        _write_picture(workspace, run, picture, progress)
    return _told(workspace, run, as_of, time.perf_counter() - started, target, picture)


def _refuse(path: Path | None, ending: str) -> None:
    if path and path.suffix != ending:
        raise TilltalError.of("C103", f"{path} is of no kind that can be written.", valid=(ending,))


def _run(snapshot: Snapshot, plan: DecisionPlan, context: Context, progress: Progress) -> _Run:
    options = options_of(plan)
    profiles, homes = _customers(snapshot)
    values = np.full((len(options), len(profiles)), np.nan, dtype=np.float32)
    everything, engine, clock = ranking_all(plan), snapshot.engine, snapshot.clock
    progress.start("candidates", max(1, -(-len(profiles) // _CHUNK)))
    for start in range(0, len(profiles), _CHUNK):
        piece = profiles[start : start + _CHUNK]
        chosen = f"profile BETWEEN {piece[0]} AND {piece[-1]}"
        table = engine.arrow(input_sql(everything, INPUT, clock, chosen) + " ORDER BY profile")
        values[:, start : start + len(piece)] = values_of(options, rank(everything, table, context))
        progress.advance()
    progress.start("allocation", None)
    problem = problem_of(plan, options, values, snapshot.workspace.allocation, homes)
    return _Run(problem, options, profiles, allocate(problem))


def _customers(snapshot: Snapshot) -> tuple[Ints, Ints | None]:
    """Return all customers in order, and their households by number (negative: none) if these count."""
    households = snapshot.workspace.allocation.households
    if households is None:
        table = snapshot.engine.arrow(f"SELECT profile FROM {INPUT} ORDER BY profile")
        return np.asarray(table.column("profile").to_numpy()), None
    if households.by not in {row[0] for row in snapshot.engine.rows("DESCRIBE profiles")}:
        raise DataError.of(
            "E514",
            f"Households are told by {households.by}, and the snapshot in force was made without.",
            hint="Run `tilltal refresh`.",
        )
    table = snapshot.engine.arrow(
        f"SELECT profile, {quote(households.by)} AS home FROM {INPUT} ORDER BY profile"
    )
    coded = table.column("home").combine_chunks().dictionary_encode().indices.fill_null(-1)
    return np.asarray(table.column("profile").to_numpy()), np.asarray(coded.to_numpy()).astype(np.int64)


def _write_run(run: _Run, target: Path) -> None:
    """Write who gets what, whole or not at all, with profile ids as people see them."""
    who = np.flatnonzero(run.made.choice >= 0)
    choice = run.made.choice[who]
    mandatory = run.problem.mandatory
    table = pa.table(
        {
            "profile": [profile_text(profile) for profile in run.profiles[who].tolist()],
            "action": pa.array([option.action for option in run.options], pa.string()).take(pa.array(choice)),
            "channel": pa.array([option.channel for option in run.options], pa.string()).take(
                pa.array(choice)
            ),
            "value": run.problem.values[who, choice].astype(np.float64),
            "mandatory": np.zeros(len(who), dtype=bool) if mandatory is None else mandatory[choice],
        }
    )
    beside = target.with_name(f".{target.name}.tmp")
    with disk.explained():
        try:
            pq.write_table(table, beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)


def _write_picture(workspace: Workspace, run: _Run, target: Path, progress: Progress) -> None:
    named = [(index, each) for index, each in enumerate(run.problem.resources) if each.limit > 0]
    progress.start("what capacities are worth", len(named))
    curves = {}
    for index, resource in named:
        curves[resource.name] = value_curve(run.problem, run.made, index, _SHARES)
        progress.advance()
    limits = {resource.name: resource.limit for _, resource in named}
    with disk.explained():
        disk.write(target, curves_picture(curves, limits, _money(workspace)))


def _money(workspace: Workspace) -> str:
    return workspace.currency if knows_worth(workspace.arbitration) else "points"


def _told(
    workspace: Workspace, run: _Run, as_of: str, seconds: float, target: Path | None, picture: Path | None
) -> Allocated:
    made = run.made
    return Allocated(
        as_of=as_of,
        customers=len(run.profiles),
        contacts=int((made.choice >= 0).sum()),
        money=_money(workspace),
        value=made.objective,
        bound=made.bound,
        gap=made.gap,
        usage=_usage(workspace, run),
        minimums=_minimums(workspace, run),
        mandatory_missed=made.mandatory_missed,
        shares=_shares(run),
        seconds=seconds,
        file=str(target or ""),
        picture=str(picture or ""),
    )


def _usage(workspace: Workspace, run: _Run) -> tuple[Usage, ...]:
    told = []
    for resource, used, price in zip(
        run.problem.resources, run.made.usage.tolist(), run.made.prices.tolist(), strict=True
    ):
        unit = workspace.allocation.resources[resource.name].unit
        words = worth_of_one_more(resource.name, unit, price, resource.limit, used, _money(workspace))
        told.append(
            Usage(
                resource=resource.name, unit=unit, limit=resource.limit, used=used, price=price, words=words
            )
        )
    return tuple(told)


def _minimums(workspace: Workspace, run: _Run) -> tuple[Floor, ...]:
    made, short = run.made, {each.minimum: each for each in run.made.shortfalls}
    told = []
    for minimum, reached, price in zip(
        run.problem.minimums, made.reached.tolist(), made.minimum_prices.tolist(), strict=True
    ):
        name, asked = minimum.name, minimum.at_least
        words = missed(short[name]) if name in short else cost_of_last(name, price, asked, _money(workspace))
        told.append(Floor(action=name, at_least=asked, reached=reached, price=price, words=words))
    return tuple(told)


def _shares(run: _Run) -> tuple[Share, ...]:
    who = np.flatnonzero(run.made.choice >= 0)
    choice = run.made.choice[who]
    counts = np.bincount(choice, minlength=len(run.options))
    worth = np.bincount(choice, weights=run.problem.values[who, choice], minlength=len(run.options))
    found = [
        Share(action=option.action, channel=option.channel, customers=int(count), value=float(value))
        for option, count, value in zip(run.options, counts, worth, strict=True)
        if count
    ]
    return tuple(sorted(found, key=lambda share: (-share.customers, share.action, share.channel)))
