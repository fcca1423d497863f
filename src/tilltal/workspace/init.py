"""Writes a new workspace: a small commented bank with sample data that runs the whole funnel."""

from __future__ import annotations

import json
import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

from tilltal.core.errors import Place, WorkspaceError
from tilltal.core.names import is_name
from tilltal.workspace.layout import SETTINGS
from tilltal.workspace.schemas import FOLDER, write_schemas

_NAME_LINE = "name: mybank\n"  # as the template's settings have it


def init(target: Path, name: str) -> list[Path]:
    """Write the example workspace into a new or empty folder, all of it or nothing.

    Args:
        target: the folder to make.
        name: the workspace's name, written into its settings.

    Returns:
        The files written, sorted.

    Raises:
        WorkspaceError: if the folder holds something already, or cannot be written.
    """
    _refuse_occupied(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
            made = Path(temporary) / "workspace"
            _write(made, name)
            made.rename(target)
    except OSError as error:
        message = f"Cannot write the workspace: {error.strerror or error}."
        raise WorkspaceError.of("W151", message, place=Place(file=str(target))) from error
    return sorted(path for path in target.rglob("*") if path.is_file())


def _refuse_occupied(target: Path) -> None:
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() or target.is_symlink():
        what = "holds files already" if target.is_dir() else "is no folder"
        hint = "Name a new or empty folder."
        raise WorkspaceError.of("W150", f"The target {what}.", place=Place(file=str(target)), hint=hint)


def _write(made: Path, name: str) -> None:
    with as_file(files("tilltal.workspace") / "template") as template:
        shutil.copytree(template, made, ignore=shutil.ignore_patterns("__pycache__"))
    settings = made / SETTINGS
    text = settings.read_text(encoding="utf-8")
    shown = name if is_name(name) else json.dumps(name, ensure_ascii=False)
    settings.write_text(text.replace(_NAME_LINE, f"name: {shown}\n"), encoding="utf-8")
    write_schemas(made / FOLDER)
