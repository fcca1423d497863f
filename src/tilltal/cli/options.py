"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tilltal.cli import console
from tilltal.core.errors import Fault, TilltalError, nearest
from tilltal.core.time import parse_clock
from tilltal.workspace.workspace import Workspace

Folder = Annotated[Path, typer.Argument(metavar="WORKSPACE", help="Folder of the workspace.")]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for machines.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="Instant to compute for (ISO 8601); else what tilltal.yaml says."),
]
Moment = Annotated[
    list[str] | None, typer.Option("--context", help="What is known of the moment: KEY=VALUE. Repeatable.")
]


def instant(text: str | None, workspace: Workspace, option: str = "--as-of") -> datetime | None:
    """Read `--as-of`, or another option that is an instant.

    Raises:
        TilltalError: C101 if it is no instant.
    """
    if text is None:
        return None
    try:
        return parse_clock(text, workspace.zone)
    except (ValueError, OverflowError) as error:
        raise TilltalError.of(
            "C101",
            f"{option} {text!r} is no instant.",
            hint="Write one such as 2026-05-04T10:00:00+02:00, of the years 1900 to 2199.",
        ) from error


def context(pairs: list[str] | None) -> dict[str, str | int | float | bool]:
    """Read `--context KEY=VALUE`; true, false and numbers are taken as such.

    Raises:
        TilltalError: C102 with every pair that is none.
    """
    faults, found = [], {}
    for pair in pairs or []:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            faults.append(Fault(code="C102", message=f"--context {pair!r} is no KEY=VALUE."))
        else:
            found[key] = _value(value)
    if faults:
        raise TilltalError(*faults)
    return found


def note_unused(known: Iterable[str], workspace: Workspace) -> None:
    """Tell on the error stream of each key of a context that nothing asks for."""
    asked = {rule.key for rule in workspace.arbitration.context_rules} | set(workspace.engagement.context)
    for key in known:
        if key not in asked:
            meant = "".join(f"; did you mean {close!r}?" for close in nearest(key, asked, count=1))
            note = f"note: no context rule or condition uses {key!r}{meant or '.'}"
            console.err.print(console.harmless(note))


def _value(text: str) -> str | int | float | bool:
    if text in ("true", "false"):
        return text == "true"
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
