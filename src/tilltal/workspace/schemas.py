"""JSON Schemas of all kinds of workspace files: editors complete keys and mark faults as one types."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from tilltal.workspace.definitions.actions import Action, Treatment
from tilltal.workspace.definitions.base import Definition
from tilltal.workspace.definitions.cases import CaseFile
from tilltal.workspace.definitions.models import Model
from tilltal.workspace.definitions.profile import Trait
from tilltal.workspace.definitions.segments import Audience
from tilltal.workspace.definitions.sources import Source
from tilltal.workspace.layout import FILES

FOLDER = ".schemas"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def kinds() -> dict[str, type[Definition]]:
    """Return kind → definition: `trait`, `audience`, `settings`, `arbitration`, ..."""
    single = {Path(file).stem: definition for file, definition in FILES.items()}
    single["settings"] = single.pop("tilltal")
    many: dict[str, type[Definition]] = {
        "source": Source,
        "trait": Trait,
        "audience": Audience,
        "model": Model,
        "action": Action,
        "treatment": Treatment,
        "cases": CaseFile,
    }
    return dict(sorted((single | many).items()))


def schema(definition: type[Definition]) -> dict[str, object]:
    """Return the JSON Schema of one kind of file."""
    made: dict[str, object] = msgspec.json.schema(definition)
    return {"$schema": _DIALECT, **made}


def write_schemas(folder: Path) -> list[Path]:
    """Write `<kind>.schema.json` for every kind into a folder and return the files, sorted.

    A file of a workspace names its schema in its first line:
    `# yaml-language-server: $schema=../.schemas/trait.schema.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind, definition in kinds().items():
        path = folder / f"{kind}.schema.json"
        text = json.dumps(schema(definition), indent=2, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
        written.append(path)
    return written
