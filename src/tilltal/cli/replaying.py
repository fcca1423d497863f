"""The command that decides again what was decided, and proves it equal."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from tilltal.cli import console
from tilltal.cli.options import Folder, Json, instant
from tilltal.runtime.live.answers.replay import Replayed
from tilltal.runtime.live.answers.replay import replay as replay_logged
from tilltal.workspace.check import usable

_LIMIT = 10_000


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(replay)


def replay(
    workspace: Folder,
    since: Annotated[
        str | None, typer.Option(help="Instant to begin with (ISO 8601); else the first decision.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many decisions at most.")] = _LIMIT,
    everything: Annotated[bool, typer.Option("--all", help="All decisions, however many.")] = False,
    as_json: Json = False,
) -> None:
    """Decide again what the server decided, and compare byte for byte; nothing learns from it."""
    loaded = usable(workspace)
    first = instant(since, loaded, "--since")
    with console.progress(quiet=as_json) as bar:
        found = asyncio.run(replay_logged(loaded, first, None if everything else limit, bar))
    if as_json:
        console.show_json(found)
    else:
        _show(found)
    if not found.is_proved:
        raise typer.Exit(1)


def _show(found: Replayed) -> None:
    for version, lost in found.lost.items():
        told = f"{lost.decisions:,} by the definitions {version[:12]} cannot be decided again: {lost.reason}"
        console.err.print(console.harmless(told))
    if found.differences:
        console.show_table(
            "Decisions that come out otherwise",
            ("decision", "at", "definitions", "where first", "logged", "again"),
            [
                (each.decision, each.at, each.definitions[:12], each.where, each.logged, each.again)
                for each in found.differences
            ],
        )
    more = found.differing - len(found.differences)
    if more:
        console.out.print(f"and {more:,} more")
    console.out.print(
        f"{found.equal:,} of {found.decisions:,} decisions came out the same to the last byte; "
        f"versions of the definitions: {found.definitions}; {found.per_second:,.0f} a second."
    )
