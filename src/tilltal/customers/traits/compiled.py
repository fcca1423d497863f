"""Traits, checked against the event types and made ready for both tempos.

A trait here has at most one window; `workspace.names.expanded_traits` makes one of each window before.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tilltal.core.errors import Fault, Place, WorkspaceError, nearest
from tilltal.core.time import Unit, Window, parse_window
from tilltal.customers.traits.schema import EventType, Schemas, common_fields, divisors, field_type
from tilltal.rules.expression import Expression, parse
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Measure, Trait

NUMERIC: tuple[Measure, ...] = ("sum", "avg", "min", "max")
_NEEDS_FIELD: tuple[Measure, ...] = (*NUMERIC, "first", "last", "distinct")
_NUMBERS = (Type.INTEGER, Type.NUMBER, Type.ANY)


class CompiledTrait(msgspec.Struct, frozen=True, kw_only=True):
    """One measure over events.

    `types` are event types, sorted; `of_type` is the measured field's common type;
    `divisor` is set where the field is money in all of them: the measure is then taken in minor units and
    divided last. `type` is the type of the value.
    """

    name: str
    measure: Measure
    types: tuple[str, ...]
    of: str | None
    of_type: Type | None
    divisor: int | None
    where: Expression | None
    where_text: str
    window: Window | None
    unit: Unit
    type: Type


def compile_traits(traits: Mapping[str, Trait], schemas: Schemas) -> tuple[CompiledTrait, ...]:
    """Compile every trait that has a measure, in the order given.

    Raises:
        WorkspaceError: with all faults of all traits.
    """
    faults: list[Fault] = []
    compiled: list[CompiledTrait] = []
    for name, trait in traits.items():
        if trait.measure is None:
            continue
        try:
            compiled.append(compile_trait(name, trait, schemas))
        except WorkspaceError as error:
            faults += error.faults
    if faults:
        raise WorkspaceError(*faults)
    return tuple(compiled)


def compile_trait(name: str, trait: Trait, schemas: Schemas) -> CompiledTrait:
    """Compile one trait with a measure.

    Raises:
        WorkspaceError: if it names an unknown event type or field, its field does not fit the measure, or its
            condition is faulty.
    """
    place = Place(file=f"traits/{name}.yaml")
    assert trait.measure is not None, "an expression trait is not measured"
    types = _event_types(trait, schemas, place)
    of_type = None if trait.of is None else _field(trait.of, types, place)
    _check_field(trait, of_type, place)
    return CompiledTrait(
        name=name,
        measure=trait.measure,
        types=tuple(sorted(set(trait.from_))),
        of=trait.of,
        of_type=of_type,
        divisor=None if trait.of is None else divisors(trait.of, types).pop(),
        where=None
        if trait.where is None
        else parse(trait.where, common_fields(types), place=place, want=Type.BOOLEAN),
        where_text=trait.where or "",
        window=_window(trait, place),
        unit=Unit(trait.unit),
        type=_result_type(trait.measure, of_type),
    )


def _event_types(trait: Trait, schemas: Schemas, place: Place) -> list[EventType]:
    if not trait.from_:
        raise WorkspaceError.of(
            "W161", "the trait names no event type in `from`", place=place, valid=sorted(schemas)
        )
    unknown = [name for name in trait.from_ if name not in schemas]
    if unknown:
        message = f"{unknown[0]!r} is no event type"
        raise WorkspaceError.of("W161", message, place=place, valid=nearest(unknown[0], schemas))
    return [schemas[name] for name in trait.from_]


def _field(name: str, types: list[EventType], place: Place) -> Type:
    found = field_type(name, types)
    if found is not None and len(divisors(name, types)) == 1:
        return found
    if any(name in kind.fields for kind in types):
        raise WorkspaceError.of(
            "W163",
            f"the field {name!r} has different types in the trait's event types, or is money in some only",
            place=place,
            hint="Give it one type in all of them, or make a trait for each.",
        )
    valid = nearest(name, (field for kind in types for field in kind.fields))
    raise WorkspaceError.of("W162", f"the trait's events have no field {name!r}", place=place, valid=valid)


def _check_field(trait: Trait, of_type: Type | None, place: Place) -> None:
    if of_type is None and trait.measure in _NEEDS_FIELD:
        raise WorkspaceError.of("W164", f"the measure {trait.measure} needs a field in `of`", place=place)
    if trait.measure in NUMERIC and of_type not in _NUMBERS:
        raise WorkspaceError.of(
            "W164",
            f"the measure {trait.measure} needs numbers, and {trait.of!r} is {of_type}",
            place=place,
            valid=("count", "distinct", "first", "last"),
        )


def _window(trait: Trait, place: Place) -> Window | None:
    if trait.window is None:
        return None
    try:
        return parse_window(trait.window)
    except ValueError as error:
        raise WorkspaceError.of("W165", str(error), place=place) from error


def _result_type(measure: Measure, of_type: Type | None) -> Type:
    if measure == "exists":
        return Type.BOOLEAN
    if measure in ("count", "distinct", "recency"):
        return Type.INTEGER
    if measure in ("first", "last"):
        assert of_type is not None, "checked before"
        return of_type
    return Type.INTEGER if of_type is Type.INTEGER and measure != "avg" else Type.NUMBER
