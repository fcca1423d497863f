"""Commands about what definitions would do: plan, simulate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tilltal.cli import console
from tilltal.cli.options import Folder, Json, Moment, context, note_unused
from tilltal.decisions.simulation.fairness import MARGIN, Lean, RateRatio
from tilltal.decisions.simulation.mix import Move, SegmentChange
from tilltal.insight.simulation.data import Findings, Simulation
from tilltal.runtime.answers.simulation.planning import Plan
from tilltal.runtime.answers.simulation.planning import plan as run_plan
from tilltal.runtime.answers.simulation.scenarios import scenarios_of
from tilltal.runtime.answers.simulation.simulate import Request
from tilltal.runtime.answers.simulation.simulate import simulate as run
from tilltal.workspace.check import usable

_ROWS = 12


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(plan)
    app.command()(simulate)


def plan(workspace: Folder, moment: Moment = None, as_json: Json = False) -> None:
    """Show what today's definitions would change against the last refresh, before they count."""
    loaded = usable(workspace)
    known = context(moment)
    note_unused(known, loaded)
    with console.progress(quiet=as_json) as bar:
        made = run_plan(loaded, known, bar)
    if as_json:
        console.show_json(made)
    else:
        show_plan(made)


def show_plan(made: Plan) -> None:
    """Print audiences, actions and segments before and after; what stays as it is only as a number."""
    if made.is_same:
        console.out.print("The definitions are those of the last refresh.")
    changed = [one for one in made.audiences if one.before != one.after or one.entered or one.left]
    if changed:
        console.show_table(
            "Audiences",
            ("audience", "before", "after", "enter", "leave"),
            [(one.audience, one.before, one.after, one.entered, one.left) for one in changed],
        )
    console.out.print(f"{len(made.audiences) - len(changed)} audiences stay as they are.")
    actions = [one for one in made.actions if one.gained or one.lost]
    if actions:
        console.show_table(
            "\nFirst actions",
            ("action", "before", "after", "gained", "lost"),
            [(one.action, one.before, one.after, one.gained, one.lost) for one in actions],
        )
    console.out.print(f"{len(made.actions) - len(actions)} actions keep their customers.")
    _show_segments("Who gains and who loses", made.segments, made.money)
    _show_moves(made.moves)
    before, after = made.before, made.after
    console.out.print(
        f"\n{after.reached:,} of {after.customers:,} customers have an action (before: {before.reached:,}); "
        f"{after.contacts:,} contacts ({after.contacts - before.contacts:+,}), worth {after.expected:,.0f} "
        f"{made.money} ({after.expected - before.expected:+,.0f}). As of {made.as_of}. {made.seconds:.1f} s."
    )


def simulate(
    workspace: Folder,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=SOURCE of other definitions: a folder, a commit, or a .patch file. Repeatable."
        ),
    ] = None,
    experiments: Annotated[
        bool, typer.Option("--experiments", help="Add what each part of the decision is worth.")
    ] = False,
    sample: Annotated[
        int | None, typer.Option(help="So many customers, chosen by chance; else all.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of whatever is left to chance.", min=0)] = 1,
    by: Annotated[
        list[str] | None, typer.Option(help="Trait or audience to sum by, beside the segments. Repeatable.")
    ] = None,
    fair: Annotated[
        list[str] | None, typer.Option(help="Trait that must not matter: fairness is shown. Repeatable.")
    ] = None,
    margin: Annotated[
        float, typer.Option(help="How far from parity a fair ratio may be, 0 to 1.", min=0, max=0.99)
    ] = MARGIN,
    threshold: Annotated[
        float | None,
        typer.Option(help="Propensity below which an action is improbable; else the 5 % quantile.", min=0),
    ] = None,
    moment: Moment = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for a page, JSON, and who gets what (Parquet).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Decide for the customers of the last refresh under several definitions, side by side."""
    loaded = usable(workspace)
    known = context(moment)
    note_unused(known, loaded)
    request = Request(
        scenarios=scenarios_of(loaded, scenario or (), with_experiments=experiments),
        context=known,
        sample=sample,
        seed=seed,
        by=tuple(by or ()),
        fair=tuple(fair or ()),
        margin=margin,
        threshold=threshold,
        target=out,
    )
    with console.progress(quiet=as_json) as bar:
        made = run(request, bar)
    if as_json:
        console.show_json(made)
    else:
        show_simulation(made)


def show_simulation(made: Simulation) -> None:
    """Print the scenarios side by side, then what each changes."""
    part = "" if made.customers == made.known else f" of {made.known:,}"
    console.show_table(
        f"{made.customers:,}{part} customers as of {made.as_of}",
        ("scenario", "reached", "contacts", f"expected, {made.money}", "a contact", "under-served", "unfair"),
        [_overview(each) for each in made.scenarios],
    )
    _show_actions(made)
    _show_experiments(made)
    for each in made.scenarios[1:]:
        if not each.is_experiment:
            _show_segments(f"{each.name} ({each.words}) beside the first", each.changes, made.money)
            _show_moves(each.moves)
    _show_first(made.scenarios[0])
    for each in made.scenarios:
        _show_fairness(each, made.margin)
    console.out.print(f"\n{made.seconds:.1f} s.")
    for path in made.files:
        console.out.print(f"Wrote {path}")


def _overview(each: Findings) -> tuple[object, ...]:
    totals = each.totals
    return (
        each.name,
        totals.reached,
        totals.contacts,
        round(totals.expected),
        totals.expected / totals.contacts if totals.contacts else None,
        f"{100 * each.value_finder.share:.1f} %",
        len(each.flagged),
    )


def _show_actions(made: Simulation) -> None:
    first = {each.name: {one.action: one.first for one in each.actions} for each in made.scenarios}
    order = dict.fromkeys(one.action for each in made.scenarios for one in each.actions)
    console.show_table(
        "\nFirst actions",
        ("action", *first),
        [(action, *(counts.get(action) for counts in first.values())) for action in order],
    )


def _show_experiments(made: Simulation) -> None:
    rows = [
        (one.name, one.words, change.changed, change.gained, change.lost, change.contacts, change.expected)
        for one in made.scenarios
        if one.is_experiment and (change := one.overall)
    ]
    if rows:
        console.show_table(
            "\nExperiments beside the first",
            (
                "experiment",
                "what",
                "other action",
                "gain one",
                "lose all",
                "contacts",
                f"expected, {made.money}",
            ),
            [(*row[:5], f"{row[5]:+,}", f"{row[6]:+,.0f}") for row in rows],
        )


def _show_segments(title: str, changes: Sequence[SegmentChange], money: str) -> None:
    """Print the groups in which something changes."""
    rows = [
        (
            change.trait,
            change.group,
            change.customers,
            change.gained,
            change.lost,
            change.changed,
            f"{change.contacts:+,}",
            f"{change.expected:+,.0f}",
        )
        for change in changes
        if change.gained or change.lost or change.changed or change.contacts
    ]
    if rows:
        console.show_table(
            f"\n{title}",
            ("by", "group", "customers", "gain one", "lose all", "other", "contacts", f"expected, {money}"),
            rows,
        )


def _show_moves(moves: Sequence[Move]) -> None:
    moved = [move for move in moves if move.before != move.after][:_ROWS]
    if moved:
        console.show_table(
            "\nThe most common changes of the first action",
            ("from", "to", "customers"),
            [(move.before or "(nothing)", move.after or "(nothing)", move.customers) for move in moved],
        )


def _show_first(first: Findings) -> None:
    console.show_table(
        "\nSensitivity: winners that change when a factor is 1 for all",
        ("factor", "changed", "of", "share"),
        [
            (each.factor, each.changed, each.winners, f"{100 * each.share:.1f} %")
            for each in first.sensitivity
        ],
    )
    if first.beats:
        console.show_table(
            "\nWho beats whom",
            ("first", "behind", "customers"),
            [(beat.winner, beat.loser, beat.customers) for beat in first.beats[:_ROWS]],
        )
    finder = first.value_finder
    console.out.print(
        f"\nNothing left for {finder.without:,}, only what is less probable than {finder.threshold:.3g} "
        f"for {finder.improbable:,} of {finder.customers:,} customers."
    )
    if finder.niches:
        console.show_table(
            "Where they are: conditions that can be audiences",
            ("condition", "customers", "under-served", "share"),
            [
                (each.condition, each.customers, each.under_served, f"{100 * each.share:.0f} %")
                for each in finder.niches
            ],
        )


def _show_fairness(each: Findings, margin: float) -> None:
    if each.is_experiment or not (each.ratios or each.leans):
        return
    shown: list[tuple[RateRatio | Lean, str, float | None]] = [
        *((one, one.group, one.ratio) for one in each.ratios),
        *((one, "Gini", one.gini) for one in each.leans),
    ]
    rows = [
        (one.trait, what, one.action or "(any)", one.customers, value, one.low, one.high, one.is_flagged)
        for one, what, value in shown
        if not one.action or one.is_flagged
    ]
    console.show_table(
        f"\nFairness of {each.name}: chosen against all others, 95 % intervals; flagged beyond {margin:g}",
        ("trait", "group", "action", "customers", "ratio", "from", "to", "flagged"),
        rows,
    )
