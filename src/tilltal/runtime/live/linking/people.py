"""Who the people are that probable pairs name: as the operational store has them at this moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime

from tilltal.core.instants import micros
from tilltal.core.operational import Reads
from tilltal.customers.identity.linking.candidates import RecordIndex
from tilltal.customers.identity.linking.judging import holders_of
from tilltal.customers.identity.online.resolver import owner_at
from tilltal.customers.identity.online.spans import since
from tilltal.customers.identity.rules import Rules
from tilltal.runtime.linking.judgement import Known, Scored


async def people_of(
    pairs: Iterable[Scored], index: RecordIndex, store: Reads, rules: Rules, now: datetime
) -> Known:
    """Return everybody that pairs name, with all identifiers and records."""
    at = micros(now)
    owners = await store.owners({token for pair in pairs for token in pair[:2]})
    profiles = {owner for spans in owners.values() if (owner := owner_at(spans, at)) is not None}
    held = await asyncio.gather(*(store.tokens_of(profile) for profile in sorted(profiles)))
    owners |= await store.owners({span.token for spans in held for span in spans} - owners.keys())
    names = await store.identities(owners)
    rows = [
        (token, names[token].namespace, owner, since(found))
        for token, found in sorted(owners.items())
        if (owner := owner_at(found, at)) in profiles and owner is not None and token in names
    ]
    holders = tuple(holders_of(rows, rules))
    return Known(
        records={one.token: index.values(one.token) for one in holders if one.token in index},
        holders=holders,
        namespace={token: one.namespace for token, one in names.items()},
    )


def of_others(pairs: Iterable[Scored], known: Known) -> list[Scored]:
    """Return the pairs of two different people, most probable first."""
    profile = known.profile
    found = [
        pair
        for pair in pairs
        if pair[0] in profile and pair[1] in profile and profile[pair[0]] != profile[pair[1]]
    ]
    return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))
