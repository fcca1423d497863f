"""A contact from its reservation on: reserved, committed, released or lapsed.

    request ──► reserved ──commit──► committed
     denied        │ ttl, exactly        │
                   ▼                     │ fail
                 lapsed                  ▼
                   └─ fail, refused ► released

A contact counts from its request until it is released or lapses, against caps at the instant it is sent. The
step that ends it leaves the instant; so whether it counts is asked of any instant, and no timer is needed.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tilltal.decisions.contacting.checks import no_consent
from tilltal.decisions.contacting.parts import Contact
from tilltal.decisions.contacting.permission import Permit
from tilltal.decisions.contacting.policy import ContactPolicy, Moment, Past, Verdict
from tilltal.decisions.contacting.windows import duration_micros

State = Literal["reserved", "committed", "released", "lapsed"]


class Contacted(msgspec.Struct, frozen=True, kw_only=True):
    """A contact that was allowed. Instants in microseconds since 1970 in UTC, None = not.

    `token` is whom the request named; `reason` says why it was released. `sends` is when it is sent, if that
    was chosen.
    """

    id: str
    token: int
    at: int
    contact: Contact
    permit: Permit
    expires: int | None
    committed: int | None = None
    released: int | None = None
    reason: str = ""
    sends: int | None = None

    def state(self, now: int) -> State:
        """Return its state at an instant."""
        if self.released is not None and self.released <= now:
            return "released"
        if self.committed is not None:
            return "committed"
        return "lapsed" if self.expires is not None and self.expires <= now else "reserved"

    def counts(self, now: int) -> bool:
        """True if it counts against caps at an instant."""
        return self.state(now) in ("reserved", "committed")


class Commit(msgspec.Struct, frozen=True):
    """What became of a commit: the contact as it is now, and why it was refused; empty = committed."""

    contacted: Contacted
    refused: str = ""


def reserve(
    policy: ContactPolicy,
    name: str,
    token: int,
    contact: Contact,
    past: Past,
    moment: Moment,
    sends: int | None = None,
) -> tuple[Verdict, Contacted | None]:
    """Judge a request; return the verdict and, if it is allowed, the contact, which counts at once.

    `sends` is when it is sent, if that was chosen: only from then on it may lapse.
    """
    verdict = policy.judge(contact, past, moment, sends)
    if not verdict.is_allowed or verdict.permit is None:
        return verdict, None
    ttl = policy.terms.reservation_ttl
    expires = None if ttl is None else (moment.now if sends is None else sends) + duration_micros(ttl)
    made = Contacted(
        id=name,
        token=token,
        at=moment.now,
        contact=contact,
        permit=verdict.permit,
        expires=expires,
        sends=sends,
    )
    return verdict, made


def commit(policy: ContactPolicy, one: Contacted, past: Past, moment: Moment) -> Commit:
    """Give the last go-ahead before a message leaves, if a consent still permits it; else release it.

    What is committed stays so. What has lapsed or was released is refused, as often as it is asked.
    """
    state = one.state(moment.now)
    if state == "committed":
        return Commit(one)
    if state != "reserved":
        return Commit(one, one.reason or state)
    allowed = policy.permit(one.contact, past.answers, moment)
    if allowed is None:
        reason = no_consent(one.contact)
        return Commit(msgspec.structs.replace(one, released=moment.now, reason=reason), reason)
    return Commit(msgspec.structs.replace(one, committed=moment.now, permit=allowed))


def fail(one: Contacted, now: int) -> Contacted:
    """Release a contact whose delivery failed, before or after its commit, from now on."""
    return msgspec.structs.replace(one, released=now) if one.counts(now) else one
