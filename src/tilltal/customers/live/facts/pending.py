"""Facts that count from a later instant on, kept with their fragment until then: as bytes and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

import msgspec

from tilltal.core.instants import instant_of, micros
from tilltal.core.time import utc_naive
from tilltal.customers.live.facts.consent_answers import ConsentFact
from tilltal.customers.live.facts.holding_facts import HoldingFact
from tilltal.customers.live.facts.records import RecordFact
from tilltal.customers.traits.online import Event

Fact: TypeAlias = Event | RecordFact | ConsentFact | HoldingFact

_KINDS: tuple[type[Fact], ...] = (Event, RecordFact, ConsentFact, HoldingFact)
_decoders = [msgspec.msgpack.Decoder(kind) for kind in _KINDS]


class Pending(msgspec.Struct, array_like=True, frozen=True):
    """A fact in waiting: from when it counts, in microseconds; which kind; itself.

    `days` and `instants` are the fields that msgpack has no type for.
    """

    since: int
    kind: int
    body: bytes
    days: dict[str, int] = {}
    instants: dict[str, int] = {}


def instants_of(fact: Fact) -> tuple[int, int]:
    """Return when a fact happened and when it arrived, in microseconds: once both lie behind, it counts.

    Of a holding it matters only when it was heard of.
    """
    received = micros(fact.received)
    return (received if isinstance(fact, HoldingFact) else micros(fact.at)), received


def packed(fact: Fact) -> Pending:
    """Return a fact as it waits."""
    since, kind = max(instants_of(fact)), _KINDS.index(type(fact))
    if not isinstance(fact, Event | RecordFact):
        return Pending(since, kind, msgspec.msgpack.encode(fact))
    fields = fact.fields
    instants = {name: _micros(value) for name, value in fields.items() if isinstance(value, datetime)}
    days = {
        name: value.toordinal()
        for name, value in fields.items()
        if isinstance(value, date) and name not in instants
    }
    plain = {name: value for name, value in fields.items() if name not in days and name not in instants}
    body = msgspec.msgpack.encode(_with_fields(fact, plain))
    return Pending(since, kind, body, days, instants)


def unpacked(pending: Pending) -> Fact:
    """Return the fact that waited."""
    fact: Fact = _decoders[pending.kind].decode(pending.body)
    if not isinstance(fact, Event | RecordFact):
        return fact
    fields: dict[str, Any] = {**fact.fields}
    fields |= {name: date.fromordinal(day) for name, day in pending.days.items()}
    fields |= {name: utc_naive(instant_of(at)) for name, at in pending.instants.items()}
    return _with_fields(fact, fields)


def _with_fields(fact: Event | RecordFact, fields: Mapping[str, object]) -> Event | RecordFact:
    return msgspec.structs.replace(fact, fields=fields)


def _micros(instant: datetime) -> int:
    return micros(instant if instant.tzinfo else instant.replace(tzinfo=UTC))
