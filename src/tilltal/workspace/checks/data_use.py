"""Checks that labelled data serves no purpose it must not serve, under whatever name it is used."""

from __future__ import annotations

from collections.abc import Iterator

from tilltal.core.errors import Fault, WorkspaceError
from tilltal.workspace.checks.scope import At, Scope
from tilltal.workspace.labels import LabelBook


def check_data_use(scope: Scope) -> Iterator[Fault]:
    """Yield a fault for each name an action or model uses although a label of it forbids the purpose."""
    workspace = scope.workspace
    forbid = workspace.data_use.forbid
    if not forbid:
        return
    try:
        book = LabelBook(workspace, scope.profile)
    except WorkspaceError:  # definitions in a circle: reported on their own
        return
    used_for = {
        f"action.{name}": (f"actions/{name}/action.yaml", action.purpose)
        for name, action in workspace.actions.items()
    }
    used_for |= {
        f"score.{name}": (f"models/{name}.yaml", model.purpose)
        for name, model in workspace.models.items()
        if model.purpose
    }
    for node, (file, purpose) in used_for.items():
        for name, labels in book.read_by(node).items():
            for label in sorted(labels):
                if purpose in forbid.get(label, ()):
                    yield At(workspace, file).fault(
                        "W167",
                        f"{name} carries the label {label!r}, which must never serve {purpose!r}.",
                        hint="Do not use it here, or change policies/data_use.yaml.",
                    )
