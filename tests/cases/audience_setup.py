"""An audience case as product configuration: event schemas from the JSON types, compiled traits, events as
stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import sqlglot
from sqlglot.expressions import Column

from tilltal.core.errors import WorkspaceError
from tilltal.core.time import parse_instant
from tilltal.customers.audiences import compile_audiences
from tilltal.customers.derived import Derived
from tilltal.customers.traits.compiled import NUMERIC, CompiledTrait, compile_traits
from tilltal.customers.traits.online import Event
from tilltal.customers.traits.schema import EventType
from tilltal.rules.types import LARGEST_INTEGER, Type
from tilltal.workspace.definitions.profile import Trait

IDENTIFY = "identify"
_NO_NUMBERS = (Type.TEXT, Type.BOOLEAN)


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a case says, in the product's own terms. Customers have numbers in the order of the file."""

    customers: tuple[str, ...]
    events: tuple[tuple[Event, ...], ...]
    schemas: dict[str, EventType]
    attributes: dict[str, Type]
    traits: tuple[CompiledTrait, ...]
    audience: Derived


def setup_of(case: Mapping[str, Any], zone: ZoneInfo) -> Setup:
    """Translate a case; where its JSON types contradict its conditions, fields are read as untyped JSON.

    Raises:
        WorkspaceError: if the product refuses the case's definitions.
    """
    events = tuple(_events(rows or [], zone) for rows in case["customers"].values())
    traits = {name: _trait(trait) for name, trait in (case.get("traits") or {}).items()}
    try:
        return _compiled(case, events, traits, is_typed=True)
    except WorkspaceError:
        return _compiled(case, events, traits, is_typed=False)


def _compiled(
    case: Mapping[str, Any],
    events: tuple[tuple[Event, ...], ...],
    traits: Mapping[str, Trait],
    *,
    is_typed: bool,
) -> Setup:
    every = [event for history in events for event in history]
    fields = {name: _type(every, name) if is_typed else Type.ANY for name in _fields(every, traits)}
    measured = {trait.of for trait in traits.values() if trait.measure in NUMERIC}
    mixed = {name: Type.ANY for name, kind in fields.items() if name in measured and kind in _NO_NUMBERS}
    kinds = {event.type for event in every} | {name for trait in traits.values() for name in trait.from_}
    schemas = {kind: EventType({**fields, **mixed}) for kind in sorted(kinds)}
    identifying = [event for event in every if event.type == IDENTIFY]
    attributes = {
        name: _type(identifying, name) if is_typed else Type.ANY for name in case.get("attributes") or ()
    }
    compiled = compile_traits(traits, schemas)
    schema = {**attributes, **{trait.name: trait.type for trait in compiled}}
    (audience,) = compile_audiences({"case": case["audience"]}, schema)
    return Setup(
        customers=tuple(case["customers"]),
        events=events,
        schemas=schemas,
        attributes=attributes,
        traits=compiled,
        audience=audience,
    )


def _trait(given: Mapping[str, Any]) -> Trait:
    events = given["event"]
    known = {"of": given.get("of"), "where": given.get("where"), "window": given.get("window")}
    return msgspec.convert(
        {
            "measure": given["agg"],
            "from": [events] if isinstance(events, str) else events,
            **{key: value for key, value in known.items() if value is not None},
            **({"unit": given["unit"]} if "unit" in given else {}),
        },
        Trait,
    )


def _events(rows: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> tuple[Event, ...]:
    """Read one customer's events; of equal ids the first received stays. Ids follow the order of the file."""
    read = [
        Event(
            type=row["event"],
            at=parse_instant(row["at"], zone),
            received=parse_instant(row.get("received") or row["at"], zone),
            event_id=str(UUID(int=number)),
            fields=row.get("props") or {},
        )
        for number, row in enumerate(rows)
    ]
    first: dict[str, Event] = {}
    for event, row in sorted(zip(read, rows, strict=True), key=lambda pair: pair[0].received):
        first.setdefault(str(row["id"]) if "id" in row else f"only {event.event_id}", event)
    return tuple(first.values())


def _fields(events: Iterable[Event], traits: Mapping[str, Trait]) -> list[str]:
    """Return every property of an event, of a trait or of a condition, also one that no event holds."""
    names = dict.fromkeys(name for event in events for name in event.fields)
    names |= dict.fromkeys(trait.of for trait in traits.values() if trait.of is not None)
    conditions = [sqlglot.parse_one(trait.where) for trait in traits.values() if trait.where]
    return [
        *names,
        *(column.name for each in conditions for column in each.find_all(Column) if column.name not in names),
    ]


def _type(events: Iterable[Event], name: str) -> Type:
    found = {_json_type(event.fields[name]) for event in events if event.fields.get(name) is not None}
    if found == {Type.INTEGER, Type.NUMBER}:
        return Type.NUMBER
    return found.pop() if len(found) == 1 else Type.ANY


def _json_type(value: object) -> Type:
    if isinstance(value, bool):
        return Type.BOOLEAN
    if isinstance(value, int):
        return Type.INTEGER if abs(value) <= LARGEST_INTEGER else Type.NUMBER
    if isinstance(value, float):
        return Type.NUMBER
    return Type.TEXT if isinstance(value, str) else Type.ANY


def stored(value: object, kind: Type) -> object:
    """Return a property as a store holds it: JSON text where it is untyped."""
    if value is None:
        return None
    if kind is Type.ANY:
        return json.dumps(value, ensure_ascii=False)
    return float(value) if kind is Type.NUMBER and isinstance(value, int) else value
