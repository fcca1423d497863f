"""Checks every expression: that it parses, names what exists and has the type its place needs."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tilltal.core.errors import Fault, Place, WorkspaceError
from tilltal.rules.expression import parse
from tilltal.rules.types import Type
from tilltal.workspace.checks.scope import Scope
from tilltal.workspace.names import events_schema
from tilltal.workspace.written import Written, expressions


def check_expressions(scope: Scope) -> Iterator[Fault]:
    """Yield the dialect's faults, each at its character in the file."""
    for one in expressions(scope.workspace):
        schema = scope.profile if one.events is None else events_schema(scope.events, one.events)
        if one.events is not None and not set(one.events) & scope.events.keys():
            continue  # an unknown event type is a fault of its own; its fields are not known
        try:
            parse(one.text, schema, place=Place(file=one.file, line=1, column=1), want=one.want)
        except WorkspaceError as error:
            yield from (_in_file(scope, one, fault) for fault in error.faults)


def _in_file(scope: Scope, one: Written, fault: Fault) -> Fault:
    place = scope.workspace.place_within(fault, one.text, one.file, *one.path)
    return msgspec.structs.replace(fault, place=place)


def is_numeric(kind: Type) -> bool:
    """True for types that measures and models can reckon with; ANY may hold numbers."""
    return kind in (Type.INTEGER, Type.NUMBER, Type.ANY)
