"""What is known of event types: their fields, and which of them hold money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tilltal.rules.types import Type


class EventType(msgspec.Struct, frozen=True):
    """The fields of an event type.

    `fields` gives each field's type as expressions see it; `money` the minor units per major unit of those
    that are stored as whole minor units and seen as a `NUMBER` of major units.
    """

    fields: Mapping[str, Type]
    money: Mapping[str, int] = {}


Schemas = Mapping[str, EventType]


def field_type(name: str, types: Sequence[EventType]) -> Type | None:
    """Return a field's common type over several event types; None where none has it or they disagree.

    Integers and numbers agree on numbers; an event type without the field does not matter.
    """
    found = {kind.fields[name] for kind in types if name in kind.fields}
    if found == {Type.INTEGER, Type.NUMBER}:
        return Type.NUMBER
    return found.pop() if len(found) == 1 else None


def common_fields(types: Sequence[EventType]) -> dict[str, Type]:
    """Return the fields that a condition over events of these types may use, with their types."""
    names = dict.fromkeys(name for kind in types for name in kind.fields)
    typed = ((name, field_type(name, types)) for name in names)
    return {name: kind for name, kind in typed if kind is not None}


def divisors(name: str, types: Sequence[EventType]) -> set[int | None]:
    """Return a field's minor units per major unit in each event type that has it; None is no money."""
    return {kind.money.get(name) for kind in types if name in kind.fields}
