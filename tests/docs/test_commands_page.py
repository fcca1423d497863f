"""docs/reference/commands.md describes every command with each of its arguments and options, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.commands import parameters

from tilltal.cli.main import INTERRUPTED, USAGE
from tilltal.core.errors import DataError, EngineError, SourceError, TilltalError, WorkspaceError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## `tilltal (.+?)`\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
COMMANDS = parameters()


def test_every_command_has_its_section_and_every_section_its_command() -> None:
    assert len(COMMANDS) >= 14, "the walk over the commands is broken"
    assert set(SECTIONS) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_and_option_is_described(command: str) -> None:
    described = re.findall(r"^\| `([A-Z]+|--[a-z-]+)[^`]*` \|", SECTIONS[command], re.M)
    assert sorted(described) == sorted(COMMANDS[command])


def test_the_examples_call_commands_with_options_they_have() -> None:
    examples = re.findall(r"^tilltal (.+)$", PAGE, re.M)
    assert len(examples) > 5
    for example in examples:
        command = next((name for name in COMMANDS if f"{example} ".startswith(f"{name} ")), None)
        assert command, example
        assert set(re.findall(r"--[a-z-]+", example)) <= set(COMMANDS[command]), example


def test_the_exit_codes_are_those_of_the_errors() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.M)}
    errors = (TilltalError, WorkspaceError, SourceError, DataError, EngineError)
    assert codes == {0, USAGE, INTERRUPTED, *(error.exit_code for error in errors)}
