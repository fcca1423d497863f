"""Rows of the tables to and from the values of the port; the order of columns is the same in both stores.

Texts from outside (message ids, identifiers) are kept as UTF-8 bytes: PostgreSQL's text cannot hold a NUL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from tilltal.core.operational import (
    Answered,
    ApiKey,
    Change,
    Contacted,
    Decided,
    Identified,
    Logged,
    Membership,
    Observed,
    Owned,
    Waiting,
    Writes,
)

Row = Sequence[Any]

LOG = "event_id, token, ids, kind, name, source, at, received, body"
CHANGE = "at, profile, kind, name, body"
OBSERVATION = "id, place, namespace, token, at"
IDENTITY = "token, namespace, value"
OWNER = "token, place, valid_from, valid_to, profile, is_plain"
DECISION = "id, at, profile, body"
RESPONSE = "id, decision, action, channel, kind, at, received"
WAITING = "decision, action, ends"
CONTACT = "id, token, at, last, body"
API_KEY = "id, name, hash, scopes, created, expires, revoked"

_NUMBERS = 1 << 63  # of decisions

_pack = msgspec.msgpack.Encoder().encode
_ids = msgspec.msgpack.Decoder(tuple[int, ...]).decode
_scopes = msgspec.msgpack.Decoder(tuple[str, ...]).decode


def log_row(item: Logged) -> Row:
    """The columns of LOG."""
    return (
        item.event_id,
        item.token,
        _pack(item.ids),
        item.kind,
        item.name,
        item.source,
        item.at,
        item.received,
        item.body,
    )


def logged(row: Row) -> Logged:
    """From `position` and LOG."""
    position, event_id, token, ids, kind, name, source, at, received, body = row
    return Logged(
        event_id=event_id,
        token=token,
        ids=_ids(ids),
        kind=kind,
        name=name,
        source=source,
        at=at,
        received=received,
        body=body,
        position=position,
    )


def all_seen(writes: Writes) -> list[bytes]:
    """Return the ids of all messages of a batch, those without a row of the log after the others."""
    return [*(item.event_id for item in writes.log), *writes.seen]


def seen_rows(writes: Writes) -> list[Row]:
    """The ids of all messages of a batch, those without a row of the log among them."""
    return [(event_id,) for event_id in sorted(all_seen(writes))]


def change_row(change: Change) -> Row:
    """The columns of CHANGE."""
    return (change.at, change.profile, change.kind, change.name, change.body)


def changed(row: Row) -> Change:
    """From `position` and CHANGE."""
    position, at, profile, kind, name, body = row
    return Change(position=position, at=at, profile=profile, kind=kind, name=name, body=body)


def observation_rows(observations: Iterable[Observed]) -> list[Row]:
    """The columns of OBSERVATION, a row per identifier; of observations with one id the first counts."""
    once = {item.id: item for item in reversed(list(observations))}
    return [
        (item.id.encode(), place, namespace, token, item.at)
        for item in (once[name] for name in sorted(once))
        for place, (namespace, token) in enumerate(item.ids)
    ]


def observed(rows: Iterable[Row]) -> list[Observed]:
    """From OBSERVATION in order of id and place."""
    found = []
    for name, group in groupby(rows, key=itemgetter(0)):
        parts = list(group)
        ids = tuple((namespace, token) for _, _, namespace, token, _ in parts)
        found.append(Observed(name.decode(), parts[0][4], ids))
    return found


def identity_rows(identities: Iterable[Identified]) -> list[Row]:
    """The columns of IDENTITY, in order of key."""
    once = {item.token: item for item in identities}
    found = (once[token] for token in sorted(once))
    return [
        (item.token, item.namespace, None if item.value is None else item.value.encode()) for item in found
    ]


def identified(rows: Iterable[Row]) -> dict[int, Identified]:
    """From IDENTITY."""
    return {
        token: Identified(token, namespace, None if value is None else value.decode())
        for token, namespace, value in rows
    }


def owner_rows(owners: dict[int, tuple[Owned, ...]]) -> list[Row]:
    """The columns of OWNER, in order of key."""
    return [
        (token, place, span.valid_from, span.valid_to, span.profile, span.is_plain)
        for token in sorted(owners)
        for place, span in enumerate(owners[token])
    ]


def owned(row: Row) -> Owned:
    """From OWNER."""
    token, _, valid_from, valid_to, profile, is_plain = row
    return Owned(token, valid_from, valid_to, profile, bool(is_plain))


def spans(rows: Iterable[Row]) -> dict[int, tuple[Owned, ...]]:
    """From OWNER in order of place: each token's spans."""
    found: dict[int, tuple[Owned, ...]] = {}
    for row in rows:
        span = owned(row)
        before = found.get(span.token)
        found[span.token] = (span,) if before is None else (*before, span)
    return found


def last_memberships(members: Iterable[Membership]) -> tuple[list[Row], list[Row]]:
    """Return (audience, profile, since) to set and (audience, profile) to remove; the last word counts."""
    last = {(item.audience, item.profile): item for item in members}
    entered: list[Row] = [(*key, last[key].at) for key in sorted(last) if last[key].is_member]
    left: list[Row] = [key for key in sorted(last) if not last[key].is_member]
    return entered, left


def decision_row(item: Decided) -> Row:
    """The columns of DECISION."""
    return (item.id, item.at, item.profile, item.body)


def decision_number(decision_id: bytes) -> int:
    """Return the first 63 bits of a decision's id: numbers in the order of ids, and hardly ever shared."""
    return int.from_bytes(decision_id[:8].ljust(8, b"\0"), "big") >> 1


def numbered_from(number: int) -> bytes:
    """Return what no id of a `decision_number` comes before, and all of smaller numbers do."""
    return (number << 1).to_bytes(9, "big")[1:].rstrip(b"\0") if number < _NUMBERS else b"\xff" * 17


def decided(row: Row) -> Decided:
    """From DECISION."""
    name, at, profile, body = row
    return Decided(id=name, at=at, profile=profile, body=body)


def response_row(item: Answered) -> Row:
    """The columns of RESPONSE."""
    return (item.id, item.decision, item.action, item.channel, item.kind, item.at, item.received)


def answered(row: Row) -> Answered:
    """From RESPONSE."""
    name, decision, action, channel, kind, at, received = row
    return Answered(
        id=name, decision=decision, action=action, channel=channel, kind=kind, at=at, received=received
    )


def last_waiting(waiting: Iterable[Waiting]) -> tuple[list[Row], list[Row]]:
    """Return the columns of WAITING to set and (decision, action) to remove; the last word counts."""
    last = {(item.decision, item.action): item.ends for item in waiting}
    waits: list[Row] = [(*key, last[key]) for key in sorted(last) if last[key] is not None]
    over: list[Row] = [key for key in sorted(last) if last[key] is None]
    return waits, over


def contact_rows(contacts: Iterable[Contacted]) -> list[Row]:
    """The columns of CONTACT, in order of key; the last of one id counts."""
    last = {item.id: item for item in contacts}
    return [
        (name, last[name].token, last[name].at, last[name].last, last[name].body) for name in sorted(last)
    ]


def contacted(row: Row) -> Contacted:
    """From CONTACT."""
    name, token, at, last, body = row
    return Contacted(id=name, token=token, at=at, last=last, body=body)


def contacts_by(keyed: Iterable[Row]) -> dict[int, list[Contacted]]:
    """From a key and CONTACT in order of key."""
    return {key: [contacted(row[1:]) for row in group] for key, group in groupby(keyed, itemgetter(0))}


def api_key_row(key: ApiKey) -> Row:
    """The columns of API_KEY."""
    return (key.id, key.name, key.hash, _pack(key.scopes), key.created, key.expires, key.revoked)


def api_key(row: Row) -> ApiKey:
    """From API_KEY."""
    name, label, digest, scopes, created, expires, revoked = row
    return ApiKey(
        id=name,
        name=label,
        hash=digest,
        scopes=_scopes(scopes),
        created=created,
        expires=expires,
        revoked=revoked,
    )
