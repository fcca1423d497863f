"""A contact as the bodies of its rows hold it."""

from __future__ import annotations

import msgspec

from tilltal.core.operational import Contacted as Row
from tilltal.decisions.contacting.parts import Contact
from tilltal.decisions.contacting.policy import Made, Outcome, Verdict
from tilltal.decisions.contacting.reservations import Contacted

_ALSO = b"\xff"  # begins the row of a contact under another of its tokens; no text has this byte
_TOKEN_BYTES = 8


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A contact that was asked for: as reserved (None = denied), the reasons against it, what came of it.

    It is kept under `token`, and under those of `also` where the request named nobody known by several.
    `denied` is what was asked for, if it was denied. `outcomes` are pairs of kind and instant.
    """

    id: str
    token: int
    at: int
    contacted: Contacted | None
    also: tuple[int, ...] = ()
    denied: Contact | None = None
    reasons: tuple[str, ...] = ()
    retry_at: int | None = None
    outcomes: tuple[tuple[str, int], ...] = ()

    @property
    def tokens(self) -> tuple[int, ...]:
        """All tokens under which it is kept."""
        return (self.token, *self.also)

    @property
    def asked(self) -> Contact | None:
        """What was asked for; None if that was not kept."""
        return self.denied if self.contacted is None else self.contacted.contact

    def made(self, now: int) -> Made | None:
        """Return it as a past contact, if it counts at an instant."""
        one = self.contacted
        return Made(one.at, one.contact, one.sends) if one is not None and one.counts(now) else None

    def came(self) -> list[Outcome]:
        """Return what came of it."""
        one = self.contacted
        return [] if one is None else [Outcome(at, kind, one.contact) for kind, at in self.outcomes]

    def with_outcome(self, kind: str, at: int) -> Entry:
        """Return it with one more outcome; the same of the same instant counts once."""
        if self.contacted is None or (kind, at) in self.outcomes:
            return self
        return msgspec.structs.replace(self, outcomes=(*self.outcomes, (kind, at)))

    def _last(self, one: Contacted) -> int:
        """Return the last instant that a rule may look at: of the request, of sending, of an outcome."""
        return max(self.at, self.at if one.sends is None else one.sends, *(at for _, at in self.outcomes))

    def rows(self) -> list[Row]:
        """Return it as the store keeps it: one row for each of its tokens, which say the same."""
        last = None if self.contacted is None else self._last(self.contacted)
        name, body = self.id.encode(), _encode(self)
        ids = [
            name,
            *(_ALSO + token.to_bytes(_TOKEN_BYTES, "big", signed=True) + name for token in self.also),
        ]
        return [
            Row(id=each, token=token, at=self.at, last=last, body=body)
            for each, token in zip(ids, self.tokens, strict=True)
        ]


def judged(
    name: str,
    tokens: tuple[int, ...],
    at: int,
    asked: Contact,
    verdict: Verdict,
    contacted: Contacted | None,
) -> Entry:
    """Return the entry of a request that was judged; one that was denied counts for nobody."""
    is_denied = contacted is None
    return Entry(
        id=name,
        token=tokens[0],
        at=at,
        contacted=contacted,
        also=() if is_denied else tokens[1:],
        denied=asked if is_denied else None,
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
