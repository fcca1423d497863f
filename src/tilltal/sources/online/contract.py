"""A source's contract for single messages: what the batch promises of a file's rows, in Python and at once.

The same columns, casts, limits, event ids and reasons as the queries of `checked` and `history`, read from
the JSON document of a message instead of a line of a JSON Lines file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Literal, Self

import msgspec

from tilltal.core.instants import micros
from tilltal.core.names import is_name
from tilltal.core.time import local_date, parse_instant
from tilltal.governance.normalise import Normaliser
from tilltal.sources.casts import Context
from tilltal.sources.checked import FUTURE_ALLOWED
from tilltal.sources.inputs import Input, inputs_of
from tilltal.sources.online import clock
from tilltal.sources.online.casts import as_text, field_reader, reader, reason
from tilltal.sources.online.cells import Document, Find, finder, texts
from tilltal.sources.online.times import DAY, EPOCH_DAY
from tilltal.sources.reasons import SEPARATOR, Reason
from tilltal.workspace.definitions.identity import Identity
from tilltal.workspace.definitions.sources import Source
from tilltal.workspace.names import IDENTITY_LABEL, known_values

_EARLIEST_DAY = date(1900, 1, 1).toordinal()
_EARLIEST = (_EARLIEST_DAY - EPOCH_DAY) * DAY
_FUTURE = FUTURE_ALLOWED // timedelta(microseconds=1)
_Values = dict[str, object]
_Stated = tuple[tuple[str, str], ...]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A message that keeps its contract.

    Attributes:
        event_id: 16 bytes, those of the UUID that the batch gives the same message.
        message_id: the sender's id of it.
        kind: what the source brings.
        name: the event type, or the source of anything else.
        source: the source's name.
        at: when it happened: microseconds since 1970, UTC.
        received: when it arrived, likewise.
        identities: (namespace, text) of each identifier, as it was written, by priority, highest first.
        fields: what history keeps, typed as there (money in minor units, times naive UTC), without those that
            are absent. Of a holding: product, opened, closed; of a consent: purpose, channel, granted.
        personal: fields that name a person, as text: for the vault only.
    """

    event_id: bytes
    message_id: str
    kind: Literal["event", "record", "holding", "consent"]
    name: str
    source: str
    at: int
    received: int
    identities: tuple[tuple[str, str], ...]
    fields: dict[str, object]
    personal: dict[str, str] = {}

    @property
    def body(self) -> bytes:
        """The fields as msgpack; dates and times as ISO texts."""
        return msgspec.msgpack.encode(self.fields)


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A message that breaks its contract, with the batch's reasons. `source` is empty if none took it."""

    source: str
    reasons: tuple[Reason, ...]


class OnlineContract:
    """The contract of one source of the collector, made ready to read many messages."""

    def __init__(self, name: str, source: Source, context: Context, identity: Identity) -> None:
        self.name = name
        self.source = source
        self._context = context
        self._identity = identity
        inputs = [one for one in inputs_of(source) if one.role != "received"]
        self._roles = [_Part.of(one) for one in inputs if "." not in one.role]
        self._role_casts = [(part.one.role, part.find, *reader(part.one, context)) for part in self._roles]
        fields = _of(inputs, "fields.")
        self._field_casts = [(one.name, finder(one.column), *field_reader(one, context)) for one in fields]
        self._personal = [one.name for one in fields if IDENTITY_LABEL in one.labels]
        order = {namespace.name: n for n, namespace in enumerate(identity.namespaces)}
        ranked = sorted(_of(inputs, "identities."), key=lambda one: order.get(one.name, len(order)))
        self._identities = [(one.name, finder(one.column), texts(one.map)) for one in ranked]
        self._plain = frozenset(filter(is_name, known_values(source.event)))
        self._effective = None
        if source.effective is not None:
            self._effective = micros(parse_instant(source.effective, context.zone))
        self._head = hashlib.md5((name + SEPARATOR).encode(), usedforsecurity=False)

    def read(self, document: Document, received: datetime) -> Row | Rejected:
        """Return the message as the source keeps it, or every reason why it is turned away.

        A row states at least one identifier; whether any is usable, its normalised form has to tell: see
        `nobody`.

        Args:
            document: the message as a JSON decoder gives it; a time may be an aware datetime, such as
                `timestamp` once it is corrected for the sender's clock.
            received: when it arrived, aware; no time may lie more than five minutes after it.
        """
        if type(document) is not dict and not isinstance(document, Mapping):
            return self._rejected([Reason(code="S326")])
        try:
            return self._read(document, received)
        except (UnicodeEncodeError, RecursionError):  # half a surrogate pair, endless nesting: no JSON
            return self._rejected([Reason(code="S326")])

    def nobody(self) -> Rejected:
        """Return the rejection of a row none of whose identifiers is usable."""
        return self._rejected([Reason(code="S337")])

    def _read(self, document: Document, received: datetime) -> Row | Rejected:
        arrival = micros(received)
        reasons: list[Reason] = []
        values: _Values = {}
        for role, find, short, slow in self._role_casts:
            raw = find(document)
            value = short(raw)
            values[role] = slow(raw, reasons) if value is None else value
        fields = self._field_values(document, reasons)
        stated = self._stated(document)
        late = self._late(values, arrival)
        if reasons or late or not stated:
            reasons += [reason(code, part.one, part.text(document)) for code, part in late]
            return self._rejected([*reasons, *self._unidentified(stated, received)])
        return self._row(values, arrival, stated, fields)

    def _field_values(self, document: Document, reasons: list[Reason]) -> _Values:
        values = {}
        for name, find, short, slow in self._field_casts:
            raw = find(document)
            value = short(raw)
            if value is None:
                value = slow(raw, reasons)
            if value is not None:
                values[name] = value
        return values

    def _stated(self, document: Document) -> _Stated:
        stated = []
        for namespace, find, cell in self._identities:
            text = cell(find(document))
            if text is not None:
                stated.append((namespace, text))
        return tuple(stated)

    def _row(self, values: _Values, arrival: int, stated: _Stated, fields: _Values) -> Row:
        message = str(values["id"])
        event_id = self._head.copy()
        event_id.update(message.encode())
        kind = self.source.kind
        personal = {}
        for name in self._personal:
            if name in fields:
                personal[name] = as_text(fields.pop(name))
        return Row(
            event_id=event_id.digest(),
            message_id=message,
            kind=kind,
            name=str(values["event"]) if kind == "event" else self.name,
            source=self.name,
            at=self._at(values, arrival),
            received=arrival,
            identities=stated,
            fields=_KEPT[kind](values) if kind in _KEPT else fields,
            personal=personal,
        )

    def _at(self, values: _Values, arrival: int) -> int:
        at, opened = values.get("at"), values.get("opened")
        if isinstance(at, int):
            return at
        if isinstance(opened, int):
            return clock.midnight(opened, self._context.zone)
        return arrival if self._effective is None else self._effective

    def _late(self, values: _Values, arrival: int) -> list[tuple[str, _Part]]:
        """Return what can be said of a role only once all casts are done, in the batch's order."""
        found = []
        event, at = values.get("event"), values.get("at")
        if isinstance(event, str) and event not in self._plain and not is_name(event):
            found.append(("S340", "event"))
        if isinstance(at, int) and not _EARLIEST <= at <= arrival + _FUTURE:
            found.append(("S339" if at < _EARLIEST else "S338", "at"))
        if self.source.kind == "holding":
            found += _holding_faults(values.get("opened"), values.get("closed"))
        if not found:
            return []
        return [(code, part) for code, role in found for part in self._roles if part.one.role == role]

    def _unidentified(self, stated: _Stated, received: datetime) -> Iterator[Reason]:
        normaliser = Normaliser(self._identity, local_date(received, self._context.zone))
        if all(normaliser.one(namespace, text) is None for namespace, text in stated):
            yield Reason(code="S337")

    def _rejected(self, reasons: Iterable[Reason]) -> Rejected:
        return Rejected(source=self.name, reasons=tuple(reasons))


class _Part(msgspec.Struct, frozen=True):
    """An input that the kind of source asks for, with what finds it in a message."""

    one: Input
    find: Find

    @classmethod
    def of(cls, one: Input) -> Self:
        return cls(one, _always(one.value) if one.value is not None else finder(one.column))

    def text(self, document: Document) -> str | None:
        """Return the cell, for a reason to quote."""
        return texts(self.one.map)(self.find(document))


def _always(value: str) -> Find:
    return lambda document: value


def _of(inputs: Iterable[Input], role: str) -> list[Input]:
    return [one for one in inputs if one.role.startswith(role)]


def _holding_faults(opened: object, closed: object) -> Iterator[tuple[str, str]]:
    if isinstance(opened, int):
        if opened < _EARLIEST_DAY:
            yield "S339", "opened"
        if isinstance(closed, int) and closed < opened:
            yield "S328", "closed"


def _holding(values: _Values) -> _Values:
    closed = values.get("closed")
    return {
        "product": values["product"],
        "opened": date.fromordinal(int(str(values["opened"]))),
        "closed": date.fromordinal(closed) if isinstance(closed, int) else None,
    }


def _consent(values: _Values) -> _Values:
    channel = values.get("channel")
    return {
        "purpose": values["purpose"],
        "channel": "*" if channel is None else channel,
        "granted": values["granted"],
    }


_KEPT: Mapping[str, Callable[[_Values], _Values]] = {"holding": _holding, "consent": _consent}
