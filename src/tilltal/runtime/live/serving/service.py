"""The running server without its HTTP face: everything that `contract.LiveService` asks for.

Every write goes through one group commit: messages, decisions and responses of all callers share
transactions, and nobody is answered before the disk has it. Begin with `LiveServer`; `opening` makes one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from tilltal.core.errors import EngineError
from tilltal.core.operational import OperationalStore
from tilltal.customers.identity.online.resolver import owner_at
from tilltal.rules.clock import Clock
from tilltal.runtime.live.answers import answering, deciding
from tilltal.runtime.live.answers.deciding import Made, Overdue, Replies
from tilltal.runtime.live.contract import (
    Busy,
    ChangeNotice,
    Collected,
    DecideAnswer,
    DecideRequest,
    DecisionAccount,
    KeyInfo,
    MemberPage,
    Message,
    NewKey,
    ProfileAnswer,
    Readiness,
    Refused,
    Response,
    ResponseOutcome,
    Sample,
    Scope,
    Timeline,
    Unavailable,
)
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.history.past import Past
from tilltal.runtime.live.instants import micros, moment
from tilltal.runtime.live.intake.applying import Applier
from tilltal.runtime.live.intake.correcting import correct
from tilltal.runtime.live.intake.setting_aside import SetAside
from tilltal.runtime.live.serving.changes import Feed, notice
from tilltal.runtime.live.serving.committing import Committer, Piece, Result
from tilltal.runtime.live.serving.figures import Figures
from tilltal.runtime.live.serving.group import GroupCommit
from tilltal.runtime.live.serving.keys import Keys

_WAKE_SECONDS = 0.25
_LONGEST_SECONDS = 5.0  # between two tries while the store is away
_WAKE_PORTION = 200  # profiles woken in one transaction, so that nobody waits long behind it
_log = logging.getLogger("tilltal.server")


class LiveServer:
    """Serves one workspace from one operational store."""

    def __init__(
        self,
        store: OperationalStore,
        force: InForce,
        quarantine: SetAside,
        past: Past,
        now: Callable[[], datetime],
    ) -> None:
        """Take an open store and compiled definitions; `start` begins to serve."""
        self._store = store
        self._past = past
        self._now = now
        self._keys = Keys(store, now)
        self._feed = Feed(store)
        self._figures = Figures()
        self._committer = Committer(store, quarantine, self._feed, now)
        self._group: GroupCommit[Piece, Result] = GroupCommit(self._run)
        self._tasks: list[asyncio.Task[None]] = []
        self._owed: set[asyncio.Task[None]] = set()
        self._is_started = False
        self.replace(force)

    # -- life --------------------------------------------------------------------------------------------

    @property
    def force(self) -> InForce:
        """The definitions in force."""
        return self._force

    @property
    def applier(self) -> Applier:
        """What writes by the definitions in force."""
        return self._applier

    @property
    def feed(self) -> Feed:
        """What webhooks listen to."""
        return self._feed

    @property
    def figures(self) -> Figures:
        """What the server counts of itself."""
        return self._figures

    def replace(self, force: InForce) -> None:
        """Serve by other definitions from the next request on."""
        self._applier = Applier(force.program, force.identity, force.reader, force.people, self._past.rows_of)
        self._force = force

    async def take_up(self, force: InForce) -> None:
        """Serve by other definitions from the next request on; settle anew whom other corrections concern.

        Raises:
            EngineError: E530, E531 if corrections could not be taken up: call again.
        """
        self.replace(force)
        clock = Clock(self._now(), force.workspace.zone)
        if await correct(self._store, self._applier, force.identity, clock):
            self._feed.notify()

    async def start(self) -> None:
        """Begin to serve."""
        await self._keys.load()
        await self.take_up(self._force)
        self._group.start()
        self._is_started = True
        self._tasks += [asyncio.create_task(self._wake()), asyncio.create_task(self._time_out())]

    async def close(self) -> None:
        """Finish what is under way, then stop."""
        self._is_started = False
        await self._group.close()
        await asyncio.gather(*self._owed)
        self._feed.close()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._store.close()

    # -- what is asked -----------------------------------------------------------------------------------

    async def collect(
        self, messages: Sequence[Message], received: datetime, refused: Sequence[Refused] = ()
    ) -> Collected:
        """See `contract.LiveService`."""
        call = self._force.reception.read(messages, refused, received)
        result = await self._submit(call)
        assert isinstance(result, Collected), "a call is collected"
        self._figures.collected(result)
        return result

    async def decide(self, request: DecideRequest) -> DecideAnswer:
        """See `contract.LiveService`."""
        force = self._force
        asked = deciding.read_request(force, request)
        budget = request.budget_ms or force.workspace.settings.server.budget_ms
        try:
            async with asyncio.timeout(budget / 1000):
                made = await self._decided(force, asked)
                await self._submit(made)
        except (TimeoutError, Busy):
            made = deciding.fall_back(force, asked, self._now())
            await asyncio.wait([self._owe(made)], timeout=budget / 1000)
        self._figures.decided(made.answer)
        return made.answer

    async def respond(self, responses: Sequence[Response], received: datetime) -> list[ResponseOutcome]:
        """See `contract.LiveService`."""
        result = await self._submit(Replies(responses=tuple(responses), received=received))
        assert isinstance(result, list), "replies have outcomes"
        return result

    async def explain(self, decision_id: str) -> DecisionAccount | None:
        """See `contract.LiveService`."""
        return await answering.explain(self._store, self._force, decision_id)

    async def profile(
        self,
        namespace: str,
        value: str,
        *,
        as_of: datetime | None = None,
        names: Sequence[str] = (),
        with_identity: bool = False,
    ) -> ProfileAnswer | None:
        """See `contract.LiveService`."""
        profile = await answering.find(self._store, self._force, namespace, value, self._now())
        if profile is None:
            return None
        reader = answering.Reader(self._store, self._force, self._past)
        now = self._now()
        return await reader.profile(
            profile, now if as_of is None else min(as_of, now), names, with_identity=with_identity
        )

    async def timeline(
        self, namespace: str, value: str, *, before: datetime | None = None, limit: int = 100
    ) -> Timeline | None:
        """See `contract.LiveService`."""
        profile = await answering.find(self._store, self._force, namespace, value, self._now())
        if profile is None:
            return None
        reader = answering.Reader(self._store, self._force, self._past)
        return await reader.timeline(profile, self._now() if before is None else before, limit)

    async def members(
        self, audience: str, *, after: str | None = None, limit: int = 1000
    ) -> MemberPage | None:
        """See `contract.LiveService`."""
        return await answering.members(self._store, self._force, audience, after, limit)

    async def subscribe(self, after: int | None = None) -> AsyncIterator[ChangeNotice]:
        """See `contract.LiveService`."""
        async for portion in self._feed.after(after):
            for change in portion:
                yield notice(change)

    # -- keys --------------------------------------------------------------------------------------------

    async def look_at_keys(self) -> None:
        """Take over keys that somebody made or revoked beside this server."""
        await self._keys.load()

    def authenticate(self, secret: str) -> KeyInfo | None:
        """See `contract.LiveService`."""
        return self._keys.authenticate(secret)

    async def keys(self) -> list[KeyInfo]:
        """See `contract.LiveService`."""
        return self._keys.all()

    async def create_key(self, name: str, scopes: Sequence[Scope], expires: datetime | None = None) -> NewKey:
        """See `contract.LiveService`."""
        return await self._keys.create(name, scopes, expires)

    async def rotate_key(self, key_id: str, overlap_seconds: float = 0.0) -> NewKey | None:
        """See `contract.LiveService`."""
        return await self._keys.rotate(key_id, overlap_seconds)

    async def revoke_key(self, key_id: str) -> bool:
        """See `contract.LiveService`."""
        return await self._keys.revoke(key_id)

    # -- figures -----------------------------------------------------------------------------------------

    async def readiness(self) -> Readiness:
        """See `contract.LiveService`."""
        reasons = [] if self._is_started else ["The server is starting or stopping."]
        if not await self._store.is_ready():
            reasons.append("The operational store does not answer.")
        return Readiness(is_ready=not reasons, reasons=tuple(reasons), lag_seconds=self._lags())

    def metrics(self) -> Iterable[Sample]:
        """See `contract.LiveService`."""
        yield from self._figures.samples(self._lags(), self._group.waiting, self._group.groups)

    def _lags(self) -> dict[str, float]:
        since = self._group.since
        waiting = 0.0 if since is None else asyncio.get_running_loop().time() - since
        return {"intake": waiting, "waking": self._figures.waking_lag, **self._figures.behind}

    # -- work --------------------------------------------------------------------------------------------

    async def _submit(self, piece: Piece) -> Result:
        if not self._is_started:
            raise Unavailable("The server is starting or stopping.")
        return await self._group.submit(piece)

    def _owe(self, made: Made) -> asyncio.Task[None]:
        """Begin to store a decision that is answered also if that lasts too long, or fails."""
        task = asyncio.create_task(self._stored(made))
        self._owed.add(task)
        task.add_done_callback(self._owed.discard)
        return task

    async def _stored(self, made: Made) -> None:
        try:
            await self._group.submit(made, is_owed=True)
        except (Busy, Unavailable) as error:
            _log.warning("a fallback was answered, but not stored: %s", error)
        except Exception:
            _log.exception("a fallback was answered, but not stored")

    async def _decided(self, force: InForce, asked: deciding.Asked) -> Made:
        """Decide on the state as it is stored."""
        now = self._now()
        owners = await self._store.owners(asked.tokens)
        at = micros(now)
        found = (owner_at(owners[token], at) for token in asked.tokens if token in owners)
        profile = next((one for one in found if one is not None), None)
        states = {} if profile is None else await self._store.states([profile])
        data = states[profile].data if profile in states else None
        return deciding.decide(force, asked, profile, data, now)

    async def _run(self, pieces: Sequence[Piece]) -> list[Result]:
        return await self._committer.run(pieces, self._force, self._applier)

    async def _wake(self) -> None:
        """Bring profiles up to date whose time has come, in small portions."""
        await _repeat("waking", self._wake_portion)

    async def _time_out(self) -> None:
        """Take silence for an answer where it has lasted long enough, in small portions."""
        await _repeat("time-outs", self._time_out_portion)

    async def _time_out_portion(self) -> bool:
        now = self._now()
        waiting = await self._store.waiting(micros(now), _WAKE_PORTION)
        if waiting:
            with suppress(Unavailable, Busy):  # they wait a little longer
                await self._submit(Overdue(waiting=tuple(waiting), now=now))
                return len(waiting) == _WAKE_PORTION
        return False

    async def _wake_portion(self) -> bool:
        now = self._now()
        profiles = await self._store.due(micros(now), _WAKE_PORTION)
        if not profiles:
            self._figures.waking_lag = 0.0
            return False
        states = await self._store.states(profiles[:1])
        first = states[profiles[0]].due if profiles[0] in states else None
        self._figures.waking_lag = 0.0 if first is None else (now - moment(first)) / timedelta(seconds=1)
        async with self._store.transaction() as tx:
            await self._applier.wake(tx, profiles, Clock(self._now(), self._force.workspace.zone))
        self._feed.notify()
        return len(profiles) == _WAKE_PORTION


async def _repeat(name: str, portion: Callable[[], Awaitable[bool]]) -> None:
    """Do portions of work for ever, at once while there is more (True), else after a short pause.

    While portions fail, pauses double up to a few seconds, so that neither store nor log is flooded.
    """
    pause = _WAKE_SECONDS
    while True:
        try:
            is_more = await portion()
        except EngineError as error:
            _log.warning("%s: %s", name, error)
        except Exception:
            _log.exception(name)
        else:
            pause = _WAKE_SECONDS
            await asyncio.sleep(0 if is_more else pause)
            continue
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_SECONDS)
