"""Checks every expression: that it parses, names what exists and has the type its place needs."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tilltal.core.errors import Fault, Place, WorkspaceError
from tilltal.rules.expression import parse
from tilltal.rules.types import Type
from tilltal.workspace.absent import may_define
from tilltal.workspace.checks.closed import closed_names, vain_comparisons
from tilltal.workspace.checks.scope import Scope
from tilltal.workspace.names import Schema, events_schema, expanded_traits, names_of
from tilltal.workspace.written import Written, expressions

_OF_TYPES = ("D205", "D209")  # faults that follow from the type of a name


def check_expressions(scope: Scope) -> Iterator[Fault]:
    """Yield the dialect's faults, each at its character in the file."""
    closed = closed_names(scope.workspace)
    unsure = unsure_names(scope)
    for one in expressions(scope.workspace):
        about = scope.decision if one.in_decision else scope.profile
        schema = about if one.events is None else events_schema(scope.events, one.events)
        if one.events is not None and not set(one.events) & scope.events.keys():
            continue  # an unknown event type is a fault of its own; its fields are not known
        found = [*_faults(scope, one, schema, unsure)]
        if one.events is None:
            found += vain_comparisons(one.text, closed, _start(one))
        yield from (_in_file(scope, one, fault) for fault in found)


def _start(one: Written) -> Place:
    return Place(file=one.file, line=1, column=1)


def _faults(scope: Scope, one: Written, schema: Schema, unsure: frozenset[str]) -> Iterator[Fault]:
    """Yield the faults of an expression, of which those are certain that need no type of an unsure name."""
    names = names_of(one.text)
    what = "name" if one.events is None else "field"
    absent = frozenset(n for n in names - schema.keys() if may_define(scope.workspace.faulty, what, n))
    is_certain = not absent and (one.events is not None or not names & unsure)
    try:
        parse(one.text, schema | dict.fromkeys(absent, Type.ANY), place=_start(one), want=one.want)
    except WorkspaceError as error:
        yield from (fault for fault in error.faults if is_certain or fault.code not in _OF_TYPES)


def unsure_names(scope: Scope) -> frozenset[str]:
    """Return the traits whose type may be another once the faulty files can be read."""
    faulty = scope.workspace.faulty
    if not faulty:
        return frozenset()
    traits = expanded_traits(scope.workspace)
    needs = {name: names_of(trait.expression or "") for name, trait in traits.items()}
    found = {
        name
        for name, trait in traits.items()
        if (trait.of and may_define(faulty, "field", trait.of))
        or any(may_define(faulty, "name", need) for need in needs[name] - scope.profile.keys())
    }
    while more := {name for name in needs if name not in found and needs[name] & found}:
        found |= more
    return frozenset(found)


def _in_file(scope: Scope, one: Written, fault: Fault) -> Fault:
    place = scope.workspace.place_within(fault, one.text, one.file, *one.path)
    return msgspec.structs.replace(fault, place=place)


def is_numeric(kind: Type) -> bool:
    """True for types that measures and models can reckon with; ANY may hold numbers."""
    return kind in (Type.INTEGER, Type.NUMBER, Type.ANY)
