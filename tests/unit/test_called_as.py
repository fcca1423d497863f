"""Hints name Tilltal so that they can be typed as they stand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tilltal.cli import console


def called_as(monkeypatch: pytest.MonkeyPatch, path: str, folders: str) -> str:
    monkeypatch.setattr(sys, "argv", [path, "demo"])
    monkeypatch.setenv("PATH", folders)
    return console.program()


def test_hints_name_tilltal_as_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "my bin" / "tilltal"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert called_as(monkeypatch, "my bin/tilltal", "/nowhere") == "'my bin/tilltal'"
    assert called_as(monkeypatch, str(program), str(program.parent)) == "tilltal"
    assert called_as(monkeypatch, "/usr/lib/python3/pytest", str(program.parent)) == "tilltal"
