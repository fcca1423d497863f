"""The command line in this process: what each command answers, and which commands there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import typer

from tilltal.cli.main import app, main


class Answer(msgspec.Struct, frozen=True):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output, read as JSON."""
        return msgspec.json.decode(self.out)


class Commands:
    """Runs commands and keeps what they print."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: object) -> Answer:
        """Run a command, its words as arguments."""
        self._capture.readouterr()
        code = run(*arguments)
        return Answer(code, *self._capture.readouterr())


def run(*arguments: object) -> int:
    """Run a command; return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def parameters() -> dict[str, tuple[str, ...]]:
    """Return each command, such as `quarantine list`, with arguments (`TARGET`) and options (`--name`)."""
    return dict(_walk(typer.main.get_command(app), ""))


def _walk(command: Any, path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    children = getattr(command, "commands", {})
    for name, child in children.items():
        yield from _walk(child, f"{path} {name}".strip())
    if not children:
        names = [
            one.opts[0] if one.param_type_name == "option" else one.name.upper() for one in command.params
        ]
        yield path, tuple(names)
