"""What a resolution says: people, dropped links with reasons, and the owners of anonymous activity."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

UNCLAIMED, REJECTED = "unclaimed", "rejected"


class DroppedLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link that would break a rule; `a` is the end of higher priority."""

    a: str
    b: str
    reason: str
    first_seen: datetime
    last_seen: datetime


class DroppedId(msgspec.Struct, frozen=True, kw_only=True):
    """An identifier that was not used, as it was written."""

    observation: str
    id: str
    reason: str


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """An observation that is no evidence."""

    observation: str
    reason: str


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A person's claim to a device's anonymous activity, half open in time; None is without bound."""

    device: str
    owner: str
    valid_from: datetime | None
    valid_to: datetime | None


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A person seen on a device; `person` is their leading identifier."""

    observation: str
    at: datetime
    device: str
    person: str


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """Who is who. Every part is sorted, so equal outcomes are equal values.

    `people`: each person's identifiers, highest priority first. `owners`: observation without an identifier
    of a person → the owner's leading identifier, `unclaimed` or `rejected`.
    """

    people: tuple[tuple[str, ...], ...]
    dropped_links: tuple[DroppedLink, ...]
    dropped_ids: tuple[DroppedId, ...]
    refused: tuple[Refused, ...]
    shared_values: tuple[str, ...]
    owners: Mapping[str, str]
    claims: tuple[Claim, ...]
    logins: tuple[Login, ...]
