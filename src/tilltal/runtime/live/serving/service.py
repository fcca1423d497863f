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

from tilltal.core.errors import EngineError, SupersededError
from tilltal.core.instants import instant_of, micros
from tilltal.core.operational import OperationalStore
from tilltal.rules.clock import Clock
from tilltal.runtime.live.answers import answering, archive
from tilltal.runtime.live.answers.account import DecisionAccount
from tilltal.runtime.live.answers.explaining import Explainer
from tilltal.runtime.live.answers.replying import Overdue, Replies
from tilltal.runtime.live.contacts.desk import ContactDesk
from tilltal.runtime.live.contract import (
    Busy,
    ChangeNotice,
    Collected,
    DecideAnswer,
    DecideRequest,
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
from tilltal.runtime.live.intake.appliers import applier_of
from tilltal.runtime.live.intake.applying import Applier
from tilltal.runtime.live.intake.correcting import correct
from tilltal.runtime.live.intake.setting_aside import SetAside
from tilltal.runtime.live.serving.changes import Feed, notice
from tilltal.runtime.live.serving.committing import Committer, Piece, Result, unheard
from tilltal.runtime.live.serving.figures import Figures
from tilltal.runtime.live.serving.group import GroupCommit
from tilltal.runtime.live.serving.in_time import InTime
from tilltal.runtime.live.serving.keys import Keys

_WAKE_SECONDS = 0.25
_RENEWED_SECONDS = 10.0
_LONGEST_SECONDS = 5.0  # between two tries while the store is away
_WAKE_PORTION = 20  # profiles woken in one transaction, so that nobody waits long behind it
_log = logging.getLogger("tilltal.server")


class LiveServer(ContactDesk):
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
        self._explainer = Explainer(store)
        self._feed = Feed(store)
        self._figures = Figures()
        self._committer = Committer(store, quarantine, self._feed, now)
        self._group: GroupCommit[Piece, Result] = GroupCommit(self._run, unheard=self._unheard)
        self._in_time = InTime(store, self._group, self._figures, now)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_started = False
        self._replaced = asyncio.Event()
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
        self._past.use(force.workspace)
        self._replaced.set()
        self._replaced = asyncio.Event()
        self._applier = applier_of(force, self._past)
        self._force = force

    async def renewed(self, force: InForce) -> InForce:
        """Return the definitions that replaced others; wait for them where customers are ahead of the server.

        Raises:
            Unavailable: if they do not come.
        """
        try:
            async with asyncio.timeout(_RENEWED_SECONDS):
                while self._force is force:
                    await self._replaced.wait()
        except TimeoutError as error:
            raise Unavailable("Customers are made by newer definitions than this server has.") from error
        return self._force

    async def take_up(self, force: InForce) -> None:
        """Serve by other definitions from the next request on; settle anew whom other corrections concern.

        They are kept in the archive first, so that whatever they decide can be explained for good.

        Raises:
            EngineError: E530, E531 if corrections could not be taken up: call again.
        """
        await archive.keep(self._store, force.workspace, force.origin)
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
        work = (self._wake(), self._time_out(), self._hear())
        self._tasks += [asyncio.create_task(one) for one in work]

    async def close(self) -> None:
        """Finish what is under way, then stop."""
        self._is_started = False
        await self._group.close()
        await self._in_time.finish()
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
        self._refuse_unless_started()
        force = self._force
        try:
            return await self._in_time.decide(force, request)
        except SupersededError:
            return await self._in_time.decide(await self.renewed(force), request)

    async def respond(self, responses: Sequence[Response], received: datetime) -> list[ResponseOutcome]:
        """See `contract.LiveService`."""
        result = await self._submit(Replies(responses=tuple(responses), received=received))
        assert isinstance(result, list), "replies have outcomes"
        return result

    async def explain(self, decision_id: str, language: str = "en") -> DecisionAccount | None:
        """See `contract.LiveService`."""
        return await self._explainer.decision(self._force.workspace, decision_id, language)

    async def decisions(
        self, namespace: str, value: str, *, limit: int = 10, language: str = "en"
    ) -> list[DecisionAccount] | None:
        """See `contract.LiveService`."""
        profile = await answering.find(self._store, self._force, namespace, value, self._now())
        if profile is None:
            return None
        return await self._explainer.latest(self._force.workspace, profile, limit, language)

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

        async def answer(force: InForce) -> ProfileAnswer | None:
            now = self._now()
            profile = await answering.find(self._store, force, namespace, value, now)
            if profile is None:
                return None
            reader = answering.Reader(self._store, force, self._past)
            instant = now if as_of is None else min(as_of, now)
            return await reader.profile(profile, instant, names, with_identity=with_identity)

        force = self._force
        try:
            return await answer(force)
        except SupersededError:
            return await answer(await self.renewed(force))

    async def timeline(
        self, namespace: str, value: str, *, before: datetime | None = None, limit: int = 100
    ) -> Timeline | None:
        """See `contract.LiveService`."""
        profile = await answering.find(self._store, self._force, namespace, value, self._now())
        if profile is None:
            return None
        reader = answering.Reader(self._store, self._force, self._past)
        now = self._now()
        return await reader.timeline(profile, now if before is None else before, limit, now)

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
        yield from self._force.contacts.rations.samples()
        yield Sample(
            name="tilltal_large_components_total",
            kind="counter",
            help="Resolutions of identity that read a thousand observations or more.",
            value=self._applier.large,
        )

    def _lags(self) -> dict[str, float]:
        since = self._group.since
        waiting = 0.0 if since is None else asyncio.get_running_loop().time() - since
        return {"intake": waiting, "waking": self._figures.waking_lag, **self._figures.behind}

    # -- work --------------------------------------------------------------------------------------------

    async def _submit(self, piece: Piece) -> Result:
        self._refuse_unless_started()
        return await self._group.submit(piece)

    def _refuse_unless_started(self) -> None:
        if not self._is_started:
            raise Unavailable("The server is starting or stopping.")

    async def _run(self, pieces: Sequence[Piece]) -> list[Result]:
        return await self._committer.run(pieces, self._force, self._applier, self._renewed_applier)

    def _unheard(self, result: Result) -> list[Piece]:
        return unheard(result, self._now())

    async def _renewed_applier(self, force: InForce) -> tuple[InForce, Applier]:
        return await self.renewed(force), self._applier

    async def _wake(self) -> None:
        """Bring profiles up to date whose time has come, in small portions."""
        await _repeat("waking", self._wake_portion)

    async def _time_out(self) -> None:
        """Take silence for an answer where it has lasted long enough, in small portions."""
        await _repeat("time-outs", self._time_out_portion)

    async def _hear(self) -> None:
        """Take up what adaptive models learn in other servers on the same store."""
        await _repeat("lessons", self._heard)

    async def _heard(self) -> bool:
        await self._committer.lessons.look(self._force)
        return False

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
        self._figures.waking_lag = 0.0 if first is None else (now - instant_of(first)) / timedelta(seconds=1)
        async with self._store.transaction() as tx:
            await self._applier.wake(tx, profiles, Clock(self._now(), self._force.workspace.zone))
        self._feed.notify()
        return len(profiles) == _WAKE_PORTION


async def _repeat(name: str, portion: Callable[[], Awaitable[bool]]) -> None:
    """Do portions of work for ever: in half of the time while there is more (True), else after a short pause.

    While portions fail, pauses double up to a few seconds, so that neither store nor log is flooded.
    """
    loop, pause = asyncio.get_running_loop(), _WAKE_SECONDS
    while True:
        began = loop.time()
        try:
            is_more = await portion()
        except EngineError as error:
            _log.warning("%s: %s", name, error)
        except Exception:
            _log.exception(name)
        else:
            pause = _WAKE_SECONDS
            await asyncio.sleep(loop.time() - began if is_more else pause)
            continue
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_SECONDS)
