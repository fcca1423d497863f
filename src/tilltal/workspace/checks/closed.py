"""Names of a profile with a closed set of values, and texts they are compared with in vain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tilltal.core.errors import Fault, Place, WorkspaceError, nearest
from tilltal.rules.grammar import Syntax, syntax_of
from tilltal.rules.tokens import Source
from tilltal.workspace.names import persona_names
from tilltal.workspace.workspace import Workspace

Closed = Mapping[str, tuple[str, ...]]

_EQUALS = ("=", "<>", "IN")


def closed_names(workspace: Workspace) -> Closed:
    """Return name → the values it can have, for the segments that name theirs before anything is computed."""
    closed: dict[str, tuple[str, ...]] = {}
    if workspace.lifecycle:
        stages = workspace.lifecycle.names
        closed["lifecycle.stage"] = tuple(getattr(stages, key) for key in stages.__struct_fields__)
    if workspace.value:
        closed["value.segment"] = tuple(dict.fromkeys(cell.name for cell in workspace.value.cells))
        closed["value.income"] = workspace.value.income.classes
        closed["value.affinity"] = workspace.value.affinity.classes
    if workspace.personas:
        closed["persona.name"] = persona_names(workspace.personas)
    return {name: values for name, values in closed.items() if values}


def vain_comparisons(text: str, closed: Closed, place: Place) -> Iterator[Fault]:
    """Yield a fault for each text that a closed name is held equal to, and never is."""
    source = Source(text, place)
    try:
        waiting = [syntax_of(source)]
    except WorkspaceError:
        return
    while waiting:
        syntax = waiting.pop()
        waiting += syntax.args
        if syntax.op in _EQUALS:
            yield from _of_one(source, syntax, closed)


def _of_one(source: Source, syntax: Syntax, closed: Closed) -> Iterator[Fault]:
    names = [part.text for part in syntax.args if part.op.partition(":")[0] == "name" and part.text in closed]
    for name in names:
        valid = closed[name]
        for part in syntax.args:
            if part.op == "literal:text" and part.text not in valid:
                close = nearest(part.text, valid, count=1)
                others = tuple(value for value in valid if value not in close)
                message = f"{name} is never {part.text!r}."
                yield source.fault("W130", message, part.at, valid=(*close, *others))
