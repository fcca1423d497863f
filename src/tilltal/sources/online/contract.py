"""A source's contract for single messages: what the batch promises of a file's rows, in Python and at once.

The same columns, casts, limits, event ids and reasons as the queries of `checked` and `history`, read from
the JSON document of a message instead of a line of a JSON Lines file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date, timedelta
from typing import Literal, TypeAlias, cast

import msgspec

from tilltal.core.instants import instant_of, micros
from tilltal.core.names import is_name
from tilltal.core.time import local_date, parse_instant
from tilltal.governance.normalise import Normaliser
from tilltal.sources.casts import Context
from tilltal.sources.checked import FUTURE_ALLOWED
from tilltal.sources.inputs import Input, inputs_of
from tilltal.sources.online import clock
from tilltal.sources.online.casts import as_text, cell_reader, field_reader, reader, reason
from tilltal.sources.online.cells import Document, finder, texts
from tilltal.sources.online.times import DAY, EPOCH_DAY
from tilltal.sources.online.writing import Writer
from tilltal.sources.reasons import SEPARATOR, Reason
from tilltal.workspace.definitions.identity import Identity
from tilltal.workspace.definitions.sources import Source
from tilltal.workspace.names import IDENTITY_LABEL, known_values

_EARLIEST_DAY = date(1900, 1, 1).toordinal()
_EARLIEST = (_EARLIEST_DAY - EPOCH_DAY) * DAY
_FUTURE = FUTURE_ALLOWED // timedelta(microseconds=1)
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


Read: TypeAlias = Callable[[Document, int], Row | Rejected]
# What can be said of a role only once all casts are done, in the batch's order.
_FAULTS = (
    ("event", "S340", "event not in plain and not is_name(event)"),
    ("at", "S339", "at < EARLIEST"),
    ("at", "S338", "at > arrival + FUTURE"),
    ("opened", "S339", "opened < EARLIEST_DAY"),
    ("closed", "S328", "opened is not None and closed < opened"),
)
_HOLDING = (
    "{'product': product, 'opened': date_of(opened), 'closed': None if closed is None else date_of(closed)}"
)
_CONSENT = "{'purpose': purpose, 'channel': '*' if channel is None else channel, 'granted': granted}"


class OnlineContract:
    """The contract of one source of the collector, made ready to read many messages.

    Attributes:
        read: returns the message as the source keeps it, or every reason why it is turned away. A row states
            at least one identifier; whether any is usable, its normalised form has to tell: see `nobody`.
            It is given the message as a JSON decoder gives it, where a time may be an aware datetime, such as
            `timestamp` once it is corrected for the sender's clock; and when it arrived, in microseconds: no
            time may lie more than five minutes after it.
    """

    def __init__(self, name: str, source: Source, context: Context, identity: Identity) -> None:
        self.name = name
        self.source = source
        self._context = context
        self._identity = identity
        self.read: Read = self._written()

    def nobody(self) -> Rejected:
        """Return the rejection of a row none of whose identifiers is usable."""
        return self._rejected([Reason(code="S337")])

    def _written(self) -> Read:
        """Write the function that reads the source's messages."""
        inputs = [one for one in inputs_of(self.source) if one.role != "received"]
        roles = {one.role: one for one in inputs if "." not in one.role}
        fields = _of(inputs, "fields.")
        order = {namespace.name: n for n, namespace in enumerate(self._identity.namespaces)}
        ranked = sorted(_of(inputs, "identities."), key=lambda one: order.get(one.name, len(order)))
        writer = Writer(self._scope())
        writer.lines.append("closed = channel = None")  # the roles that need no column
        for role, one in roles.items():
            writer.read(one, reader(one, self._context), role)
        writer.lines.append("fields, stated, late = {}, (), []")
        for one in fields:
            writer.read(one, field_reader(one, self._context), "value")
            writer.lines.append(f"if value is not None: fields[{one.name!r}] = value")
        for one in ranked:
            writer.read(one, cell_reader(one), "value")
            writer.lines.append(f"if value is not None: stated += (({one.name!r}, value),)")
        for role, code, condition in _FAULTS:
            if role in roles:
                fault = f"({code!r}, {writer.name(roles[role])})"
                writer.lines.append(f"if {role} is not None and {condition}: late.append({fault})")
        writer.lines += [
            "if reasons or late or not stated: return refused(document, arrival, reasons, late, stated)",
            "event_id = head()",
            "event_id.update(id.encode())",
            f"return Row({_row(self.name, self.source, roles, fields)})",
        ]
        return cast("Read", writer.function(otherwise="no_json()"))

    def _scope(self) -> dict[str, object]:
        """Return what the text of the function calls and compares with."""
        source, zone = self.source, self._context.zone
        effective = None if source.effective is None else micros(parse_instant(source.effective, zone))
        return {
            "Row": Row,
            "refused": self._refused,
            "no_json": lambda: self._rejected([Reason(code="S326")]),
            "head": hashlib.md5((self.name + SEPARATOR).encode(), usedforsecurity=False).copy,
            "plain": frozenset(filter(is_name, known_values(source.event))),
            "is_name": is_name,
            "as_text": as_text,
            "date_of": date.fromordinal,
            "midnight": lambda day: clock.midnight(day, zone),
            "effective": effective,
            "EARLIEST": _EARLIEST,
            "EARLIEST_DAY": _EARLIEST_DAY,
            "FUTURE": _FUTURE,
        }

    def _refused(
        self,
        document: Document,
        arrival: int,
        reasons: Iterable[Reason],
        late: Iterable[tuple[str, Input]],
        stated: _Stated,
    ) -> Rejected:
        faults = [reason(code, one, _text(one, document)) for code, one in late]
        return self._rejected([*reasons, *faults, *self._unidentified(stated, arrival)])

    def _unidentified(self, stated: _Stated, arrival: int) -> Iterator[Reason]:
        normaliser = Normaliser(self._identity, local_date(instant_of(arrival), self._context.zone))
        if all(normaliser.one(namespace, text) is None for namespace, text in stated):
            yield Reason(code="S337")

    def _rejected(self, reasons: Iterable[Reason]) -> Rejected:
        return Rejected(source=self.name, reasons=tuple(reasons))


def _text(one: Input, document: Document) -> str | None:
    """Return the cell of an input, for a reason to quote."""
    return texts(one.map)(finder(one.column)(document) if one.value is None else one.value)


def _of(inputs: Iterable[Input], role: str) -> list[Input]:
    return [one for one in inputs if one.role.startswith(role)]


def _row(name: str, source: Source, roles: Collection[str], fields: Iterable[Input]) -> str:
    """Return the arguments of a row as text."""
    personal = [one.name for one in fields if IDENTITY_LABEL in one.labels]
    taken = f"{{one: as_text(fields.pop(one)) for one in {personal!r} if one in fields}}"
    happened = "arrival" if source.effective is None else "effective"
    arguments = {
        "event_id": "event_id.digest()",
        "message_id": "id",
        "kind": repr(source.kind),
        "name": "event" if source.kind == "event" else repr(name),
        "source": repr(name),
        "at": "at" if "at" in roles else "midnight(opened)" if "opened" in roles else happened,
        "received": "arrival",
        "identities": "stated",
        "personal": taken if personal else "{}",
        "fields": {"holding": _HOLDING, "consent": _CONSENT}.get(source.kind, "fields"),
    }
    return ", ".join(f"{key}={value}" for key, value in arguments.items())
