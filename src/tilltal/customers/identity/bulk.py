"""The resolver for millions of observations: the same people as `graph.resolve`, as Arrow tables.

Reads the `observations` and writes the tables of docs/explanation/data.md. Identifiers are tokens there; as
texts they would be `namespace:token`, padded with zeros to one width.

A profile's id is the token of its leading identifier: highest-priority namespace, then the earliest first
seen, then the smaller token. What arrives later was seen later, as a rule, so a person who gains an e-mail
address or a device keeps the id, and only a higher kind of identifier (the customer number) takes over.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.rules import Rules
from tilltal.customers.identity.vectors.claims import ALWAYS, OPEN, claims_of
from tilltal.customers.identity.vectors.joining import Joined, join
from tilltal.customers.identity.vectors.sightings import Bools, Ints, Sightings, read_sightings

_STAMP = pa.timestamp("us")
_FIRST_INSTANT = -62_135_596_800_000_000  # 0001-01-01, in microseconds since 1970
_LAST_INSTANT = 253_402_300_799_999_999  # 9999-12-31 23:59:59.999999

OBSERVATIONS = pa.schema(
    [
        ("observation", pa.string()),
        ("at", _STAMP),
        ("last_at", _STAMP),
        ("ids", pa.list_(pa.struct([("namespace", pa.string()), ("token", pa.int64())]))),
    ]
)


class ResolvedTables(msgspec.Struct, frozen=True, kw_only=True):
    """A resolution as tables.

    `identity_map`: identity, valid_from, valid_to (NULL = open), profile; only identities that are not their
    own profile, at most one row for any instant. `people`: profile, identity, namespace. `dropped_links`: a,
    b, reason, first_seen, last_seen. `shared_values`: identity, namespace. `refused`: observation, reason.
    `spine`: profile, is_known, first_seen: the first sighting of any of its identifiers.
    """

    identity_map: pa.Table
    people: pa.Table
    dropped_links: pa.Table
    shared_values: pa.Table
    refused: pa.Table
    spine: pa.Table


def resolve_table(
    observations: pa.Table, rules: Rules, corrections: Corrections[int] | None = None
) -> ResolvedTables:
    """Resolve all known observations of a table of the shape OBSERVATIONS, in any order.

    Values must be normalised and free of blocked ones. `corrections` name identifiers by token.

    Raises:
        DataError: P350 for an identifier of an undeclared namespace.
    """
    seen = read_sightings(observations, rules, corrections or Corrections())
    joined = join(seen, rules)
    profile = _profiles(seen, joined)
    return ResolvedTables(
        identity_map=_identity_map(seen, joined, profile, rules),
        people=_people(seen, profile, rules),
        dropped_links=_dropped_links(seen, joined),
        shared_values=_shared_values(seen, rules),
        refused=_refused(observations, seen, rules),
        spine=_spine(seen, profile),
    )


def _profiles(seen: Sightings, joined: Joined) -> Ints:
    """Return the profile id of each node's group: the token of its leading identifier."""
    highest = np.flatnonzero(seen.number == seen.number[joined.group])
    order = np.lexsort((seen.token[highest], seen.first_us[highest]))[::-1]
    leader = np.zeros(seen.count, dtype=np.int64)
    leader[joined.group[highest[order]]] = highest[order]  # the last written, the first in order, stays
    return seen.token[leader[joined.group]]


def _identity_map(seen: Sightings, joined: Joined, profile: Ints, rules: Rules) -> pa.Table:
    claims = claims_of(seen, joined, rules)
    claimed = np.zeros(seen.count, dtype=np.bool_)
    claimed[claims.device] = True
    whole = np.flatnonzero(~claimed & ~seen.is_shared)
    identity = seen.token[np.concatenate([whole, claims.device])]
    owner = profile[np.concatenate([whole, claims.owner])]
    start = np.concatenate([np.full(len(whole), ALWAYS), claims.start])
    end = np.concatenate([np.full(len(whole), OPEN), claims.end])
    other = identity != owner
    return pa.table(
        {
            "identity": identity[other],
            "valid_from": pa.array(np.maximum(start[other], _FIRST_INSTANT), pa.int64()).cast(_STAMP),
            "valid_to": pa.array(end[other], pa.int64(), mask=end[other] > _LAST_INSTANT).cast(_STAMP),
            "profile": owner[other],
        }
    )


def _people(seen: Sightings, profile: Ints, rules: Rules) -> pa.Table:
    used = ~seen.is_shared
    return pa.table(
        {
            "profile": profile[used],
            "identity": seen.token[used],
            "namespace": _names(seen.number[used], rules),
        }
    )


def _names(number: Ints, rules: Rules) -> pa.Array:
    names = pa.array([one.name for one in rules.namespaces], pa.string())
    return names.take(pa.array(number, pa.int64()))


def _dropped_links(seen: Sightings, joined: Joined) -> pa.Table:
    dropped = joined.reason != ""
    links = joined.links
    return pa.table(
        {
            "a": seen.token[links.a[dropped]],
            "b": seen.token[links.b[dropped]],
            "reason": pa.array(joined.reason[dropped], pa.string()),
            "first_seen": pa.array(links.first[dropped], pa.int64()).cast(_STAMP),
            "last_seen": pa.array(links.last[dropped], pa.int64()).cast(_STAMP),
        }
    )


def _shared_values(seen: Sightings, rules: Rules) -> pa.Table:
    return pa.table(
        {"identity": seen.token[seen.is_shared], "namespace": _names(seen.number[seen.is_shared], rules)}
    )


def _refused(observations: pa.Table, seen: Sightings, rules: Rules) -> pa.Table:
    rows = np.flatnonzero(seen.conflict >= 0)
    names: npt.NDArray[np.object_] = np.array(
        [f"conflicting_ids:{one.name}" for one in rules.namespaces], object
    )
    return pa.table(
        {
            "observation": observations["observation"].combine_chunks().take(pa.array(rows, pa.int64())),
            "reason": pa.array(names[seen.conflict[rows]], pa.string()),
        }
    )


def _spine(seen: Sightings, profile: Ints) -> pa.Table:
    used: Bools = ~seen.is_shared
    ids, place = np.unique(profile[used], return_inverse=True)
    is_known = np.zeros(len(ids), dtype=np.bool_)
    is_known[place[seen.is_person[used]]] = True
    first = np.full(len(ids), OPEN, dtype=np.int64)
    np.minimum.at(first, place, seen.first_us[used])
    return pa.table(
        {"profile": ids, "is_known": is_known, "first_seen": pa.array(first, pa.int64()).cast(_STAMP)}
    )
