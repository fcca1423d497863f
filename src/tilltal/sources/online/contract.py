"""A source's contract for single messages: what the batch promises of a file's rows, in Python and at once.

The same columns, casts, limits, event ids and reasons as the queries of `checked` and `history`, read from
the JSON document of a message instead of a line of a JSON Lines file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Literal, Self, TypeAlias, cast

import msgspec

from tilltal.core.instants import instant_of, micros
from tilltal.core.names import is_name
from tilltal.core.time import local_date, parse_instant
from tilltal.governance.normalise import Normaliser
from tilltal.sources.casts import Context
from tilltal.sources.checked import FUTURE_ALLOWED
from tilltal.sources.inputs import Input, inputs_of
from tilltal.sources.online import clock
from tilltal.sources.online.casts import Cast, Ways, as_text, cell_reader, field_reader, reader, reason
from tilltal.sources.online.cells import Document, Find, finder, path, texts
from tilltal.sources.online.quick import Quick
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
_Column: TypeAlias = tuple[int, str, str, Find | None, Quick, Cast]  # into what, as what, which, and how
_ROLES, _FIELDS, _IDENTITIES = range(3)


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
        fields = _of(inputs, "fields.")
        order = {namespace.name: n for n, namespace in enumerate(identity.namespaces)}
        ranked = sorted(_of(inputs, "identities."), key=lambda one: order.get(one.name, len(order)))
        read = [(one.one, reader(one.one, context)) for one in self._roles]
        self._fixed = {one.role: _constant(one.value, *ways) for one, ways in read if one.value is not None}
        self._columns = [
            *(_column(_ROLES, one, ways) for one, ways in read if one.value is None),
            *(_column(_FIELDS, one, field_reader(one, context)) for one in fields),
            *(_column(_IDENTITIES, one, cell_reader(one)) for one in ranked),
        ]
        self._personal = [one.name for one in fields if IDENTITY_LABEL in one.labels]
        self._plain = frozenset(filter(is_name, known_values(source.event)))
        self._kept = _KEPT.get(source.kind)
        self._effective = None
        if source.effective is not None:
            self._effective = micros(parse_instant(source.effective, context.zone))
        self._head = hashlib.md5((name + SEPARATOR).encode(), usedforsecurity=False)

    def read(self, document: Document, arrival: int) -> Row | Rejected:
        """Return the message as the source keeps it, or every reason why it is turned away.

        A row states at least one identifier; whether any is usable, its normalised form has to tell: see
        `nobody`.

        Args:
            document: the message as a JSON decoder gives it; a time may be an aware datetime, such as
                `timestamp` once it is corrected for the sender's clock.
            arrival: when it arrived, in microseconds; no time may lie more than five minutes after it.
        """
        if type(document) is not dict and not isinstance(document, Mapping):
            return self._rejected([Reason(code="S326")])
        reasons: list[Reason] = []
        found: tuple[_Values, _Values, _Values] = (self._fixed.copy(), {}, {})
        find = document.get
        try:
            for into, name, column, follow, short, slow in self._columns:
                raw = find(column)
                if raw is None and follow is not None:
                    raw = follow(document)
                value = short(raw)
                if value is None:
                    value = slow(raw, reasons)
                if value is not None:
                    found[into][name] = value
            values, fields, cells = found
            stated = cast("_Stated", tuple(cells.items()))
            late = self._late(values, arrival)
            if stated and not reasons and not late:
                return self._row(values, arrival, stated, fields)
            reasons += [reason(code, part.one, part.text(document)) for code, part in late]
            return self._rejected([*reasons, *self._unidentified(stated, arrival)])
        except (UnicodeEncodeError, RecursionError):  # half a surrogate pair, endless nesting: no JSON
            return self._rejected([Reason(code="S326")])

    def nobody(self) -> Rejected:
        """Return the rejection of a row none of whose identifiers is usable."""
        return self._rejected([Reason(code="S337")])

    def _row(self, values: _Values, arrival: int, stated: _Stated, fields: _Values) -> Row:
        message = str(values["id"])
        event_id = self._head.copy()
        event_id.update(message.encode())
        kind, at = self.source.kind, values.get("at")
        return Row(
            event_id=event_id.digest(),
            message_id=message,
            kind=kind,
            name=str(values["event"]) if kind == "event" else self.name,
            source=self.name,
            at=at if isinstance(at, int) else self._at(values, arrival),
            received=arrival,
            identities=stated,
            personal=self._taken_out(fields) if self._personal else {},
            fields=fields if self._kept is None else self._kept(values),
        )

    def _taken_out(self, fields: _Values) -> dict[str, str]:
        """Take the fields that name a person out of those that history keeps."""
        return {name: as_text(fields.pop(name)) for name in self._personal if name in fields}

    def _at(self, values: _Values, arrival: int) -> int:
        """Return when something without a time of its own happened."""
        opened = values.get("opened")
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

    def _unidentified(self, stated: _Stated, arrival: int) -> Iterator[Reason]:
        normaliser = Normaliser(self._identity, local_date(instant_of(arrival), self._context.zone))
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


def _column(into: int, one: Input, ways: Ways) -> _Column:
    return into, one.name, one.column, path(one.column), *ways


def _constant(value: str, short: Quick, slow: Cast) -> object:
    found = short(value)
    return slow(value, []) if found is None else found


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
