"""Reads a workspace folder: finds its files, parses and shapes them, and reports every fault at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from tilltal.core.errors import Fault, Place, WorkspaceError
from tilltal.workspace import layout
from tilltal.workspace.definitions.actions import Action, Treatment
from tilltal.workspace.definitions.allocation import Allocation
from tilltal.workspace.definitions.base import Definition
from tilltal.workspace.definitions.contact import Contact
from tilltal.workspace.definitions.engagement import EngagementPolicy
from tilltal.workspace.definitions.identity import Identity, Namespace
from tilltal.workspace.definitions.models import Model
from tilltal.workspace.definitions.policies import Arbitration, Consent, DataUse, Kpis, Purpose
from tilltal.workspace.definitions.profile import Profile, Trait
from tilltal.workspace.definitions.segments import Audience, Lifecycle, MicroSegments, Personas, Value
from tilltal.workspace.definitions.sending import Sending
from tilltal.workspace.definitions.settings import Settings
from tilltal.workspace.definitions.sources import Source
from tilltal.workspace.document import Document
from tilltal.workspace.shape import shape
from tilltal.workspace.workspace import Workspace
from tilltal.workspace.yaml_tree import MAX_BYTES, parse

D = TypeVar("D", bound=Definition)


def load(root: Path) -> Workspace:
    """Read a workspace.

    Raises:
        WorkspaceError: with all faults of all files.
    """
    workspace, faults = examine(root)
    if faults:
        raise WorkspaceError(*faults)
    return workspace


def examine(root: Path) -> tuple[Workspace, tuple[Fault, ...]]:
    """Read what can be read of a workspace, and return it with the faults of all files.

    Raises:
        WorkspaceError: if the folder is no workspace at all.
    """
    _refuse_no_workspace(root)
    found, faults = layout.find(root)
    definitions: dict[str, Definition] = {}
    documents: dict[str, Document] = {}
    for one in found:
        try:
            documents[one.file] = parse(_text(root, one.file), one.file)
            faults += documents[one.file].faults
            definitions[one.file] = shape(documents[one.file], one.definition)
        except WorkspaceError as error:
            faults += error.faults
    faulty = tuple(dict.fromkeys(fault.place.file for fault in faults))
    return msgspec.structs.replace(_assemble(root, definitions, documents), faulty=faulty), tuple(faults)


def assembled(texts: Mapping[str, str]) -> Workspace:
    """Return a workspace from the texts of its files, by path; its root is nowhere.

    Raises:
        WorkspaceError: with all faults of all files.
    """
    definitions: dict[str, Definition] = {}
    documents: dict[str, Document] = {}
    faults: list[Fault] = []
    for file in sorted(texts):
        try:
            documents[file] = parse(texts[file], file)
            faults += documents[file].faults
            definitions[file] = shape(documents[file], layout.definition_at(file))
        except WorkspaceError as error:
            faults += error.faults
        except ValueError:
            faults.append(Fault(code="W102", message="There is no such file.", place=Place(file=file)))
    if faults:
        raise WorkspaceError(*faults)
    return _assemble(Path(), definitions, documents)


def _refuse_no_workspace(root: Path) -> None:
    if not root.is_dir():
        raise WorkspaceError.of("W101", "There is no such folder.", place=Place(file=str(root)))
    if not (root / layout.SETTINGS).is_file():
        message = f"The folder holds no {layout.SETTINGS}, so it is no workspace."
        hint = f"Run `tilltal init {root}` to make one."
        raise WorkspaceError.of("W101", message, place=Place(file=str(root)), hint=hint)


def _text(root: Path, file: str) -> str:
    path = root / file
    try:
        if path.stat().st_size > MAX_BYTES:
            message = f"The file is larger than {MAX_BYTES // 1_000_000} MB; a definition never is."
            raise WorkspaceError.of("W107", message, place=Place(file=file))
        raw = path.read_bytes()
    except OSError as error:
        message = f"Cannot read the file: {error.strerror}."
        raise WorkspaceError.of("W104", message, place=Place(file=file)) from error
    return _decode(raw, file)


def _decode(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line_start = raw.rfind(b"\n", 0, error.start) + 1
        line = raw.count(b"\n", 0, error.start) + 1
        column = len(raw[line_start : error.start].decode("utf-8", "replace")) + 1
        message = f"The byte 0x{raw[error.start]:02X} is not UTF-8."
        place = Place(file=file, line=line, column=column)
        raise WorkspaceError.of("W104", message, place=place, hint="Save the file as UTF-8.") from error


def _assemble(root: Path, definitions: dict[str, Definition], documents: dict[str, Document]) -> Workspace:
    def one(file: str, kind: type[D]) -> D | None:
        found = definitions.get(file)
        return found if isinstance(found, kind) else None

    sources = _named(definitions, "sources", Source)
    return Workspace(
        root=str(root),
        settings=one(layout.SETTINGS, Settings) or Settings(name=root.name),
        content_hash=content_hash(definitions),
        identity=one("identity.yaml", Identity) or _namespaces_of(sources),
        profile=one("profile.yaml", Profile) or Profile(),
        sources=sources,
        traits=_named(definitions, "traits", Trait),
        audiences=_named(definitions, "audiences", Audience),
        lifecycle=one("lifecycle.yaml", Lifecycle),
        value=one("value.yaml", Value),
        personas=one("personas.yaml", Personas),
        micro_segments=one("micro_segments.yaml", MicroSegments) or MicroSegments(),
        models=_named(definitions, "models", Model),
        actions=_actions(definitions),
        treatments=_treatments(definitions),
        allocation=one("policies/allocation.yaml", Allocation) or Allocation(),
        arbitration=one("policies/arbitration.yaml", Arbitration) or Arbitration(),
        consent=one("policies/consent.yaml", Consent) or Consent(purposes={"marketing": Purpose()}),
        contact=one("policies/contact.yaml", Contact) or Contact(),
        data_use=one("policies/data_use.yaml", DataUse) or DataUse(),
        engagement=one("policies/engagement.yaml", EngagementPolicy) or EngagementPolicy(),
        sending=one("policies/sending.yaml", Sending) or Sending(),
        kpis=one("kpis.yaml", Kpis) or Kpis(),
        documents=documents,
    )


def content_hash(definitions: dict[str, Definition]) -> str:
    """Return the SHA-256 of all definitions: paths and contents, without comments and layout."""
    digest = hashlib.sha256()
    for file in sorted(definitions):
        content = msgspec.json.encode(definitions[file])
        digest.update(f"{file}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _named(definitions: dict[str, Definition], folder: str, kind: type[D]) -> dict[str, D]:
    return {
        file.removeprefix(folder + "/").removesuffix(".yaml"): definition
        for file, definition in definitions.items()
        if file.startswith(folder + "/") and isinstance(definition, kind)
    }


def _actions(definitions: dict[str, Definition]) -> dict[str, Action]:
    return {file.split("/")[1]: action for file, action in definitions.items() if isinstance(action, Action)}


def _treatments(definitions: dict[str, Definition]) -> dict[str, dict[tuple[str, str], Treatment]]:
    treatments: dict[str, dict[tuple[str, str], Treatment]] = {name: {} for name in _actions(definitions)}
    for file, definition in definitions.items():
        if isinstance(definition, Treatment):
            treatments.setdefault(file.split("/")[1], {})[layout.treatment_key(file)] = definition
    return treatments


def _namespaces_of(sources: dict[str, Source]) -> Identity:
    """Without `identity.yaml`, the namespaces are those of the sources, in order, none of them unique."""
    names = dict.fromkeys(name for source in sources.values() for name in source.identities)
    return Identity(namespaces=tuple(Namespace(name=name) for name in names))
