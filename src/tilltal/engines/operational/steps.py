"""The numbered steps that make a store's tables: forward only, each run once."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal

import msgspec

from tilltal.core.errors import EngineError

Kind = Literal["sqlite", "postgres"]

VERSION_TABLE = "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY)"
VERSION = "SELECT coalesce(max(version), 0) FROM schema_version"


class Step(msgspec.Struct, frozen=True):
    """One step of the schema: its number, which begins its file's name, and its statements."""

    version: int
    script: str

    @property
    def note(self) -> str:
        """The statement that notes this step as done."""
        return f"INSERT INTO schema_version VALUES ({self.version})"


def steps(kind: Kind) -> list[Step]:
    """Return all steps of a kind of store, in order."""
    folder = files("tilltal.engines.operational") / f"{kind}_steps"
    scripts = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    found = [Step(int(file.name[:4]), file.read_text(encoding="utf-8")) for file in scripts]
    return sorted(found, key=lambda step: step.version)


def missing_steps(kind: Kind, version: int, where: str) -> list[Step]:
    """Return the steps that a store at a version still needs.

    Raises:
        EngineError: E532 if a newer Tilltal has been there.
    """
    known = steps(kind)
    latest = known[-1].version
    if version > latest:
        raise EngineError.of(
            "E532",
            f"The operational store {where} has schema version {version}; this Tilltal knows up to {latest}.",
            hint="Run the Tilltal that wrote it, or a newer one. A schema never goes back.",
        )
    return [step for step in known if step.version > version]
