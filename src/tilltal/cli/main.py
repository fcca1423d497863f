"""`tilltal`: the commands. Each calls one service of `runtime` and shows what it says.

Exit codes: 0 done; 1 something the user can act on, or a case that failed; 2 faults in definitions; 3 a
source; 4 stored data; 5 engine or disk; 64 a wrong command line; 130 interrupted.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, Protocol, cast

import typer

from tilltal.cli import (
    allocating,
    console,
    customers,
    data,
    definitions,
    demo,
    evaluation,
    explaining,
    keeping,
    linking,
    models,
    replaying,
    server,
    simulating,
)
from tilltal.core.errors import EngineError, Fault, TilltalError

USAGE, INTERRUPTED = 64, 130


def _version(is_asked: bool) -> None:
    if is_asked:
        console.out.print(f"tilltal {version('tilltal')}")
        raise typer.Exit


app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Tilltal turns a bank's mass mailings into a personal dialogue.",
    pretty_exceptions_enable=False,
)


@app.callback()
def _about(
    is_asked: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Nothing of its own: `--version` ends before."""


for module in (
    definitions,
    data,
    linking,
    customers,
    explaining,
    replaying,
    models,
    allocating,
    simulating,
    evaluation,
    demo,
    server,
    keeping,
):
    module.add_to(app)


class _Usage(Protocol):
    """What this module reads of a wrong command line."""

    ctx: typer.Context | None

    def format_message(self) -> str: ...


# The class stands in click, or in a copy of click within typer: only its child is public in both.
_USAGE_ERROR: type[BaseException] = typer.BadParameter.__mro__[1]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; end the process with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    try:
        code = app(given or ["--help"], standalone_mode=False, prog_name="tilltal")
    except TilltalError as error:
        console.show_faults(error.faults, as_json=as_json)
        code = error.exit_code
    except OSError as error:
        fault = Fault(code="E505", message=f"{error.filename or 'A file'}: {error.strerror or error}.")
        console.show_faults([fault], as_json=as_json)
        code = EngineError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except _USAGE_ERROR as error:
        console.show_faults([_usage_fault(cast("_Usage", error))], as_json=as_json)
        code = USAGE
    sys.exit(code if isinstance(code, int) else 0)


def _usage_fault(error: _Usage) -> Fault:
    command = error.ctx.command_path if error.ctx else "tilltal"
    return Fault(code="C104", message=f"{error.format_message().rstrip('.')}.", hint=f"See {command} --help.")
