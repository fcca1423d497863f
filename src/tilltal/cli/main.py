"""`tilltal`: the commands. Each calls one service of `runtime` and shows what it says.

Exit codes: 0 done; 1 something the user can act on, or a case that failed; 2 faults in definitions; 3 a
source; 4 stored data; 5 engine or disk; 64 a wrong command line; 130 interrupted.
"""

from __future__ import annotations

import sys

import click
import typer

from tilltal.cli import console, customers, data, definitions, demo
from tilltal.core.errors import EngineError, Fault, TilltalError

USAGE, INTERRUPTED = 64, 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Tilltal turns a bank's mass mailings into a personal dialogue.",
    pretty_exceptions_enable=False,
)
for module in (definitions, data, customers, demo):
    module.add_to(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; end the process with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    try:
        code = app(given, standalone_mode=False, prog_name="tilltal")
    except TilltalError as error:
        console.show_faults(error.faults, as_json=as_json)
        code = error.exit_code
    except OSError as error:
        fault = Fault(code="E505", message=f"{error.filename or 'A file'}: {error.strerror or error}.")
        console.show_faults([fault], as_json=as_json)
        code = EngineError.exit_code
    except click.exceptions.Abort:
        code = INTERRUPTED
    except KeyboardInterrupt:
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = USAGE
    sys.exit(code if isinstance(code, int) else 0)
