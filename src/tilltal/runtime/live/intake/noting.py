"""What becomes of customers, as changes that subscribers hear of."""

from __future__ import annotations

import msgspec

from tilltal.core.instants import micros
from tilltal.core.operational import Change, Membership, Writes
from tilltal.customers.identity.online.resolver import Moves
from tilltal.customers.live.profile import Moved
from tilltal.rules.clock import Clock


def note(profile: int, moved: Moved, writes: Writes) -> None:
    """Add what a customer entered, left and became to what is written."""
    at = micros(moved.at)
    for audience in moved.entered:
        writes.members.append(Membership(audience, profile, at, is_member=True))
        writes.changes.append(Change(at=at, profile=profile, kind="entered", name=audience))
    for audience in moved.left:
        writes.members.append(Membership(audience, profile, at, is_member=False))
        writes.changes.append(Change(at=at, profile=profile, kind="left", name=audience))
    if moved.stage is not None:
        before, after = moved.stage
        body = msgspec.msgpack.encode({"from": before, "to": after})
        name = after or "none"  # an un-merge took the relation away
        writes.changes.append(Change(at=at, profile=profile, kind="stage", name=name, body=body))


def gone_into(profile: int, moves: Moves, clock: Clock) -> Change:
    """Say into whom a profile went."""
    pairs = [*((one.old, one.new) for one in moves.whole), *((one.old, one.new) for one in moves.passages)]
    heirs = [new for old, new in pairs if old == profile and new is not None]
    body = msgspec.msgpack.encode({"into": heirs[0]} if heirs else {})
    return Change(at=micros(clock.now), profile=profile, kind="merged", name="", body=body)
