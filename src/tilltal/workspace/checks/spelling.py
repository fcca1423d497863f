"""Names that differ by upper and lower case alone: expressions keep them apart, tables do not."""

from __future__ import annotations

from collections.abc import Iterator

from tilltal.core.errors import Fault
from tilltal.workspace.checks.scope import At, Path, Scope
from tilltal.workspace.definitions.sources import Source
from tilltal.workspace.names import expanded_traits, known_values
from tilltal.workspace.workspace import Workspace

Use = tuple[str, str, str, Path]  # what shares its names, the name, and where it is written: file and path


def check_spelling(scope: Scope) -> Iterator[Fault]:
    """Yield a fault for each name that another of its kind has in other letters' case."""
    first: dict[tuple[str, str], str] = {}
    told: set[tuple[str, Path]] = set()
    for shared, name, file, path in _uses(scope.workspace):
        other = first.setdefault((shared, name.lower()), name)
        if other != name and (file, path) not in told:
            told.add((file, path))
            message = f"{name!r} and {other!r} differ by upper and lower case alone; tables mix them up."
            at = At(scope.workspace, file)
            make = at.key_fault if path else at.fault
            yield make("W132", message, *path, hint="Rename one.")


def _uses(workspace: Workspace) -> Iterator[Use]:
    for name, source in workspace.sources.items():
        yield from _of_source(f"sources/{name}.yaml", source)
    for name in expanded_traits(workspace):
        yield "profile", name, _file_of(workspace, name), ()
    for folder, names in (("audiences", workspace.audiences), ("models", workspace.models)):
        for name in names:
            yield folder, name, f"{folder}/{name}.yaml", ()
    for name in workspace.actions:
        yield "actions", name, f"actions/{name}/action.yaml", ()


def _of_source(file: str, source: Source) -> Iterator[Use]:
    for key in ("event", "product"):
        for name in known_values(getattr(source, key)):
            yield key, name, file, (key,)
    # Traits and the lifecycle read several event types side by side, so their fields share one spelling.
    owner = "profile" if source.kind == "record" else "fields of events"
    for field in source.fields:
        yield owner, field, file, ("fields", field)


def _file_of(workspace: Workspace, trait: str) -> str:
    """Return the file of a trait, whose name may end in the suffix of a window."""
    fits = (base for base in workspace.traits if trait == base or trait.startswith(f"{base}_"))
    return f"traits/{max(fits, key=len)}.yaml"
