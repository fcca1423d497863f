"""Checks that the definitions of a workspace make sense together, and reports every fault at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tilltal.core.errors import Fault, Place, WorkspaceError
from tilltal.workspace.checks.actions import check_actions, check_kpis, check_policies
from tilltal.workspace.checks.allocation import check_allocation
from tilltal.workspace.checks.contact import check_consent, check_contact
from tilltal.workspace.checks.data_use import check_data_use
from tilltal.workspace.checks.engagement import check_engagement
from tilltal.workspace.checks.expressions import check_expressions
from tilltal.workspace.checks.linking import check_linking
from tilltal.workspace.checks.models import check_models
from tilltal.workspace.checks.profile import check_profile, check_traits
from tilltal.workspace.checks.scope import Scope, scope_of
from tilltal.workspace.checks.segments import (
    check_audiences,
    check_lifecycle,
    check_micro_segments,
    check_personas,
    check_value,
)
from tilltal.workspace.checks.sending import check_sending
from tilltal.workspace.checks.settings import check_identity, check_settings
from tilltal.workspace.checks.sources import check_sources
from tilltal.workspace.checks.spelling import check_spelling
from tilltal.workspace.checks.webhooks import check_webhooks
from tilltal.workspace.graph import cycles, dependencies
from tilltal.workspace.load import examine
from tilltal.workspace.workspace import Workspace

_CHECKS: tuple[Callable[[Scope], Iterator[Fault]], ...] = (
    check_settings,
    check_webhooks,
    check_identity,
    check_linking,
    check_sources,
    check_profile,
    check_traits,
    check_audiences,
    check_lifecycle,
    check_value,
    check_personas,
    check_micro_segments,
    check_models,
    check_actions,
    check_policies,
    check_engagement,
    check_contact,
    check_consent,
    check_allocation,
    check_sending,
    check_kpis,
    check_expressions,
    check_data_use,
    check_spelling,
)


def check(workspace: Workspace) -> tuple[Fault, ...]:
    """Return all faults of a loaded workspace, sorted by place; none if it can be used."""
    scope = scope_of(workspace)
    faults = [fault for run in _CHECKS for fault in run(scope)]
    faults += _cycles(scope)
    return _sorted(faults)


def check_folder(root: Path) -> tuple[Fault, ...]:
    """Return all faults of a workspace's folder: of its files' shape and of their sense.

    Only faults that come, or may come, from what a faulty file would define (its names, and types that follow
    from them) are held back until it can be read.

    Raises:
        WorkspaceError: if the folder is no workspace at all.
    """
    return _all_faults(*examine(root))


def usable(root: Path) -> Workspace:
    """Load a workspace and check it.

    Raises:
        WorkspaceError: with all its faults.
    """
    workspace, faults = examine(root)
    found = _all_faults(workspace, faults)
    if found:
        raise WorkspaceError(*found)
    return workspace


def _all_faults(workspace: Workspace, faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
    sense = (fault for fault in check(workspace) if fault.place.file not in workspace.faulty)
    return _sorted([*faults, *sense])


def _cycles(scope: Scope) -> Iterator[Fault]:
    for path in cycles(dependencies(scope.workspace, scope.profile)):
        place = _place_of(scope.workspace, path[0])
        message = f"These definitions need each other: {' -> '.join(path)}."
        yield Fault(code="W140", message=message, place=place, hint="Take one of the references out.")


def _place_of(workspace: Workspace, node: str) -> Place:
    head, _, name = node.partition(".")
    files = {
        "audience": f"audiences/{name}.yaml",
        "score": f"models/{name}.yaml",
        "action": f"actions/{name}/action.yaml",
        "value": "value.yaml",
        "persona": "personas.yaml",
        "lifecycle": "lifecycle.yaml",
    }
    file = files.get(head, f"traits/{node}.yaml")
    return workspace.place(file)


def _sorted(faults: list[Fault]) -> tuple[Fault, ...]:
    unique = dict.fromkeys(faults)
    return tuple(
        sorted(unique, key=lambda fault: (fault.place.file, fault.place.line, fault.place.column, fault.code))
    )
