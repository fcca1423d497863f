"""What a study of the demo bank found, kept beside the snapshots so that any later report can show it.

A study takes minutes, a report seconds; so its result is kept with the snapshot's day and definitions that it
was made on, and a page about other definitions says that it was made before.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tilltal.core.errors import DataError, Place
from tilltal.insight.report.worth import WorthView
from tilltal.runtime.intake.ingest import store_of
from tilltal.runtime.storage import disk
from tilltal.workspace.workspace import Workspace

FILE = "worth.json"


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """What each step was found to be worth, and on which snapshot.

    Attributes:
        as_of: the snapshot's instant, as its manifest writes it.
        definitions: the hash of what the snapshot was made by.
        worth: what was found.
    """

    as_of: str
    definitions: str
    worth: WorthView


class _Made(msgspec.Struct, frozen=True):
    as_of: str
    definitions: str


def keep_study(workspace: Workspace, worth: WorthView) -> Study:
    """Keep what was found on the snapshot in force; an earlier study is replaced.

    Raises:
        DataError: E507 if there is no snapshot yet.
        EngineError: if the disk refuses; the earlier study, if any, stays.
    """
    store = store_of(workspace)
    with disk.explained():
        manifest = store.current_snapshot() / "manifest.json"
        made = msgspec.json.decode(manifest.read_bytes(), type=_Made)
        study = Study(as_of=made.as_of, definitions=made.definitions, worth=worth)
        disk.write(store.root / FILE, msgspec.json.format(msgspec.json.encode(study)) + b"\n")
    return study


def kept_study(workspace: Workspace) -> Study | None:
    """Return the study that was kept, if any.

    Raises:
        DataError: E515 if its file is damaged.
        EngineError: if it may not be read.
    """
    path: Path = store_of(workspace).root / FILE
    if not path.exists():
        return None
    with disk.explained():
        content = path.read_bytes()
    try:
        return msgspec.json.decode(content, type=Study)
    except msgspec.DecodeError as error:
        raise DataError.of(
            "E515",
            "What a study found cannot be read.",
            place=Place(file=str(path)),
            hint="Run `tilltal demo` again, or remove the file: the report then leaves that section out.",
        ) from error
