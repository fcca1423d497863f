"""Which files a workspace has: folder = kind, file = thing, file name = its id."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tilltal.core.errors import Fault, Place, nearest
from tilltal.core.names import is_name
from tilltal.workspace.definitions.actions import Action, Treatment
from tilltal.workspace.definitions.allocation import Allocation
from tilltal.workspace.definitions.base import Definition
from tilltal.workspace.definitions.contact import Contact
from tilltal.workspace.definitions.engagement import EngagementPolicy
from tilltal.workspace.definitions.identity import Identity
from tilltal.workspace.definitions.models import Model
from tilltal.workspace.definitions.policies import Arbitration, Consent, DataUse, Kpis
from tilltal.workspace.definitions.profile import Profile, Trait
from tilltal.workspace.definitions.segments import Audience, Lifecycle, MicroSegments, Personas, Value
from tilltal.workspace.definitions.sending import Sending
from tilltal.workspace.definitions.settings import Settings
from tilltal.workspace.definitions.sources import Source

SETTINGS = "tilltal.yaml"
FILES: dict[str, type[Definition]] = {
    SETTINGS: Settings,
    "identity.yaml": Identity,
    "profile.yaml": Profile,
    "lifecycle.yaml": Lifecycle,
    "value.yaml": Value,
    "personas.yaml": Personas,
    "micro_segments.yaml": MicroSegments,
    "kpis.yaml": Kpis,
    "policies/allocation.yaml": Allocation,
    "policies/arbitration.yaml": Arbitration,
    "policies/consent.yaml": Consent,
    "policies/contact.yaml": Contact,
    "policies/data_use.yaml": DataUse,
    "policies/engagement.yaml": EngagementPolicy,
    "policies/sending.yaml": Sending,
}
FOLDERS: dict[str, type[Definition]] = {
    "sources": Source,
    "traits": Trait,
    "audiences": Audience,
    "models": Model,
}
ACTIONS = "actions"
ACTION_FILE = "action.yaml"
_KNOWN_FOLDERS = (*FOLDERS, ACTIONS, "policies")
_LEFT_ALONE = ("README.md",)


class Found(msgspec.Struct, frozen=True):
    """A definition file: its path within the workspace and the shape it must have."""

    file: str
    definition: type[Definition]


def find(root: Path) -> tuple[list[Found], list[Fault]]:
    """List the definition files of a workspace in a fixed order, and what should not be there.

    The data folders, `cases/`, `.tilltal/` and everything else that is no definition are left alone.
    """
    faults: list[Fault] = []
    found = [*_top(root, faults), *_policies(root, faults)]
    for folder, definition in FOLDERS.items():
        found += [Found(file, definition) for file in _folder(root, folder, faults)]
    found += _actions(root, faults)
    return sorted(found, key=lambda one: one.file), faults


def _top(root: Path, faults: list[Fault]) -> Iterator[Found]:
    top = [name for name in FILES if "/" not in name]
    for entry in _entries(root):
        if entry.name in FILES and entry.is_file():
            yield Found(entry.name, FILES[entry.name])
        elif entry.is_file() and entry.suffix in (".yaml", ".yml"):
            faults.append(_unknown(entry.name, "file", nearest(entry.name, top)))
        elif entry.is_dir() and entry.name not in _KNOWN_FOLDERS:
            # A folder of another name may hold data; only a likely slip of the pen is a fault.
            close = difflib.get_close_matches(entry.name.lower(), _KNOWN_FOLDERS, n=1, cutoff=0.8)
            faults += [_unknown(entry.name, "folder", tuple(close))] if close else []


def _policies(root: Path, faults: list[Fault]) -> Iterator[Found]:
    known = [name.removeprefix("policies/") for name in FILES if name.startswith("policies/")]
    for entry in _entries(root / "policies"):
        file = f"policies/{entry.name}"
        if file in FILES and entry.is_file():
            yield Found(file, FILES[file])
        elif entry.name not in _LEFT_ALONE:
            faults.append(_unknown(file, _what(entry), nearest(entry.name, known)))


def _folder(root: Path, folder: str, faults: list[Fault]) -> Iterator[str]:
    for entry in _entries(root / folder):
        file = f"{folder}/{entry.name}"
        if entry.is_file() and entry.suffix == ".yaml":
            if is_name(entry.stem):
                yield file
            else:
                faults.append(_no_name(file, entry.stem))
        elif entry.name not in _LEFT_ALONE:
            faults.append(_unknown(file, _what(entry), (f"{folder}/<name>.yaml",)))


def _actions(root: Path, faults: list[Fault]) -> Iterator[Found]:
    for entry in _entries(root / ACTIONS):
        folder = f"{ACTIONS}/{entry.name}"
        if not entry.is_dir():
            if entry.name not in _LEFT_ALONE:
                faults.append(_unknown(folder, "file", ("actions/<name>/action.yaml",)))
        elif not is_name(entry.name):
            faults.append(_no_name(folder, entry.name))
        else:
            yield from _action(entry, folder, faults)


def _action(directory: Path, folder: str, faults: list[Fault]) -> Iterator[Found]:
    if not (directory / ACTION_FILE).is_file():
        message = f"The action {directory.name} has no {ACTION_FILE}."
        faults.append(Fault(code="W101", message=message, place=Place(file=folder)))
    for entry in _entries(directory):
        file = f"{folder}/{entry.name}"
        parts = entry.name.removesuffix(".yaml").split(".")
        if entry.name == ACTION_FILE:
            yield Found(file, Action)
        elif entry.name.endswith(".yaml") and len(parts) == 2 and all(is_name(part) for part in parts):
            yield Found(file, Treatment)
        elif entry.name not in _LEFT_ALONE:
            faults.append(_unknown(file, _what(entry), (ACTION_FILE, "<channel>.<language>.yaml")))


def definition_at(file: str) -> type[Definition]:
    """Return the shape of a definition file that a workspace had, by its path.

    Raises:
        ValueError: if a workspace has no such file.
    """
    folder, _, name = file.rpartition("/")
    if file in FILES:
        return FILES[file]
    if folder in FOLDERS:
        return FOLDERS[folder]
    if folder.startswith(f"{ACTIONS}/"):
        return Action if name == ACTION_FILE else Treatment
    raise ValueError(f"a workspace has no {file}")


def treatment_key(file: str) -> tuple[str, str]:
    """Return channel and language of a treatment's file.

    >>> treatment_key("actions/card/email.sv.yaml")
    ('email', 'sv')
    """
    channel, language, _ = file.rsplit("/", 1)[-1].split(".")
    return channel, language


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _what(entry: Path) -> str:
    return "folder" if entry.is_dir() else "file"


def _unknown(file: str, what: str, valid: tuple[str, ...]) -> Fault:
    hint = "The ending is .yaml." if file.endswith(".yml") else ""
    message = f"There is no such {what} in a workspace."
    return Fault(code="W102", message=message, place=Place(file=file), valid=valid, hint=hint)


def _no_name(file: str, name: str) -> Fault:
    message = f"The file's name is its id, and {name!r} is no plain name."
    hint = "Use letters, digits and underscores, not beginning with a digit."
    return Fault(code="W103", message=message, place=Place(file=file), hint=hint)
