"""Links behind the log: each record that arrives is compared with all others, in small portions.

What is sure becomes a file of history first, which a refresh and every server read, and is applied to
customers at once; what is not goes to the review queue. A mark says how far the log is done with. Whatever a
crash interrupts is done again, and comes to the same: a link's name follows from its pair.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from tilltal.core.errors import EngineError, TilltalError
from tilltal.core.instants import micros
from tilltal.core.operational import Logged, OperationalStore, Writes
from tilltal.customers.identity.linking.plan import LinkPlan
from tilltal.customers.identity.linking.weights import Weights
from tilltal.rules.clock import Clock
from tilltal.runtime.linking.judgement import Judgement
from tilltal.runtime.linking.queue import Proposal, add_to_queue, ends_of
from tilltal.runtime.linking.records import linked_sources, plan_of
from tilltal.runtime.linking.run import load_weights
from tilltal.runtime.linking.verdicts import SOURCE, keep_live_evidence
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.history.compaction import last_begun
from tilltal.runtime.live.intake.incoming import Incoming
from tilltal.runtime.live.linking.arriving import Arrivals, Said
from tilltal.runtime.live.linking.building import Compared
from tilltal.runtime.live.linking.finding import Finder
from tilltal.runtime.live.linking.secrets import Secrets
from tilltal.runtime.live.places import files_of
from tilltal.runtime.live.serving.leases import Lease
from tilltal.runtime.live.serving.service import LiveServer
from tilltal.runtime.storage.store import LIVE, Store
from tilltal.workspace.names import kept_fields
from tilltal.workspace.workspace import Workspace

MARK = "linking"
PORTION = 500  # rows of the log
_LOOK_SECONDS = 0.25
_LATER_SECONDS = 2.0
_MARKED_EVERY = 10_000  # rows of the log without a record that is compared
_log = logging.getLogger("tilltal.server")


class Terms(msgspec.Struct, frozen=True):
    """What the index is made by: once it differs, the index is made anew.

    `sources`: the compared ones with their fields that history keeps. `files`: how many each has.
    """

    plan: LinkPlan
    weights: Weights
    sources: tuple[tuple[str, frozenset[str]], ...]
    files: tuple[int, ...]


class Linking:
    """Links the records of customers: one server does, of all that share a store."""

    def __init__(
        self,
        server: LiveServer,
        store: OperationalStore,
        environment: Mapping[str, str],
        now: Callable[[], datetime],
    ) -> None:
        """Take whom to serve; nothing is read before `run`."""
        self._server = server
        self._store = store
        self._files = files_of(server.force.workspace)
        self._finder = Finder(store, self._files)
        self._environment = environment
        self._now = now
        self._terms: Terms | None = None
        self._compared: Compared | None = None
        self._arrivals: Arrivals | None = None
        self._position: int | None = None
        self._marked = 0
        self._looked = 0.0  # loop time at which the terms were read last

    async def run(self) -> None:
        """Link until cancelled; when it is begun again, with a new index."""
        self._terms, secrets = None, Secrets(self._server.force.workspace, self._environment)
        lease = Lease(self._store, MARK)
        try:
            async with lease.kept():
                while True:
                    await asyncio.sleep(await self._pause(secrets) if lease.is_held else self._rest())
        finally:
            await secrets.close()

    async def lag(self) -> float:
        """Return the age of the oldest message not looked at yet, in seconds; 0 where nothing is linked."""
        if self._position is None:
            return 0.0
        rows = await self._store.log_after(self._position, 1)
        return max(0.0, (micros(self._now()) - rows[0].received) / 1_000_000) if rows else 0.0

    def _rest(self) -> float:
        """Leave it to another server that shares the store; return for how long."""
        self._terms = self._compared = self._arrivals = self._position = None
        return _LATER_SECONDS

    async def _pause(self, secrets: Secrets) -> float:
        """Do a portion; return for how long to leave the time to others."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            if not await self._is_prepared(secrets):
                return _LATER_SECONDS
            is_more = await self._portion(secrets)
        except (TilltalError, OSError) as error:
            _log.warning("linking: %s", error)
            return _LATER_SECONDS
        return loop.time() - began if is_more else _LOOK_SECONDS

    async def _is_prepared(self, secrets: Secrets) -> bool:
        """Make the index if it is not made, or by other terms; False where nothing is to be linked."""
        loop, workspace = asyncio.get_running_loop(), self._server.force.workspace
        if self._terms is not None and loop.time() < self._looked + _LATER_SECONDS:
            return True
        self._looked = loop.time()
        terms = await asyncio.to_thread(_terms, workspace, self._files)
        if terms is None:
            self._rest()
            return False
        if terms == self._terms:
            return True
        self._terms, mark = None, await self._store.mark(MARK)
        self._position = self._marked = int(mark) if mark else await last_begun(self._store)
        compared = Compared(workspace, terms.plan, terms.weights)
        whole = await compared.fill(self._files, workspace, self._store, secrets)
        self._compared, self._terms = compared, terms
        self._arrivals = Arrivals(self._files, compared.shelf.sources, compared.shelf.fields)
        if whole < self._marked:  # what came since is in the log alone, and was looked at before
            await self._remember(compared, self._arrivals, whole, secrets)
        _log.info("linking: %d records are compared", len(compared.index))
        return True

    async def _remember(
        self, compared: Compared, arrivals: Arrivals, position: int, secrets: Secrets
    ) -> None:
        """Put in what was looked at before."""
        while position < self._marked:
            arrived = await arrivals.after(self._store, self._server.force.reader, position, PORTION)
            await self._put(compared, arrived.records, secrets)
            if arrived.is_all:
                return
            position = arrived.position

    async def _portion(self, secrets: Secrets) -> bool:
        """Look at the next rows of the log; False once that was all."""
        compared, arrivals, position = self._compared, self._arrivals, self._position
        if compared is None or arrivals is None or position is None:
            return False
        arrived = await arrivals.after(self._store, self._server.force.reader, position, PORTION)
        for begin in range(0, len(arrived.records), PORTION):  # more of them where Parquet was read
            await self._look_at(compared, arrived.records[begin : begin + PORTION], secrets)
        self._position = arrived.position
        if arrived.records or arrived.position - self._marked >= _MARKED_EVERY:
            await self._store.write(Writes(marks={MARK: str(arrived.position).encode()}))
            self._marked = arrived.position
        return not arrived.is_all

    async def _look_at(self, compared: Compared, records: Sequence[Said], secrets: Secrets) -> None:
        tokens = await self._put(compared, records, secrets)
        force, now = self._server.force, self._now()
        found = await self._finder.found(compared.index, tokens, force.identity, now)
        if found.sure or found.proposals:
            await asyncio.to_thread(_keep, self._files, found, now)
        if found.sure:
            await self._apply(force, found.sure, now)

    async def _put(self, compared: Compared, records: Sequence[Said], secrets: Secrets) -> list[int]:
        """Put people's records into the index; return their tokens."""
        if not records:
            return []
        names = await self._store.identities({said.token for said in records})
        people = self._server.force.people
        mine = [said for said in records if said.token in names and names[said.token].namespace in people]
        for said in mine:
            compared.shelf.add(said)
        tokens = list(dict.fromkeys(said.token for said in mine))
        await compared.look_at(tokens, secrets)
        return tokens

    async def _apply(self, force: InForce, links: Sequence[Proposal], now: datetime) -> None:
        """Let links count at once. If that fails they count when ingested files do, as accepted pairs do."""
        seen = [_incoming(one, ends, micros(now)) for one, ends in zip(links, ends_of(links), strict=True)]
        try:
            async with self._store.transaction() as tx:
                await self._server.applier.observe(tx, seen, (), Clock(now, force.workspace.zone))
        except EngineError as error:
            _log.warning("links count a little later: %s", error)
        else:
            self._server.feed.notify()


def _terms(workspace: Workspace, files: Store) -> Terms | None:
    """Return what to link by, or None where nothing is linked or no weights fit yet.

    Raises:
        DataError: P376 for damaged weights.
    """
    if workspace.identity.linking is None:
        return None
    plan, weights = plan_of(workspace), load_weights(files)
    if weights is None or weights.content != plan.content:
        return None
    names = linked_sources(workspace)
    return Terms(
        plan,
        weights,
        tuple((name, frozenset(kept_fields(workspace.sources[name]))) for name in names),
        tuple(_count(files.root / "ingested" / name) for name in names),
    )


def _count(place: Path) -> int:
    """Return how many files of a source were ingested, those that a server wrote left out."""
    if not place.is_dir():
        return 0
    return sum(not one.name.startswith(LIVE) for one in place.glob("*.json"))


def _keep(files: Store, found: Judgement, now: datetime) -> None:
    """Write what was found to disk: the queue first, so that no link is without its pair."""
    add_to_queue(files, [*found.proposals, *found.sure])
    if found.sure:
        keep_live_evidence(files, ends_of(found.sure), now)


def _incoming(link: Proposal, ends: tuple[tuple[str, int], tuple[str, int]], at: int) -> Incoming:
    """Return a link as a message that was seen: the same observation as its file tells of."""
    return Incoming(
        logged=Logged(
            event_id=b"",
            token=link.a,
            ids=(link.a, link.b),
            kind="event",
            name="",
            source=SOURCE,
            at=at,
            received=at,
            body=b"",
        ),
        ids=ends,
        message_id=link.id,
    )
