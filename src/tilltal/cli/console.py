"""What the terminal shows: progress, tables, faults; or JSON, where a machine asked."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import TaskID as Task
from rich.table import Table

from tilltal.core.errors import Fault

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_WIDE = 1_000  # columns of a file or a pipe, which have no width

out = Console(
    highlight=False,
    soft_wrap=True,
    markup=False,
    emoji=False,
    width=None if sys.stdout.isatty() else _WIDE,
)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


class Bar:
    """Progress drawn on the error stream, so that results may be piped."""

    def __init__(self, drawing: Progress) -> None:
        self._drawing = drawing
        self._task: Task | None = None

    def start(self, task: str, total: int | None) -> None:
        """Finish the task before, begin the next."""
        self.finish()
        self._task = self._drawing.add_task(task, total=total)

    def advance(self, steps: int = 1) -> None:
        """Move the present task on."""
        if self._task is not None:
            self._drawing.advance(self._task, steps)

    def finish(self) -> None:
        """Mark the present task as done."""
        if self._task is not None:
            self._drawing.update(self._task, total=1, completed=1)
            self._drawing.remove_task(self._task)
            self._task = None


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Bar]:
    """Draw progress while the block runs; on a terminal only."""
    drawing = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=quiet or not err.is_terminal,
    )
    with drawing:
        bar = Bar(drawing)
        yield bar
        bar.finish()


def program() -> str:
    """Return how Tilltal is called: by its name where that finds it, else by the path it was called by."""
    called, found = Path(sys.argv[0]), shutil.which("tilltal")
    if called.name != "tilltal" or (found is not None and called.exists() and called.samefile(found)):
        return "tilltal"
    return shlex.quote(str(called))


def harmless(text: object) -> str:
    r"""Return a text whose control characters are written out, so that data cannot steer the terminal.

    >>> harmless("Kiosk\x1b[2J")
    'Kiosk\\x1b[2J'
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", str(text))


def show_json(value: object) -> None:
    """Print a value as JSON for machines."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value, order="deterministic")).decode() + "\n")


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers to the right."""
    made = [[_cell(value) for value in row] for row in rows]
    raw = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None)
    for index, name in enumerate(columns):
        is_number = all(_is_number(row[index]) for row in made) if made else False
        raw.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    for row in made:
        raw.add_row(*row)
    out.print(raw)


def show_faults(faults: Sequence[Fault], *, as_json: bool) -> None:
    """Print faults, one a line, on the error stream; as JSON on the output."""
    if as_json:
        show_json({"faults": faults})
        return
    for fault in faults:
        err.print(harmless(fault))


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if isinstance(value, float) else harmless(value)


def _is_number(text: str) -> bool:
    return (
        text.replace(",", "").replace(".", "").replace("-", "").replace("e+", "").replace("%", "").isdigit()
        or text == "–"
    )
