"""What comes of records that arrived: their pairs with all others, judged on the people as they are now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from tilltal.core.operational import Reads
from tilltal.customers.identity.linking.candidates import RecordIndex
from tilltal.customers.identity.online.resolver import OnlineIdentity
from tilltal.runtime.linking.judgement import Judgement, Scored, judged, last_said
from tilltal.runtime.linking.verdicts import Verdict, link_id, observation_of, verdicts
from tilltal.runtime.live.linking.people import of_others, people_of
from tilltal.runtime.live.linking.verdicts import Stamp, stamp_of
from tilltal.runtime.storage.store import Store


class Finder:
    """Says which of the pairs that records make are to be linked and which to be shown; writes nothing."""

    def __init__(self, store: Reads, files: Store) -> None:
        """Take where it stands whose records are, and where decisions against links lie."""
        self._store = store
        self._files = files
        self._against: tuple[Stamp, dict[str, Verdict]] | None = None

    async def found(
        self, index: RecordIndex, tokens: Iterable[int], identity: OnlineIdentity, now: datetime
    ) -> Judgement:
        """Return what to do about some records of an index; tokens that are not in it are left out.

        Raises:
            EngineError: E530 if the store cannot be reached.
            OSError: if decisions against links cannot be read.
        """
        pairs: dict[tuple[int, int], float] = {}
        for token in tokens:
            if token in index:
                pairs.update(((a, b), weight) for a, b, weight in index.pairs(token))
                await asyncio.sleep(0)  # others get their turn
        if not pairs:
            return Judgement()
        scored = [(a, b, weight) for (a, b), weight in pairs.items()]
        known = await people_of(scored, index, self._store, identity.rules, now)
        said = await self._said()
        return judged(
            await self._untaken(of_others(scored, known), said),
            known,
            index.plan,
            index.scorer,
            identity.rules,
            identity.corrections,
            said,
            now,
        )

    async def _said(self) -> Mapping[str, Verdict]:
        """Return the last word on each pair that was decided against; read once for each time it changes."""
        stamp = stamp_of(self._files)
        if self._against is None or self._against[0] != stamp:
            self._against = stamp, last_said(await asyncio.to_thread(verdicts, self._files))
        return self._against[1]

    async def _untaken(self, pairs: Sequence[Scored], said: Mapping[str, Verdict]) -> list[Scored]:
        """Leave out pairs whose link is known already, and joins them no more by a rule of identity."""
        names = {observation_of(link_id(a, b)) for a, b, _ in pairs if link_id(a, b) not in said}
        known = {one.id for one in await self._store.observations_named(sorted(names))} if names else set()
        return [pair for pair in pairs if observation_of(link_id(pair[0], pair[1])) not in known]
