"""Commands about definitions: init, check, test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tilltal.cli import console
from tilltal.cli.options import Folder, Json
from tilltal.core.errors import WorkspaceError
from tilltal.runtime.cases.testing import CaseReport, run_cases
from tilltal.workspace.check import check_folder, usable
from tilltal.workspace.init import init as write_example
from tilltal.workspace.names import expanded_traits


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(init)
    app.command()(check)
    app.command("test")(run_tests)


def init(
    target: Annotated[Path, typer.Argument(help="A folder that does not exist yet, or is empty.")],
    name: Annotated[str | None, typer.Option(help="The workspace's name; else the folder's.")] = None,
    as_json: Json = False,
) -> None:
    """Write a small commented workspace to begin with."""
    files = write_example(target, name or target.resolve().name)
    if as_json:
        console.show_json({"files": [str(file) for file in files]})
        return
    console.out.print(f"Wrote {len(files)} files to {target}. Next: {console.program()} check {target}")


def check(workspace: Folder, as_json: Json = False) -> None:
    """Report every fault in the definitions at once: file:line:column code message."""
    faults = check_folder(workspace)
    if faults:
        raise WorkspaceError(*faults)
    loaded = usable(workspace)
    counts = {
        "sources": len(loaded.sources),
        "traits": len(expanded_traits(loaded)),
        "audiences": len(loaded.audiences),
        "models": len(loaded.models),
        "actions": len(loaded.actions),
    }
    if as_json:
        console.show_json({"faults": [], **counts})
        return
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    console.out.print(f"{loaded.settings.name}: no faults. {listed}.")


def run_tests(
    workspace: Folder,
    files: Annotated[list[Path] | None, typer.Argument(help="Case files; else all of cases/.")] = None,
    as_json: Json = False,
) -> None:
    """Run the workspace's own cases: given these events and this instant, expect these segments."""
    report = run_cases(usable(workspace), files or None)
    if as_json:
        console.show_json(report)
    else:
        _show(report)
    if report.failed:
        raise typer.Exit(1)


def _show(report: CaseReport) -> None:
    for case in report.cases:
        console.out.print(f"{'ok  ' if not case.differences else 'DIFF'}  {console.harmless(case.title)}")
        for line in case.differences:
            console.out.print(f"      {console.harmless(line)}")
    console.out.print(f"{len(report.cases)} cases, {report.failed} differ")
