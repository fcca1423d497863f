"""Checks `profile.yaml` and `traits/*.yaml`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tilltal.core.errors import Fault, nearest
from tilltal.core.time import parse_window
from tilltal.rules.types import Type
from tilltal.workspace.absent import may_define
from tilltal.workspace.checks.expressions import is_numeric
from tilltal.workspace.checks.scope import At, Scope
from tilltal.workspace.definitions.profile import Trait
from tilltal.workspace.names import attribute_fields, events_schema

_WITHOUT_FIELD = ("recency", "exists")
_NUMERIC = ("sum", "avg", "min", "max")
_OF_MEASURES = ("of", "from", "where", "window", "windows", "unit")


def check_profile(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of `profile.yaml`."""
    at = At(scope.workspace, "profile.yaml")
    attributes = attribute_fields(scope.workspace)
    records = [name for name, source in scope.workspace.sources.items() if source.kind == "record"]
    for name, attribute in scope.workspace.profile.attributes.items():
        if name not in attributes and not may_define(scope.workspace.faulty, "field", name):
            message = f"No record source has a field {name!r}."
            yield at.key_fault("W130", message, "attributes", name, valid=nearest(name, attributes))
        path = ("attributes", name, "sources")
        yield from at.all_known("record source", attribute.sources, records, *path)
        if attribute.policy == "precedence" and not attribute.sources:
            message = "`precedence` needs `sources`, the most trusted first."
            yield at.fault("W121", message, "attributes", name, "policy")


def check_traits(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of all traits."""
    for name, trait in scope.workspace.traits.items():
        at = At(scope.workspace, f"traits/{name}.yaml")
        yield from at.one_of({"measure": trait.measure, "expression": trait.expression})
        yield from _windows(at, trait)
        if trait.expression is not None:
            yield from _of_an_expression(at)
        elif trait.measure is not None:
            yield from _measure(scope, at, trait)
    yield from _clashes(scope)


def _of_an_expression(at: At) -> Iterator[Fault]:
    for key in _OF_MEASURES:
        if at.states(key):
            yield at.key_fault("W121", f"A trait with an expression has no `{key}`.", key)


def _windows(at: At, trait: Trait) -> Iterator[Fault]:
    yield from at.one_of({"window": trait.window, "windows": trait.windows}, needed=False)
    yield from at.readable(trait.window, parse_window, "window")
    seen: set[str] = set()
    for index, text in enumerate(trait.windows):
        yield from at.readable(text, parse_window, "windows", index)
        suffix = _suffix(text)
        if suffix and suffix in seen:
            yield at.fault("W133", f"{text!r} is in the list twice.", "windows", index)
        seen.add(suffix)


def _suffix(window: str) -> str:
    try:
        return parse_window(window).suffix
    except ValueError:
        return ""


def _measure(scope: Scope, at: At, trait: Trait) -> Iterator[Fault]:
    if not trait.from_:
        yield at.fault("W121", "A measure needs `from`, the event types it is over.", "measure")
    yield from at.all_known("event type", trait.from_, scope.events, "from")
    if trait.measure in _WITHOUT_FIELD and trait.of is not None:
        yield at.key_fault("W121", f"`{trait.measure}` is of the events, not of a field.", "of")
    if trait.measure not in (*_WITHOUT_FIELD, "count") and trait.of is None:
        yield at.fault("W121", f"`{trait.measure}` needs `of`, the field to measure.", "measure")
    if trait.measure != "recency" and at.states("unit"):
        yield at.key_fault("W121", "Only `recency` has a `unit`.", "unit")
    yield from measured_field(scope, at, trait.measure, trait.of, trait.from_, "of")


def measured_field(
    scope: Scope, at: At, measure: str | None, of: str | None, events: tuple[str, ...], *path: str | int
) -> Iterator[Fault]:
    """Yield the faults of the field that a measure is of: unknown, of two types, or no number."""
    known = [event for event in events if event in scope.events]
    if of is None or not known:
        return
    schema = events_schema(scope.events, known)
    yield from at.unknown("field", of, schema, *path)
    types = _types(scope, known, of)
    if len(types) > 1:
        listed = ", ".join(f"{kind} in {event}" for event, kind in types.items())
        yield at.fault("W131", f"The field {of!r} has several types: {listed}.", *path)
    elif measure in _NUMERIC and of in schema and not is_numeric(schema[of]):
        numeric = [name for name, kind in schema.items() if is_numeric(kind)]
        message = f"`{measure}` needs numbers, and {of!r} is {schema[of]}."
        yield at.fault("W134", message, *path, valid=numeric)


def _types(scope: Scope, events: list[str], field: str) -> dict[str, Type]:
    """Return an event type for each type that the field has among the events, the other way around."""
    first: dict[Type, str] = {}
    for event in events:
        kind = scope.events[event].get(field)
        if kind is not None:
            first.setdefault(kind, event)
    return {event: kind for kind, event in first.items()}


def _clashes(scope: Scope) -> Iterator[Fault]:
    attributes = attribute_fields(scope.workspace)
    taken = {"holdings", "leading_product", "is_known", "profile"}
    count = Counter(name for base in scope.workspace.traits for name in _made(scope, base))
    for base in scope.workspace.traits:
        at = At(scope.workspace, f"traits/{base}.yaml")
        for name in _made(scope, base):
            if name in attributes:
                message = f"{name!r} is an attribute already; a trait needs a name of its own."
                yield at.fault("W132", message, hint="Rename the file.")
            if name in taken:
                yield at.fault("W132", f"{name!r} is a name of every profile.", hint="Rename the file.")
            if count[name] > 1:
                yield at.fault("W132", f"{name!r} is made by several traits.", "windows")


def _made(scope: Scope, base: str) -> tuple[str, ...]:
    trait = scope.workspace.traits[base]
    suffixes = dict.fromkeys(_suffix(text) for text in trait.windows)
    return tuple(f"{base}_{suffix}" for suffix in suffixes if suffix) or (base,)
