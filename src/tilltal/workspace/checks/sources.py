"""Checks `sources/*.yaml`: what each kind of source needs, how it is read, and that fields agree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from tilltal.core.errors import Fault, nearest
from tilltal.core.time import parse_instant
from tilltal.workspace.absent import may_define
from tilltal.workspace.checks.scope import At, Path, Scope, read_format, read_zone
from tilltal.workspace.definitions.sources import COLLECTOR_DIRECTIVES, Column, Field, Read, Source
from tilltal.workspace.names import declared_type, event_types, known_values
from tilltal.workspace.workspace import Workspace

_UTC = ZoneInfo("UTC")
_NEEDED = {
    "event": ("event", "at"),
    "record": ("fields",),
    "holding": ("product", "opened"),
    "consent": ("purpose", "channel", "granted", "at"),
}
_ALLOWED = {
    "event": ("event", "at", "fields"),
    "record": ("at", "effective", "fields"),
    "holding": ("product", "opened", "closed"),
    "consent": ("purpose", "channel", "granted", "at"),
}
_KIND_KEYS = tuple(dict.fromkeys(key for keys in _ALLOWED.values() for key in keys))
_COLUMNS = ("at", "received", "event", "product", "opened", "closed", "purpose", "channel", "granted")
_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_PACKED = (".gz", ".zst")
# Columns of the stored events and records; see docs/explanation/data.md.
_RESERVED = ("profile", "event_id", "at", "received", "source", "identity")


def check_sources(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of all sources."""
    for name, source in scope.workspace.sources.items():
        at = At(scope.workspace, f"sources/{name}.yaml")
        yield from _read(at, source.read)
        yield from _collector(at, source)
        yield from _kind(at, source)
        yield from _identities(at, source, scope.workspace)
        yield from _columns(at, source)
        yield from _known(at, source, scope.workspace)
        for field, spec in source.fields.items():
            yield from _field(at, field, spec)
    yield from _clashes(scope.workspace)


def _read(at: At, read: Read) -> Iterator[Fault]:
    given = {"files": read.files, "query": read.query, "collector": read.collector}
    yield from at.one_of(given, "read")
    yield from at.one_of({"attach": read.attach, "adbc": read.adbc}, "read", needed=False)
    if read.files is not None and read.format is None and not _has_known_ending(read.files):
        hint = "Add `format`: csv, jsonl or parquet."
        yield at.fault("W121", "The ending does not tell the format.", "read", "files", hint=hint)
    for key in ("attach", "adbc"):
        if getattr(read, key) and read.query is None:
            yield at.key_fault("W121", f"`{key}` needs a `query`.", "read", key)
    if read.adbc and "driver" not in read.adbc:
        yield at.fault("W121", "ADBC needs a `driver`.", "read", "adbc", valid=("driver", "uri"))
    for key in ("delimiter", "quote"):
        if len(getattr(read.csv, key)) != 1 and not (key == "quote" and read.csv.quote == ""):
            yield at.fault("W122", f"`{key}` must be one character.", "read", "csv", key)
    if not read.csv.header and not read.csv.columns:
        yield at.fault("W121", "A file without header needs `columns`.", "read", "csv", "header")


def _collector(at: At, source: Source) -> Iterator[Fault]:
    """Check what only a source of the server's collector has, or cannot have."""
    read = source.read
    if read.collector is None:
        if read.event:
            yield at.key_fault("W121", "`event` needs a `collector`.", "read", "event")
        return
    if read.event and isinstance(source.event, Column):
        hint = "Its `values` and `map` say which messages the source takes."
        yield at.key_fault("W121", "The column of `event` tells this already.", "read", "event", hint=hint)
    if read.event and "track" not in read.collector:
        yield at.key_fault("W121", "Only messages of the type `track` have an event.", "read", "event")
    for path, form in _formats(source):
        unknown = [text for text in re.findall(r"%-?(.)", form) if text not in COLLECTOR_DIRECTIVES]
        if unknown:
            message = f"The collector does not read %{unknown[0]} of {form!r}."
            valid = tuple(f"%{letter}" for letter in COLLECTOR_DIRECTIVES)
            yield at.fault("W122", message, *path, "format", valid=valid)


def _formats(source: Source) -> Iterator[tuple[Path, str]]:
    for key in _COLUMNS:
        column = getattr(source, key)
        if isinstance(column, Column) and column.format is not None:
            yield (key,), column.format
    for name, field in source.fields.items():
        if isinstance(field, Field) and field.format is not None:
            yield ("fields", name), field.format


def _has_known_ending(files: str) -> bool:
    name = files.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return name.endswith(_ENDINGS)


def _kind(at: At, source: Source) -> Iterator[Fault]:
    is_collected = source.read.collector is not None
    for key in _NEEDED[source.kind]:
        if not at.states(key) and not (is_collected and key == "at"):
            yield at.fault("W121", f"A source of kind {source.kind} needs the key `{key}`.", "kind")
    for key in _KIND_KEYS:
        if at.states(key) and key not in _ALLOWED[source.kind]:
            message = f"A source of kind {source.kind} has no key `{key}`."
            yield at.key_fault("W121", message, key, valid=_ALLOWED[source.kind])
    if source.kind == "record":
        yield from at.one_of({"at": source.at, "effective": source.effective})
    yield from at.readable(source.effective, _read_instant, "effective")


def _identities(at: At, source: Source, workspace: Workspace) -> Iterator[Fault]:
    if not source.identities:
        yield at.fault("W121", "A source needs at least one identity.", "identities")
    valid = [namespace.name for namespace in workspace.identity.namespaces]
    for name, column in source.identities.items():
        path = ("identities", name)
        if may_define(workspace.faulty, "namespace", name):
            pass
        elif "identity.yaml" in workspace.documents and name not in valid:
            yield at.key_fault("W130", f"There is no namespace {name!r}.", *path, valid=nearest(name, valid))
        elif "identity.yaml" not in workspace.documents:
            yield from at.plain("namespace", name, *path)
        yield from _column(at, column, path)


def _columns(at: At, source: Source) -> Iterator[Fault]:
    for key in _COLUMNS:
        yield from _column(at, getattr(source, key), (key,))


def _column(at: At, column: str | Column | bool | None, path: Path) -> Iterator[Fault]:
    if isinstance(column, Column):
        yield from at.readable(column.format, read_format, *path, "format")
        yield from at.readable(column.time_zone, read_zone, *path, "time_zone")
    elif column == "":
        yield at.fault("W122", "A column needs a name.", *path)


def _known(at: At, source: Source, workspace: Workspace) -> Iterator[Fault]:
    """Check the fixed or declared names of event types, products, purposes and channels."""
    for key, what in (("event", "event type"), ("product", "product")):
        column = getattr(source, key)
        if isinstance(column, Column) and not known_values(column):
            hint = "Add `values` or `map`."
            yield at.fault("W121", f"Say which {what}s the column can hold.", key, hint=hint)
        for name in known_values(column):
            yield from at.plain(what, name, key)
    for name in known_values(source.purpose):
        yield from at.unknown("purpose", name, workspace.consent.purposes, "purpose")
    for name in known_values(source.channel):
        yield from at.unknown("channel", name, (*workspace.settings.channels, "*"), "channel")


def _field(at: At, name: str, spec: Field | str) -> Iterator[Fault]:
    path = ("fields", name)
    yield from at.plain("field", name, *path)
    if name in _RESERVED:
        hint = f"Name it otherwise and add `column: {name}`."
        yield at.key_fault("W132", f"Every row has its own {name!r} already.", *path, hint=hint)
    if isinstance(spec, Field):
        yield from at.readable(spec.format, read_format, *path, "format")
        yield from at.readable(spec.time_zone, read_zone, *path, "time_zone")
        yield from _limits(at, spec, path)


def _limits(at: At, spec: Field, path: Path) -> Iterator[Fault]:
    is_number = spec.type in ("integer", "number", "money")
    for key in ("minimum", "maximum"):
        if getattr(spec, key) is not None and not is_number:
            yield at.key_fault("W121", f"A {spec.type} field has no `{key}`.", *path, key)
    if spec.minimum is not None and spec.maximum is not None and spec.minimum > spec.maximum:
        yield at.fault("W135", "`minimum` is above `maximum`.", *path, "minimum")
    if spec.values and spec.type not in ("text", "any"):
        yield at.key_fault("W121", f"A {spec.type} field has no `values`.", *path, "values")


def _clashes(workspace: Workspace) -> Iterator[Fault]:
    """A field of one event type, or an attribute, has one type in all sources."""
    first: dict[tuple[str, str], str] = {}
    for name, source in workspace.sources.items():
        owners = event_types(source) or (("",) if source.kind == "record" else ())
        for field, spec in source.fields.items():
            for owner in owners:
                other = first.setdefault((owner, field), name)
                earlier = workspace.sources[other].fields[field]
                if declared_type(earlier) != declared_type(spec):
                    yield _clash(workspace, field, owner, other, name)


def _clash(workspace: Workspace, field: str, event: str, other: str, name: str) -> Fault:
    there = workspace.place(f"sources/{other}.yaml", "fields", field)
    types = [declared_type(workspace.sources[source].fields[field]) for source in (name, other)]
    what = f"The field {field!r} of {event!r}" if event else f"The attribute {field!r}"
    message = f"{what} is {types[0]} here and {types[1]} at {there}."
    return At(workspace, f"sources/{name}.yaml").fault("W131", message, "fields", field)


def _read_instant(text: str) -> None:
    try:
        parse_instant(text, _UTC)
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is no instant; write one such as '2026-05-04' or '2026-05-04T06:00:00Z'"
        raise ValueError(message) from error
