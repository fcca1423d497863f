"""The command about outbound runs under limits: `tilltal allocate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tilltal.cli import console
from tilltal.cli.options import Folder, Json, Moment, context, note_unused
from tilltal.runtime.answers.allocate import POINTS, Allocated, allocate_outbound
from tilltal.workspace.check import usable


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(allocate)


def allocate(
    workspace: Folder,
    moment: Moment = None,
    output: Annotated[
        Path | None,
        typer.Option(help="File for the run (.parquet): profile, action, channel, value, expected."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="File for a picture (.png): what more or less of a capacity is worth.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Choose one action per customer under the limits of policies/allocation.yaml."""
    loaded = usable(workspace)
    known = context(moment)
    note_unused(known, loaded)
    with console.progress(quiet=as_json) as bar:
        made = allocate_outbound(loaded, known, target=output, picture=picture, progress=bar)
    if as_json:
        console.show_json(made)
    else:
        show_allocated(made, loaded.currency)


def show_allocated(made: Allocated, currency: str) -> None:
    """Print who gets what, what is used, and what more would be worth."""
    console.show_table(
        f"Outbound as of {made.as_of}",
        ("action", "channel", "customers", f"value, {made.money}"),
        [(share.action, share.channel, share.customers, round(share.value)) for share in made.shares],
    )
    console.out.print(
        f"\n{made.contacts:,} of {made.customers:,} customers get an action, worth {made.value:,.0f} "
        f"{made.money} together; no other choice within the limits is worth {100 * made.gap:.3f} % more. "
        f"{made.seconds:.1f} s."
    )
    if made.expected is not None and made.money == POINTS:
        console.out.print(
            f"Expected are {made.expected:,.0f} {currency}: P × V less what contacts cost, "
            "without what contexts and levers add."
        )
    if made.usage:
        console.show_table(
            "\nLimits",
            ("resource", "unit", "limit", "used", "used %", f"one more, {made.money}"),
            [
                (
                    each.resource,
                    each.unit,
                    each.limit,
                    each.used,
                    f"{100 * each.used / each.limit:.1f} %" if each.limit else None,
                    each.price,
                )
                for each in made.usage
            ],
        )
    for words in (*(each.words for each in made.usage), *(each.words for each in made.minimums)):
        console.out.print(console.harmless(words))
    if made.mandatory_missed:
        console.out.print(f"{made.mandatory_missed:,} customers have a mandatory action that found no room.")
    for path in (made.file, made.picture):
        if path:
            console.out.print(f"Wrote {path}")
