"""Checks `policies/allocation.yaml`: the names it narrows by, and that its limits can mean something."""

from __future__ import annotations

from collections.abc import Iterator

from tilltal.core.errors import Fault
from tilltal.workspace.checks.actions import of_actions
from tilltal.workspace.checks.scope import At, Scope
from tilltal.workspace.definitions.allocation import Resource
from tilltal.workspace.definitions.contact import PARTS


def check_allocation(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of `policies/allocation.yaml`."""
    at, allocation = At(scope.workspace, "policies/allocation.yaml"), scope.workspace.allocation
    for name, resource in allocation.resources.items():
        yield from _resource(scope, at, name, resource)
    if allocation.households:
        yield from at.unknown("name", allocation.households.by, scope.profile, "households", "by")
    for action in allocation.minimums:
        yield from at.unknown("action", action, scope.workspace.actions, "minimums", action)


def _resource(scope: Scope, at: At, name: str, resource: Resource) -> Iterator[Fault]:
    if resource.is_money and not _has_costs(scope):
        message = f"The resource {name!r} counts costs, and nothing costs anything."
        hint = "Give `costs` per channel in policies/arbitration.yaml, or `cost` in actions."
        yield at.fault("W121", message, "resources", name, "uses", hint=hint)
    for index, use in enumerate(resource.uses):
        for part in PARTS:
            stated = use.applies_to.allowed(part) or ()
            path = ("resources", name, "uses", index, "applies_to", part)
            for listed in stated:
                yield from at.unknown(part, listed, of_actions(scope, part), *path)


def _has_costs(scope: Scope) -> bool:
    workspace = scope.workspace
    costs = [*workspace.arbitration.costs.values(), *(each.cost or 0 for each in workspace.actions.values())]
    return any(cost > 0 for cost in costs)
