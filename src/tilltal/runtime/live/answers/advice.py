"""One action of a decision as it is answered."""

from __future__ import annotations

from datetime import datetime

import msgspec

from tilltal.decisions.sending.choosing import Because


class Treatment(msgspec.Struct, frozen=True, kw_only=True):
    """What to say in a channel and language. `content` is the treatment's own fields (title, body, link)."""

    channel: str
    language: str
    content: dict[str, object] = {}


class Factors(msgspec.Struct, frozen=True):
    """Priority = P × C × V × L − cost."""

    P: float
    C: float
    V: float
    L: float


class Advised(msgspec.Struct, frozen=True, kw_only=True):
    """One action, best first (`rank` from 1). `reasons` are sentences, `contact` is its reservation.

    `cost` is what the contact costs, in major currency units, taken off P × C × V × L whatever the answer.
    `send_at` is the moment that was chosen for it, `send_reason` whose rhythm it is by; None = now.
    """

    rank: int
    action: str
    title: str
    channel: str | None
    priority: float
    factors: Factors
    cost: float = 0.0
    treatment: Treatment | None = None
    reasons: tuple[str, ...] = ()
    contact: str | None = None
    send_at: datetime | None = None
    send_reason: Because | None = None
