"""Where a workspace's live data lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tilltal.core.errors import DataError
from tilltal.customers.live.profile import ProfileProgram
from tilltal.runtime.storage.store import Store
from tilltal.workspace.definitions.identity import Identity
from tilltal.workspace.workspace import Workspace

MADE = "taken over"  # the mark that says by which definitions customers were made


def files_of(workspace: Workspace) -> Store:
    """Return the folders of history and snapshots."""
    return Store(Path(workspace.root) / workspace.settings.store.path)


def store_place(workspace: Workspace, environment: Mapping[str, str] = os.environ) -> str:
    """Return where the operational store is: a path or an address.

    Raises:
        DataError: E542 if it names an environment variable that is not set.
    """
    return place_of(workspace.settings.store.operational, Path(workspace.root), environment)


def place_of(text: str, root: Path, environment: Mapping[str, str]) -> str:
    """Return the place that tilltal.yaml of the workspace in `root` means with a text.

    Raises:
        DataError: E542 if it names an environment variable that is not set.
    """
    if text.startswith("$"):
        if text[1:] not in environment:
            raise DataError.of(
                "E542",
                f"tilltal.yaml takes `store.operational` from {text}, which is not set.",
                hint="Set it to a path or to postgresql://...",
            )
        text = environment[text[1:]]
    return text if "://" in text else str(root / text)


def made_by(program: ProfileProgram, identity: Identity) -> bytes:
    """Return a digest of what customers are made by: what is kept of them, and who is who.

    Corrections and linking are not part of it: they take effect on customers that are there.
    """
    rules = msgspec.structs.replace(identity, corrections=(), linking=None)
    return hashlib.sha256(program.fingerprint.encode() + msgspec.json.encode(rules)).digest()
