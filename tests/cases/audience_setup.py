"""An audience case as product configuration: event schemas from the JSON types, compiled traits, events as
stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from tests.cases.audience_words import columns_of, names_in, translated, written

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
    definitions: dict[str, Trait]
    audience: Derived
    condition: str
    columns: dict[str, str]


class _Case(msgspec.Struct, frozen=True, kw_only=True):
    """A case read, but not compiled: all names are columns, see `columns_of`."""

    customers: tuple[str, ...]
    events: tuple[tuple[Event, ...], ...]
    fields: tuple[str, ...]
    traits: dict[str, Trait]
    attributes: tuple[str, ...]
    condition: str
    columns: dict[str, str]


def setup_of(case: Mapping[str, Any], zone: ZoneInfo) -> Setup:
    """Translate a case; where its JSON types contradict its conditions, fields are read as untyped JSON.

    Raises:
        WorkspaceError: if the product refuses the case's definitions.
    """
    read = _read(case, zone)
    try:
        return _compiled(read, is_typed=True)
    except WorkspaceError:
        return _compiled(read, is_typed=False)


def _read(case: Mapping[str, Any], zone: ZoneInfo) -> _Case:
    customers, traits = case.get("customers") or {}, case.get("traits") or {}
    histories = [_events(rows or [], zone) for rows in customers.values()]
    fields = dict.fromkeys(name for events in histories for event in events for name in event.fields)
    fields |= dict.fromkeys(name for trait in traits.values() for name in _fields_of(trait))
    condition = written(case.get("audience"))
    attributes = dict.fromkeys(case.get("attributes") or ())
    stated = {name for events in histories for one in events if one.type == IDENTIFY for name in one.fields}
    attributes |= dict.fromkeys(name for name in names_in(condition) if name in stated - set(traits))
    columns = columns_of([*fields, *attributes, *traits])
    return _Case(
        customers=tuple(customers),
        events=tuple(tuple(_renamed(event, columns) for event in events) for events in histories),
        fields=tuple(columns[name] for name in fields),
        traits={columns[name]: _trait(trait, columns) for name, trait in traits.items()},
        attributes=tuple(columns[name] for name in attributes),
        condition=translated(condition, columns),
        columns=columns,
    )


def _fields_of(trait: Mapping[str, Any]) -> list[str]:
    """Return the properties that a trait names, also those that no event holds."""
    measured = [] if trait.get("of") is None else [trait["of"]]
    return measured + ([] if trait.get("where") is None else names_in(written(trait["where"])))


def _renamed(event: Event, columns: Mapping[str, str]) -> Event:
    fields = {columns[name]: value for name, value in event.fields.items()}
    return msgspec.structs.replace(event, fields=fields)


def _compiled(case: _Case, *, is_typed: bool) -> Setup:
    every = [event for history in case.events for event in history]
    fields = {name: _type(every, name) if is_typed else Type.ANY for name in case.fields}
    measured = {trait.of for trait in case.traits.values() if trait.measure in NUMERIC}
    mixed = {name: Type.ANY for name, kind in fields.items() if name in measured and kind in _NO_NUMBERS}
    kinds = {event.type for event in every} | {name for trait in case.traits.values() for name in trait.from_}
    schemas = {kind: EventType({**fields, **mixed}) for kind in sorted(kinds)}
    identifying = [event for event in every if event.type == IDENTIFY]
    attributes = {name: _type(identifying, name) if is_typed else Type.ANY for name in case.attributes}
    compiled = compile_traits(case.traits, schemas)
    schema = {**attributes, **{trait.name: trait.type for trait in compiled}}
    (audience,) = compile_audiences({"case": case.condition}, schema)
    return Setup(
        customers=case.customers,
        events=case.events,
        schemas=schemas,
        attributes=attributes,
        traits=compiled,
        definitions=case.traits,
        audience=audience,
        condition=case.condition,
        columns=case.columns,
    )


def _trait(given: Mapping[str, Any], columns: Mapping[str, str]) -> Trait:
    events, where, of = given["event"], given.get("where"), given.get("of")
    stated = {
        "of": None if of is None else columns[of],
        "where": None if where is None else translated(written(where), columns),
        "window": given.get("window"),
        "unit": given.get("unit"),
    }
    return msgspec.convert(
        {
            "measure": given["agg"],
            "from": [events] if isinstance(events, str) else events,
            **{key: value for key, value in stated.items() if value is not None},
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
        first.setdefault(f"id {row['id']}" if row.get("id") is not None else f"only {event.event_id}", event)
    return tuple(first.values())


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
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return float(value) if kind is Type.NUMBER and isinstance(value, int) else value
