"""Reading as much of a component as must be known, and settling it.

Where devices are walls (`customers.identity.online.regions`) people are read through people alone, and of
devices only those that a message names or whose owner's profile changes. Shared values are walls always.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence, Set

from tilltal.core.operational import Observed, Owned, Reads
from tilltal.customers.identity.online.regions import Walls, known_elsewhere, left
from tilltal.customers.identity.online.resolver import OnlineIdentity, Settled, is_shared

LARGE = 1000  # observations that are settled in a thread, so that others are answered meanwhile

Ids = Iterable[tuple[str, int]]
Owners = MutableMapping[int, tuple[Owned, ...]]


class Component:
    """One component, or several together, as a transaction sees them."""

    def __init__(
        self, reads: Reads, identity: OnlineIdentity, owners: Owners, before: Owners, came: Iterable[Observed]
    ) -> None:
        """Take what is known.

        Args:
            reads: the transaction.
            identity: who is who.
            owners: spans by token as they are known by now; filled with what is read.
            before: spans as the store has them; filled likewise.
            came: what was seen just now; what holds a single identifier may lack an id.
        """
        self._reads = reads
        self._identity = identity
        self._owners = owners
        self._before = before
        self._came = list(came)
        self.size = 0  # observations that were read

    async def settle(self, ids: Ids) -> Settled:
        """Settle what identifiers (namespace, token) belong to, and no more than must be."""
        asked = list(ids)
        walls = self._identity.walls
        settled = None if walls is None else await self._within(walls, asked)
        if settled is None:
            names = [one.name for one in self._identity.rules.namespaces]
            seen = await self._reach({token for _, token in asked}, names)
            await self._know({token for one in seen for _, token in one.ids})
            settled = await self._settled(seen, self._came)
        return settled

    async def settle_whole(self, tokens: Iterable[int]) -> Settled:
        """Settle whole components, past all walls."""
        seen = await self._reach(tokens, None)
        await self._know({token for one in seen for _, token in one.ids})
        return await self._settled(seen, self._came, is_cut=False)

    async def _within(self, walls: Walls, ids: Ids) -> Settled | None:
        """Settle what lies within walls; None if a correction names one of them, so that they do not hold."""
        people, devices = walls.split(ids)
        if not walls.hold(devices):
            return None
        await self._know(devices)
        seen = await self._reach(people, walls.people)
        await self._know(walls.split(one for each in seen for one in each.ids)[0])
        settled = await self._settled(walls.without(seen, ()), walls.without(self._came, ()))
        if not await self._are_people(walls, walls.foes(settled.owners.keys())):
            return None
        devices |= await self._owned(left(self._before, settled.owners)) - settled.owners.keys()
        if not devices:
            return settled
        near = await self._reach(devices, walls.devices)
        others, more = walls.split(one for each in (*near, *self._came) for one in each.ids)
        await self._know(others | more)
        devices |= more
        others -= settled.owners.keys()
        tied = self._identity.tied(others)
        await self._know(tied)
        elsewhere = known_elsewhere(others | tied, self._owners)
        if not walls.hold(devices) or not others <= self._owners.keys():
            return None
        every = {one.id: one for one in (*walls.without(seen, devices), *near)}
        return await self._settled(list(every.values()), self._came, elsewhere)

    async def _are_people(self, walls: Walls, tokens: Set[int]) -> bool:
        """True if none of these tokens is a device that was ever seen."""
        known = (await self._reads.identities(tokens)).values() if tokens else ()
        return not walls.split((one.namespace, one.token) for one in known)[1]

    async def _owned(self, profiles: Iterable[int]) -> set[int]:
        """Return all tokens that profiles ever own."""
        return {span.token for profile in sorted(profiles) for span in await self._reads.tokens_of(profile)}

    async def _reach(self, tokens: Iterable[int], through: Collection[str] | None) -> list[Observed]:
        """Return all that is reachable from tokens: through observations, and through corrections."""
        reached = set(tokens)
        while True:
            wanted = reached | self._identity.tied(reached)
            await self._know(wanted)
            leading = {one for one in wanted if through is None or not self._is_shared(one)}
            seen = await self._reads.component(leading, through)
            reached = wanted.union(token for one in seen for _, token in one.ids)
            if self._identity.tied(reached) <= reached:
                self.size += len(seen)
                return seen

    async def _know(self, tokens: Set[int]) -> None:
        missing = await self._reads.owners(tokens - self._owners.keys())
        self._before.update(missing)
        self._owners.update(missing)

    def _is_shared(self, token: int) -> bool:
        return token in self._owners and is_shared(self._owners[token])

    async def _settled(
        self,
        seen: Sequence[Observed],
        came: Sequence[Observed],
        elsewhere: Mapping[int, int] | None = None,
        *,
        is_cut: bool = True,
    ) -> Settled:
        read = {one.id for one in seen}
        every = [*seen, *(one for one in came if not one.id or one.id not in read)]
        tokens = {token for one in every for _, token in one.ids}
        tokens |= self._identity.tied(tokens)
        shared = {token for token in tokens if is_cut and self._is_shared(token)}
        if len(every) < LARGE:
            return self._identity.settle(every, self._owners, shared, elsewhere)
        return await asyncio.to_thread(self._identity.settle, every, self._owners, shared, elsewhere)
