"""A contact as its row's body holds it."""

from __future__ import annotations

import msgspec

from tilltal.core.operational import Contacted as Row
from tilltal.decisions.contacting.policy import Made, Outcome, Verdict
from tilltal.decisions.contacting.reservations import Contacted


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A contact that was asked for: as reserved (None = denied), the reasons against it, what came of it.

    `outcomes` are pairs of kind and instant.
    """

    id: str
    token: int
    at: int
    contacted: Contacted | None
    reasons: tuple[str, ...] = ()
    retry_at: int | None = None
    outcomes: tuple[tuple[str, int], ...] = ()

    def made(self, now: int) -> Made | None:
        """Return it as a past contact, if it counts at an instant."""
        one = self.contacted
        return Made(one.at, one.contact) if one is not None and one.counts(now) else None

    def came(self) -> list[Outcome]:
        """Return what came of it."""
        one = self.contacted
        return [] if one is None else [Outcome(at, kind, one.contact) for kind, at in self.outcomes]

    def with_outcome(self, kind: str, at: int) -> Entry:
        """Return it with one more outcome; the same of the same instant counts once."""
        if self.contacted is None or (kind, at) in self.outcomes:
            return self
        return msgspec.structs.replace(self, outcomes=(*self.outcomes, (kind, at)))

    def row(self) -> Row:
        """Return it as the store keeps it."""
        last = None if self.contacted is None else max([self.at, *(at for _, at in self.outcomes)])
        return Row(id=self.id.encode(), token=self.token, at=self.at, last=last, body=_encode(self))


def judged(name: str, token: int, at: int, verdict: Verdict, contacted: Contacted | None) -> Entry:
    """Return the entry of a request that was judged."""
    return Entry(
        id=name,
        token=token,
        at=at,
        contacted=contacted,
        reasons=verdict.reasons,
        retry_at=verdict.retry_at,
    )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def entry_of(row: Row) -> Entry:
    """Read a row.

    Raises:
        msgspec.DecodeError: if its body is no entry.
    """
    return _decode(row.body)
