"""Facts in the log's words and back: message id and stored fields as msgpack, and as the values of states.

msgpack knows no dates, so date and timestamp fields lie as ISO texts; the definitions say which they are.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from struct import Struct
from types import GenericAlias, new_class
from typing import Final, TypeAlias, TypedDict

import msgspec

from tilltal.core.instants import instant_of
from tilltal.core.operational import Logged
from tilltal.customers.live.facts.consent_answers import ConsentFact
from tilltal.customers.live.facts.holding_facts import HoldingFact
from tilltal.customers.live.facts.records import RecordFact
from tilltal.customers.traits.online import Event
from tilltal.runtime.live.history.fitting import fitting
from tilltal.workspace.definitions.sources import FieldType
from tilltal.workspace.names import event_fields, kept_fields
from tilltal.workspace.workspace import Workspace

Fact: TypeAlias = Event | RecordFact | ConsentFact | HoldingFact

_received = lru_cache(maxsize=64)(instant_of)  # messages that come together arrive together
_groups = Struct("8s4s4s4s12s").unpack  # the digits of a UUID
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, dict[str, object]]).decode


def body_of(message_id: str, fields: Mapping[str, object]) -> bytes:
    """Return a message's id and its stored fields as a body of the log."""
    return _encode((message_id, fields))


def message_of(body: bytes) -> tuple[str, dict[str, object]]:
    """Return message id and stored fields of a body; dates as ISO texts."""
    return _decode(body)


class FactReader:
    """Reads rows of the log under one set of definitions; fields that are no longer declared are left out.

    A value that came when its field had another type is what today's type makes of it.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._events = {name: _Reading(fields) for name, fields in event_fields(workspace).items()}
        self._records = {
            name: _Reading(kept_fields(source))
            for name, source in workspace.sources.items()
            if source.kind == "record"
        }

    def read(self, row: Logged) -> Fact | None:
        """Return the fact of a row, or None where the definitions no longer know its event type or source."""
        if row.kind == "event":
            reading = self._events.get(row.name)
            return None if reading is None else _event(row, reading)
        if row.kind == "record":
            reading = self._records.get(row.name)
            return None if reading is None else _record(row, reading)
        fields = _decode(row.body)[1]
        return _consent(row, fields) if row.kind == "consent" else _holding(row, fields)


_IN_MSGPACK: Final[Mapping[FieldType, object]] = {
    "text": str | None,
    "integer": int | None,
    "money": int | None,
    "number": int | float | None,
    "boolean": bool | None,
}


class _Reading:
    """Reads the stored fields of one event type or source."""

    def __init__(self, kinds: Mapping[str, FieldType]) -> None:
        self._fitting = {name: fitting(kind) for name, kind in kinds.items()}
        self._written = [name for name, kind in kinds.items() if kind in ("date", "timestamp")]
        hints = {name: _IN_MSGPACK.get(kind, object) for name, kind in kinds.items()}
        stored = new_class(
            "Stored", (TypedDict,), {"total": False}, lambda body: body.update(__annotations__=hints)
        )
        self._decode = msgspec.msgpack.Decoder(GenericAlias(tuple, (str, stored))).decode

    def fields(self, body: bytes) -> dict[str, object]:
        """Return the fields that are declared, as today's types make them."""
        try:
            found: dict[str, object] = self._decode(body)[1]
        except msgspec.ValidationError:  # a field had another type
            found = {name: value for name, value in _decode(body)[1].items() if name in self._fitting}
            return {name: self._fitting[name](value) for name, value in found.items()}
        for name in self._written:
            if name in found:
                found[name] = self._fitting[name](found[name])
        return found


def _uuid(event_id: bytes) -> str:
    """Return 16 bytes as a UUID is written; the class of UUIDs takes six times as long."""
    return b"-".join(_groups(hexlify(event_id))).decode()


def _event(row: Logged, reading: _Reading) -> Event:
    received = _received(row.received)
    return Event(
        type=row.name,
        at=received if row.at == row.received else instant_of(row.at),
        received=received,
        event_id=_uuid(row.event_id),
        fields=reading.fields(row.body),
    )


def _record(row: Logged, reading: _Reading) -> RecordFact:
    return RecordFact(
        source=row.name,
        at=instant_of(row.at),
        received=instant_of(row.received),
        event_id=_uuid(row.event_id),
        fields=reading.fields(row.body),
    )


def _consent(row: Logged, fields: Mapping[str, object]) -> ConsentFact:
    return ConsentFact(
        purpose=str(fields["purpose"]),
        channel=str(fields["channel"]),
        granted=fields["granted"] is True,
        at=instant_of(row.at),
        received=instant_of(row.received),
    )


def _holding(row: Logged, fields: Mapping[str, object]) -> HoldingFact:
    closed = fields.get("closed")
    return HoldingFact(
        source=row.source,
        product=str(fields["product"]),
        opened=date.fromisoformat(str(fields["opened"])),
        closed=None if closed is None else date.fromisoformat(str(closed)),
        received=instant_of(row.received),
    )
