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
from tilltal.decisions.allocation.candidates import Option, options_of, problem_of
from tilltal.decisions.allocation.capacities import with_capacities
from tilltal.decisions.allocation.curve import value_curve
from tilltal.decisions.allocation.picture import curves_picture
from tilltal.decisions.allocation.prices import cost_of_last, missed, worth_of_one_more
from tilltal.decisions.allocation.problem import Problem
from tilltal.decisions.arbitration import Context, is_money
from tilltal.decisions.batch import input_sql
from tilltal.decisions.batch_offers import Values, offers
from tilltal.decisions.plan import DecisionPlan
from tilltal.insight.report.gather.population import knows_worth
from tilltal.runtime.answers.snapshot import Snapshot, open_snapshot, refuse_stale
from tilltal.runtime.progress import Progress
from tilltal.runtime.refresh.deciding import INPUT, decision_plan, open_input, timed
from tilltal.runtime.refresh.exploring import read_known
from tilltal.runtime.refresh.sending import open_pace, read_rhythm
from tilltal.runtime.storage import disk
from tilltal.workspace.workspace import Workspace

POINTS = "points"
"""What priorities are in that are no money."""

_CHUNK = 200_000
_SHARES = (0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


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
    """How many customers get an action by a channel, and what that is worth, as of the whole run."""

    action: str
    channel: str
    customers: int
    value: float
    expected: float | None = None


class Allocated(msgspec.Struct, frozen=True, kw_only=True):
    """An outbound run: what is sent, what it is worth and how near that is to the best possible.

    `value`, `bound` and prices are in `money`: the currency, or `points` where the ranking is not in money:
    contexts and levers weigh it, or P or V is off. `expected` is P × V less what contacts cost, in the
    currency; None where the ranking does not use both. `gap` is the share of the bound that may be missing.
    `file` and `picture` are empty if none was asked.
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
    expected: float | None = None
    file: str = ""
    picture: str = ""


class _Run(msgspec.Struct, frozen=True):
    """What was allocated; `expected` is P × V − cost of what each customer gets, if that is known."""

    problem: Problem
    options: tuple[Option, ...]
    profiles: Ints
    made: Allocation
    expected: Floats | None


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
    limits = with_capacities(workspace.allocation, workspace.actions)
    workspace = msgspec.structs.replace(workspace, allocation=limits)
    with open_snapshot(workspace) as snapshot:
        plan = decision_plan(workspace, snapshot.clock)
        refuse_stale(snapshot, plan)
        open_input(
            snapshot.engine,
            workspace,
            plan,
            snapshot.clock,
            "profiles",
            context=context,
            exploration=read_known(plan, snapshot.clock, snapshot.folder),
        )
        run = _run(snapshot, plan, context, progress)
        table = _table(snapshot, plan, run) if target else None
        as_of = snapshot.manifest.as_of
    if target and table is not None:
        _write_run(table, target)
    if picture:
        _write_picture(workspace, run, picture, progress)
    return _told(workspace, run, as_of, time.perf_counter() - started, target, picture)


def _refuse(path: Path | None, ending: str) -> None:
    if path and path.suffix != ending:
        raise TilltalError.of("C103", f"{path} is of no kind that can be written.", valid=(ending,))


def _run(snapshot: Snapshot, plan: DecisionPlan, context: Context, progress: Progress) -> _Run:
    options = options_of(plan)
    profiles, homes = _customers(snapshot)
    asked = tuple((option.number, option.place) for option in options)
    values = np.full((len(options), len(profiles)), np.nan, dtype=np.float32)
    worths = np.zeros((len(plan.actions), len(profiles)), dtype=np.float32)
    engine, clock = snapshot.engine, snapshot.clock
    progress.start("candidates", max(1, -(-len(profiles) // _CHUNK)))
    for start in range(0, len(profiles), _CHUNK):
        piece = profiles[start : start + _CHUNK]
        chosen = f"profile BETWEEN {piece[0]} AND {piece[-1]}"
        query = input_sql(plan, INPUT, clock, chosen, every_channel=True)
        found = offers(plan, engine.arrow(query + " ORDER BY profile"), context, asked)
        values[:, start : start + len(piece)] = found.priorities
        worths[:, start : start + len(piece)] = found.expected
        progress.advance()
    progress.start("allocation", None)
    problem = problem_of(plan, options, values, snapshot.workspace.allocation, homes)
    made = allocate(problem)
    return _Run(problem, options, profiles, made, _expected(plan, options, worths, made))


def _expected(
    plan: DecisionPlan, options: tuple[Option, ...], worths: Values, made: Allocation
) -> Floats | None:
    """Return P × V less the cost of what each customer gets (n,), 0 for who gets nothing."""
    if not knows_worth(plan.arbitration):
        return None
    found, who = np.zeros(len(made.choice)), np.flatnonzero(made.choice >= 0)
    numbers = np.array([option.number for option in options], dtype=np.intp)
    costs = np.array([plan.actions[each.number].channels[each.place].cost for each in options])
    if len(who):
        choice = made.choice[who]
        found[who] = worths[numbers[choice], who] - costs[choice]
    return found


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


def _table(snapshot: Snapshot, plan: DecisionPlan, run: _Run) -> pa.Table:
    """Return who gets what and when it is sent, with profile ids as people see them."""
    who = np.flatnonzero(run.made.choice >= 0)
    choice = run.made.choice[who]
    mandatory = run.problem.mandatory
    table = pa.table(
        {
            "profile": run.profiles[who],
            "action": pa.array([option.action for option in run.options], pa.string()).take(pa.array(choice)),
            "channel": pa.array([option.channel for option in run.options], pa.string()).take(
                pa.array(choice)
            ),
            "value": run.problem.values[who, choice].astype(np.float64),
            "mandatory": np.zeros(len(who), dtype=bool) if mandatory is None else mandatory[choice],
        }
    )
    if run.expected is not None:
        table = table.append_column("expected", pa.array(run.expected[who]))
    engine, clock = snapshot.engine, snapshot.clock
    pace = open_pace(engine, snapshot.workspace, clock, "profiles", read_rhythm(snapshot.folder))
    at, because = timed(engine, plan, clock, pace, table, "TRUE")
    texts = pa.array([profile_text(profile) for profile in run.profiles[who].tolist()], pa.string())
    named = table.set_column(0, "profile", texts)
    return named.append_column("send_at", at).append_column("send_reason", because)


def _write_run(table: pa.Table, target: Path) -> None:
    """Write a run, whole or not at all."""
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
    return workspace.currency if is_money(workspace.arbitration) else POINTS


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
        expected=None if run.expected is None else float(run.expected.sum()),
        file=str(target or ""),
        picture=str(picture or ""),
    )


def _usage(workspace: Workspace, run: _Run) -> tuple[Usage, ...]:
    told = []
    for resource, used, price in zip(
        run.problem.resources, run.made.usage.tolist(), run.made.prices.tolist(), strict=True
    ):
        stated, money = workspace.allocation.resources[resource.name], _money(workspace)
        unit = stated.counted_in(workspace.currency)
        is_spent = stated.is_money and workspace.arbitration.factors.V
        words = worth_of_one_more(resource.name, unit, price, resource.limit, used, money, is_spent=is_spent)
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
    money = run.expected
    expected = (
        [None] * len(counts)
        if money is None
        else np.bincount(choice, weights=money[who], minlength=len(counts)).tolist()
    )
    found = [
        Share(
            action=option.action,
            channel=option.channel,
            customers=int(count),
            value=float(value),
            expected=in_money,
        )
        for option, count, value, in_money in zip(run.options, counts, worth, expected, strict=True)
        if count
    ]
    return tuple(sorted(found, key=lambda share: (-share.customers, share.action, share.channel)))
