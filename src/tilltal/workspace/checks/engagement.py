"""Checks `policies/engagement.yaml`: what its conditions are about, and that a reason names one of them."""

from __future__ import annotations

from collections.abc import Iterator

from tilltal.core.errors import Fault
from tilltal.workspace.checks.actions import of_actions
from tilltal.workspace.checks.scope import At, Path, Scope
from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.engagement import Tiers
from tilltal.workspace.written import tiers_of

_STAGES = ("eligibility", "applicability", "suitability")
Known = dict[tuple[str, str], Path]  # stage and name of a condition → whose it is


def check_engagement(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of the policy, and of conditions of actions that have a shared condition's name."""
    engagement = scope.workspace.engagement
    at = At(scope.workspace, "policies/engagement.yaml")
    for field in engagement.context:
        yield from at.plain("field", field, "context", field)
    for group in engagement.groups:
        yield from at.unknown("group", group, of_actions(scope, "group"), "groups", group)
    for issue in engagement.issues:
        yield from at.unknown("issue", issue, of_actions(scope, "issue"), "issues", issue)
    for path, tiers in tiers_of(engagement).items():
        yield from _twice(at, tiers, {}, path)
    for name, action in scope.workspace.actions.items():
        yield from _clashes(scope, name, action)


def _clashes(scope: Scope, name: str, action: Action) -> Iterator[Fault]:
    """Yield a fault for each name that two levels give to a condition of the same action and tier."""
    known: Known = {}
    paths: tuple[Path, ...] = (("all",), ("issues", action.issue), ("groups", action.group))
    shared = tiers_of(scope.workspace.engagement)
    at = At(scope.workspace, "policies/engagement.yaml")
    for path in paths:
        if path in shared:
            yield from _twice(at, shared[path], known, path)
            _note(shared[path], known, path)
    yield from _twice(At(scope.workspace, f"actions/{name}/action.yaml"), action, known, ())


def _twice(at: At, level: Tiers | Action, known: Known, path: Path) -> Iterator[Fault]:
    for stage in _STAGES:
        seen: set[str] = set()
        for index, condition in enumerate(getattr(level, stage)):
            place = (*path, stage, index, "name")
            if (stage, condition.name) in known:
                owner = " ".join(map(str, known[stage, condition.name]))
                message = f"{stage.capitalize()} has a condition {condition.name!r} already, under {owner}."
                yield at.fault("W133", message, *place)
            elif condition.name in seen and path:
                message = f"{stage.capitalize()} has a condition {condition.name!r} already."
                yield at.fault("W133", message, *place)
            seen.add(condition.name)


def _note(level: Tiers, known: Known, path: Path) -> None:
    for stage in _STAGES:
        for condition in getattr(level, stage):
            known.setdefault((stage, condition.name), path)
