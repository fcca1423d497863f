"""What a workspace's expressions may name: events' fields, attributes, traits, segments, holdings, consents.

The list for the profile is the contract of docs/explanation/data.md.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

import msgspec

from tilltal.core.errors import Place, WorkspaceError
from tilltal.core.time import parse_window
from tilltal.rules.expression import parse
from tilltal.rules.grammar import syntax_of
from tilltal.rules.tokens import Source as Text
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Trait
from tilltal.workspace.definitions.segments import Personas
from tilltal.workspace.definitions.sources import Column, Field, FieldType, Source
from tilltal.workspace.workspace import Workspace

Schema = dict[str, Type]

FAMILIES = ("characteristics", "attitudes", "banking", "financial", "digital")
LIFECYCLE_NAMES: Schema = {
    "lifecycle.stage": Type.TEXT,
    "lifecycle.since": Type.DATE,
    "lifecycle.days": Type.INTEGER,
    "lifecycle.opened": Type.DATE,
}
VALUE_NAMES: Schema = {"value.segment": Type.TEXT, "value.income": Type.TEXT, "value.affinity": Type.TEXT}

IDENTITY_LABEL = "identity"  # a field that says who somebody is: kept in the vault, never in history

_TYPES: dict[FieldType, Type] = {
    "text": Type.TEXT,
    "integer": Type.INTEGER,
    "number": Type.NUMBER,
    "money": Type.NUMBER,  # expressions see money in major units
    "boolean": Type.BOOLEAN,
    "date": Type.DATE,
    "timestamp": Type.TIMESTAMP,
    "any": Type.ANY,
}


def declared_type(field: Field | FieldType) -> FieldType:
    """Return a field's type as its source declares it: `money` where expressions see a number."""
    return field.type if isinstance(field, Field) else field


def field_type(field: Field | FieldType) -> Type:
    """Return the type an expression sees for a source's field."""
    return _TYPES[declared_type(field)]


def known_values(key: str | Column | bool | None) -> tuple[str, ...]:
    """Return the fixed name of a source's key, or the values its column is declared to hold."""
    if isinstance(key, Column):
        return tuple(dict.fromkeys((*key.map.values(), *key.values)))
    return (key,) if isinstance(key, str) else ()


def event_types(source: Source) -> tuple[str, ...]:
    """Return the event types a source can bring; none for other kinds of source."""
    return known_values(source.event) if source.kind == "event" else ()


def event_schemas(workspace: Workspace) -> dict[str, Schema]:
    """Return event type → field → type, over all sources of that type.

    Where sources disagree on a field's type, the first source's counts; `check` reports the clash.
    """
    return {
        event: {name: field_type(field) for name, field in fields.items()}
        for event, fields in event_fields(workspace).items()
    }


def events_schema(schemas: Mapping[str, Schema], events: Iterable[str]) -> Schema:
    """Return the fields of several event types together; a field that one of them lacks is NULL there."""
    joined: Schema = {}
    for event in events:
        for name, kind in schemas.get(event, {}).items():
            joined.setdefault(name, kind)
    return joined


def record_attributes(workspace: Workspace) -> Schema:
    """Return attribute → type: the fields of all record sources."""
    return {name: field_type(field) for name, field in attribute_fields(workspace).items()}


def event_fields(workspace: Workspace) -> dict[str, dict[str, FieldType]]:
    """Return event type → field → type as declared: tells money, kept in minor units, from other numbers."""
    fields: dict[str, dict[str, FieldType]] = {}
    for source in workspace.sources.values():
        for event in event_types(source):
            known = fields.setdefault(event, {})
            for name, kind in kept_fields(source).items():
                known.setdefault(name, kind)
    return fields


def kept_fields(source: Source) -> dict[str, FieldType]:
    """Return the fields that history keeps of a source; those labelled `identity` go to the vault only."""
    if IDENTITY_LABEL in source.labels:
        return {}
    return {
        name: declared_type(field)
        for name, field in source.fields.items()
        if not (isinstance(field, Field) and IDENTITY_LABEL in field.labels)
    }


def attribute_fields(workspace: Workspace) -> dict[str, FieldType]:
    """Return attribute → type as declared by the first record source that has it."""
    fields: dict[str, FieldType] = {}
    for source in workspace.sources.values():
        if source.kind == "record":
            for name, kind in kept_fields(source).items():
                fields.setdefault(name, kind)
    return fields


def products(workspace: Workspace) -> tuple[str, ...]:
    """Return every product that a holding source can name, in the order of the sources."""
    holding = (source for source in workspace.sources.values() if source.kind == "holding")
    return tuple(dict.fromkeys(name for source in holding for name in known_values(source.product)))


def expanded_traits(workspace: Workspace) -> dict[str, Trait]:
    """Return one trait per name: a list of `windows` becomes a trait with a `window` for each.

    A window that cannot be read is skipped here; `check` reports it.
    """
    return {name: trait for base, trait in workspace.traits.items() for name, trait in _expand(base, trait)}


def _expand(base: str, trait: Trait) -> Iterator[tuple[str, Trait]]:
    if not trait.windows:
        yield base, trait
    for text in trait.windows:
        try:
            suffix = parse_window(text).suffix
        except ValueError:
            continue
        yield f"{base}_{suffix}", msgspec.structs.replace(trait, window=text, windows=())


def measure_type(trait: Trait, events: Mapping[str, Schema]) -> Type:
    """Return the type of a trait with a measure; `events` are the event schemas of the workspace."""
    if trait.measure in ("count", "distinct", "recency"):
        return Type.INTEGER
    if trait.measure == "exists":
        return Type.BOOLEAN
    of = events_schema(events, trait.from_).get(trait.of or "", Type.ANY)
    if trait.measure in ("first", "last"):
        return of
    return Type.INTEGER if of is Type.INTEGER and trait.measure != "avg" else Type.NUMBER


def persona_names(personas: Personas) -> tuple[str, ...]:
    """Return the personas known by name before anything is learned."""
    return tuple(personas.centroids) or personas.names


def profile_schema(workspace: Workspace) -> Schema:
    """Return every name an expression over a profile may use, with its type.

    A trait whose expression is faulty or part of a cycle has the type ANY here; `check` reports it.
    """
    schema = record_attributes(workspace)
    events = event_schemas(workspace)
    traits = expanded_traits(workspace)
    for name, trait in traits.items():
        schema[name] = Type.ANY if trait.expression is not None else measure_type(trait, events)
    schema |= _segment_names(workspace) | _relation_names(workspace)
    written = {name: trait.expression for name, trait in traits.items() if trait.expression is not None}
    for name in _in_order(written, schema):
        schema[name] = _type_of(written[name], schema)
    return schema


def _segment_names(workspace: Workspace) -> Schema:
    names: Schema = dict(LIFECYCLE_NAMES) if workspace.lifecycle else {}
    if workspace.value:
        names |= VALUE_NAMES
    if workspace.personas:
        names["persona.name"] = Type.TEXT
        names |= {f"persona.{name}": Type.NUMBER for name in persona_names(workspace.personas)}
    names |= {f"audience.{name}": Type.BOOLEAN for name in workspace.audiences}
    return names | {f"score.{name}": Type.NUMBER for name in workspace.models}


def _relation_names(workspace: Workspace) -> Schema:
    names: Schema = {"is_known": Type.BOOLEAN}
    if any(source.kind == "holding" for source in workspace.sources.values()):
        names |= {"holdings": Type.INTEGER, "leading_product": Type.TEXT}
        names |= {f"holding.{product}": Type.BOOLEAN for product in products(workspace)}
    for purpose in workspace.consent.purposes:
        names |= {f"consent.{purpose}.{channel}": Type.BOOLEAN for channel in workspace.settings.channels}
    return names


def _in_order(written: Mapping[str, str], schema: Schema) -> tuple[str, ...]:
    """Sort traits with expressions so that each comes after those it names; none if they form a cycle."""
    graph = {name: names_in(text, schema) & written.keys() for name, text in written.items()}
    try:
        return tuple(TopologicalSorter(graph).static_order())
    except CycleError:
        return ()


def names_in(text: str, schema: Mapping[str, Type]) -> frozenset[str]:
    """Return the names of a schema that an expression uses, of any type; none if it cannot be read."""
    return names_of(text) & schema.keys()


def names_of(text: str) -> frozenset[str]:
    """Return all names that an expression uses, known or not; none if it cannot be read."""
    try:
        waiting = [syntax_of(Text(text))]
    except WorkspaceError:
        return frozenset()
    found = set()
    while waiting:
        syntax = waiting.pop()
        waiting += syntax.args
        if syntax.op.partition(":")[0] == "name":
            found.add(syntax.text)
    return frozenset(found)


def _type_of(text: str, schema: Mapping[str, Type]) -> Type:
    try:
        return parse(text, schema, place=Place(), want=None).type
    except WorkspaceError:
        return Type.ANY


def matching(patterns: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that fit one of the patterns, in the order of `names`.

    `*` stands for any text and `?` for one letter. A pattern without a dot fits only names without one, so
    that `*` means all attributes and traits, but no score, audience or segment.

    >>> matching(["card_*"], ["card_30d", "age", "score.card_offer"])
    ('card_30d',)
    """
    wanted = tuple(patterns)
    return tuple(name for name in names if any(_fits(name, pattern) for pattern in wanted))


def _fits(name: str, pattern: str) -> bool:
    return ("." in pattern or "." not in name) and fnmatch.fnmatchcase(name, pattern)
