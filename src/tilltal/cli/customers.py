"""Commands about customers: decide, kpis, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tilltal.cli import console
from tilltal.cli.options import Folder, Json, Moment, context, note_unused
from tilltal.runtime.answers.decide import Decisions, decide_anew
from tilltal.runtime.answers.kpis import read_kpis
from tilltal.runtime.answers.report import write_report
from tilltal.workspace.check import usable


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (decide, kpis, report):
        app.command()(command)


def decide(
    workspace: Folder,
    moment: Moment = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Actions per customer.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="File for the decisions: .parquet, .csv, .jsonl.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank the actions of every customer in the snapshot in force."""
    loaded = usable(workspace)
    known = context(moment)
    note_unused(known, loaded)
    with console.progress(quiet=as_json) as bar:
        made = decide_anew(loaded, known, slots=slots, target=output, progress=bar)
    if as_json:
        console.show_json(made)
    else:
        show_decisions(made, loaded.currency)


def kpis(
    workspace: Folder,
    kpi: Annotated[list[str] | None, typer.Option(help="Only these. Repeatable.")] = None,
    by: Annotated[
        str, typer.Option(help="A dimension such as lifecycle.stage; `all` for the whole bank.")
    ] = "all",
    last: Annotated[int, typer.Option(min=1, help="So many latest periods.")] = 4,
    as_json: Json = False,
) -> None:
    """Show the key figures per period and segment."""
    table = read_kpis(usable(workspace), kpi or None, by, last)
    if as_json:
        console.show_json(table)
        return
    is_whole = by == "all"
    heads = ("key figure", *(() if is_whole else ("segment",)), *(period[:7] for period in table.periods))
    rows = [
        (line.kpi, *(() if is_whole else (line.segment,)), *(_figure(line.kpi, each) for each in line.values))
        for line in table.lines
    ]
    console.show_table(f"Key figures by {by}", heads, rows)


def _figure(kpi: str, value: float | None) -> str | None:
    """Write a key figure for people: rates in per cent, counts and money in whole numbers."""
    if value is None:
        return None
    if kpi.endswith("_rate"):
        return f"{100 * value:.1f} %"
    return f"{value:,.1f}" if kpi == "duration" else f"{value:,.0f}"


def report(
    workspace: Folder,
    output: Annotated[
        Path | None, typer.Option(help="File to write; else report.html in the workspace.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page about the snapshot in force."""
    path = write_report(usable(workspace), output)
    if as_json:
        console.show_json({"file": str(path)})
    else:
        console.out.print(f"Wrote {path}")


def show_decisions(made: Decisions, currency: str) -> None:
    """Print how often each action is a customer's first."""
    console.show_table(
        f"Next best actions as of {made.as_of}",
        ("action", "title", "customers", "mean P", f"expected {currency}"),
        [
            (
                each.action,
                each.title,
                each.customers,
                f"{each.mean_propensity:.3f}",
                round(each.expected_value),
            )
            for each in made.first_actions
        ],
    )
    console.out.print(f"{made.with_action:,} of {made.customers:,} customers have a next best action.")
    if made.file:
        console.out.print(f"Wrote {made.file}")
