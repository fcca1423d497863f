"""Where a workspace's live data lies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tilltal.core.errors import DataError
from tilltal.runtime.storage.store import Store
from tilltal.workspace.workspace import Workspace


def files_of(workspace: Workspace) -> Store:
    """Return the folders of history and snapshots."""
    return Store(Path(workspace.root) / workspace.settings.store.path)


def store_place(workspace: Workspace, environment: Mapping[str, str] = os.environ) -> str:
    """Return where the operational store is: a path or an address.

    Raises:
        DataError: E542 if it names an environment variable that is not set.
    """
    text = workspace.settings.store.operational
    if text.startswith("$"):
        if text[1:] not in environment:
            raise DataError.of(
                "E542",
                f"tilltal.yaml takes `store.operational` from {text}, which is not set.",
                hint="Set it to a path or to postgresql://...",
            )
        text = environment[text[1:]]
    return text if "://" in text else str(Path(workspace.root) / text)
