"""An audience case as a server lives it: facts one by one as they arrive, the state as bytes in between."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from tests.cases.audience_setup import IDENTIFY, Setup

from tilltal.customers.live.facts.pending import Fact
from tilltal.customers.live.facts.records import RecordFact
from tilltal.customers.live.profile import Moved, ProfileProgram, ProfileState, Reference
from tilltal.customers.traits.online import Event
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.segments import Audience
from tilltal.workspace.definitions.sources import FieldType, Read, Source
from tilltal.workspace.load import load
from tilltal.workspace.workspace import Workspace

FIELDS: dict[Type, FieldType] = {
    Type.TEXT: "text",
    Type.ANY: "any",
    Type.INTEGER: "integer",
    Type.NUMBER: "number",
    Type.BOOLEAN: "boolean",
}
_TOKEN = 1


class LiveForm:
    """The case, customer by customer."""

    def __init__(self, setup: Setup, zone: ZoneInfo) -> None:
        self._setup = setup
        self._zone = zone

    def state(self, at: datetime) -> dict[str, dict[str, object]]:
        """Return customer → trait, attribute or the audience → value, as of an instant."""
        return {name: self._values(number, at) for number, name in enumerate(self._setup.customers)}

    def moves(self, number: int, after: datetime, until: datetime) -> list[tuple[datetime, bool]]:
        """Return when a customer came in (True) or went out, after one instant and until another."""
        _, moved = self._lived(number, after, until)
        return [(one.at, bool(one.entered)) for one in moved if after < one.at and (one.entered or one.left)]

    @cached_property
    def _program(self) -> ProfileProgram:
        return ProfileProgram(_workspace(self._setup, self._zone), Reference())

    def _values(self, number: int, at: datetime) -> dict[str, object]:
        data, _ = self._lived(number, at, at)
        names = [trait.name for trait in self._setup.traits]
        names += [*self._setup.attributes, self._setup.audience.name]
        return self._program.values(self._program.decode(data), Clock(at, self._zone), names)

    def _lived(self, number: int, start: datetime, until: datetime) -> tuple[bytes, list[Moved]]:
        """Live from `start`, or from the first fact if that is earlier, until an instant."""
        events = [event for event in self._setup.events[number] if event.received <= until]
        events.sort(key=lambda event: event.received)
        data = self._program.encode(self._program.new())
        data, moved = self._touched(data, min([start, *(event.received for event in events)]), [])
        for received, arrived in groupby(events, key=lambda event: event.received):
            data, more = self._touched(data, received, list(arrived))
            moved += more
        data, more = self._touched(data, until, [])
        return data, moved + more

    def _touched(self, data: bytes, at: datetime, events: list[Event]) -> tuple[bytes, list[Moved]]:
        state: ProfileState = self._program.decode(data)
        clock = Clock(at, self._zone)
        for event in events:
            for fact in self._facts(event):
                self._program.add(state, _TOKEN, fact, clock)
        moved = self._program.advance(state, clock)
        return self._program.encode(state), list(moved)

    def _facts(self, event: Event) -> Iterator[Fact]:
        """Give an event as its source would, and a record for each attribute that it states."""
        schema = self._setup.schemas[event.type]
        yield msgspec.structs.replace(event, fields=_stored(event.fields, schema.fields))
        if event.type != IDENTIFY:
            return
        for name, kind in self._setup.attributes.items():
            if name in event.fields:
                yield RecordFact(
                    source=name,
                    at=event.at,
                    received=event.received,
                    event_id=event.event_id,
                    fields=_stored({name: event.fields[name]}, {name: kind}),
                )


def _stored(values: Mapping[str, object], kinds: Mapping[str, Type]) -> dict[str, object]:
    """Return the fields that are declared and not NULL, whole numbers as numbers where these are declared."""
    return {
        name: float(value) if kinds[name] is Type.NUMBER and type(value) is int else value
        for name, value in values.items()
        if name in kinds and value is not None
    }


def bare_workspace(zone: ZoneInfo) -> Workspace:
    """Return a workspace that defines nothing but a person's identifier."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "tilltal.yaml").write_text(f"name: case\ntime_zone: {zone.key}\n", encoding="utf-8")
        (root / "identity.yaml").write_text("namespaces: [{name: crm}]\n", encoding="utf-8")
        return load(root)


def event_source(name: str, fields: Mapping[str, Type]) -> Source:
    """Return a source of one type of events."""
    return _source("event", fields, event=name)


def _workspace(setup: Setup, zone: ZoneInfo) -> Workspace:
    sources = {f"event {name}": event_source(name, one.fields) for name, one in setup.schemas.items()}
    sources |= {name: _source("record", {name: kind}) for name, kind in setup.attributes.items()}
    audiences = {"case": Audience(condition=setup.condition)}
    return msgspec.structs.replace(
        bare_workspace(zone), sources=sources, traits=setup.definitions, audiences=audiences
    )


def _source(kind: Literal["event", "record"], fields: Mapping[str, Type], event: str | None = None) -> Source:
    return Source(
        kind=kind,
        read=Read(files="rows.csv"),
        identities={"crm": "id"},
        at="at",
        event=event,
        fields={name: FIELDS[each] for name, each in fields.items()},
    )
