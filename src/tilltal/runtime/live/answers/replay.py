"""Replay: logged decisions are decided again, and proved equal byte for byte."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime

import msgspec

from tilltal.core.errors import TilltalError
from tilltal.core.instants import micros
from tilltal.core.operational import Decided, Reads
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.answers.archive import definitions_of
from tilltal.runtime.live.answers.deciding import read_logged
from tilltal.runtime.live.answers.replaying import Difference, Then, difference, unreadable
from tilltal.runtime.live.history.decided import decisions_since
from tilltal.runtime.live.places import files_of, store_place
from tilltal.runtime.progress import Progress
from tilltal.runtime.storage.store import Store
from tilltal.workspace.workspace import Workspace

_FIRST = -(2**63)
_SHOWN = 20  # differences that are told in full


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a replay: how many decisions, how many were the same to the last byte, and what differs.

    `definitions` counts the versions that decided. `lost` counts, by version, decisions whose definitions
    cannot be read, with the reason. `per_second` is by the wall's clock, reading included.
    """

    decisions: int
    equal: int
    differing: int
    differences: tuple[Difference, ...]
    definitions: int
    lost: dict[str, Lost]
    seconds: float

    @property
    def is_proved(self) -> bool:
        """True if every decision came out the same."""
        return self.equal == self.decisions

    @property
    def per_second(self) -> float:
        """Decisions a second."""
        return self.decisions / self.seconds if self.seconds else 0.0


class Lost(msgspec.Struct):
    """Decisions whose definitions cannot be read: how many, and why."""

    reason: str
    decisions: int = 0


async def replay(
    workspace: Workspace,
    since: datetime | None,
    limit: int | None,
    progress: Progress,
    environment: Mapping[str, str] = os.environ,
) -> Replayed:
    """Decide again what a workspace's server decided, beside a server that runs or without one.

    Args:
        workspace: says where decisions lie; its definitions decide nothing.
        since: the instant to begin with; the first decision if None.
        limit: how many decisions at most; all if None.
        progress: is told of each portion.
        environment: may hold the address of the operational store.

    Raises:
        EngineError: E530, E532, E534 if the operational store cannot be opened.
    """
    store = await open_store(store_place(workspace, environment))
    try:
        return await replayed(
            store, files_of(workspace), _FIRST if since is None else micros(since), limit, progress
        )
    finally:
        await store.close()


async def replayed(store: Reads, files: Store, since: int, limit: int | None, progress: Progress) -> Replayed:
    """Decide again what a store holds, from an instant on; see `replay`."""
    began = time.perf_counter()
    proof = _Proof(store)
    progress.start("replay", limit)
    async for portion in decisions_since(store, files, since):
        chosen = portion if limit is None else portion[: limit - proof.decisions]
        for decided in chosen:
            await proof.add(decided)
        progress.advance(len(chosen))
        if proof.decisions == limit:
            break
    return proof.told(time.perf_counter() - began)


class _Proof:
    """Decides again one decision after the other; definitions are compiled once."""

    def __init__(self, store: Reads) -> None:
        self.decisions = 0
        self._store = store
        self._equal = self._differing = 0
        self._differences: list[Difference] = []
        self._then: dict[str, Then] = {}
        self._lost: dict[str, Lost] = {}

    async def add(self, decided: Decided) -> None:
        """Decide one again."""
        self.decisions += 1
        try:
            logged = read_logged(decided.body)
        except msgspec.MsgspecError as error:
            self._tell(unreadable(decided, error))
            return
        then = await self._of(logged.definitions)
        if then is None:
            return
        found = difference(then, decided, logged)
        if found is None:
            self._equal += 1
        else:
            self._tell(found)

    def _tell(self, found: Difference) -> None:
        self._differing += 1
        if len(self._differences) < _SHOWN:
            self._differences.append(found)

    def told(self, seconds: float) -> Replayed:
        """Return what came of it."""
        return Replayed(
            decisions=self.decisions,
            equal=self._equal,
            differing=self._differing,
            differences=tuple(self._differences),
            definitions=len(self._then) + len(self._lost),
            lost=self._lost,
            seconds=seconds,
        )

    async def _of(self, version: str) -> Then | None:
        """Return the definitions of a version, compiled; None, and one more lost, if they cannot be read."""
        then = self._then.get(version)
        if then is None and version not in self._lost:
            try:
                workspace = await definitions_of(self._store, version)
                if workspace is not None:
                    then = self._then[version] = Then(workspace)
                else:
                    self._lost[version] = Lost("They were never kept.")
            except TilltalError as error:
                self._lost[version] = Lost(str(error))
        if then is None:
            self._lost[version].decisions += 1
        return then
