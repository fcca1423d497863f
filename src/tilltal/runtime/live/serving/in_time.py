"""Deciding within a budget: with what was decided by then, else with what remains.

What a decision may do without, and is told of in its answer, its explanation and the figures:

    late    time was over before it was decided        the fallback, stored a little later
    error   it could not be decided: damaged state     the fallback, stored
    store   the store refuses: it is read-only, full   in full, without what must be reserved; not stored

Where the store cannot be reached at all nothing is decided: another server may reach it (`group.Away`).
The fallback are mandatory actions and those declared, by channels without reservations. A decision is stored
before it is answered, or a little later; `is_logged` says which.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType

import msgspec

from tilltal.core.errors import EngineError, SupersededError
from tilltal.core.instants import micros
from tilltal.core.operational import OperationalStore
from tilltal.decisions.live.reasons import Pair
from tilltal.runtime.live.answers import deciding
from tilltal.runtime.live.answers.asking import Asked, read_request
from tilltal.runtime.live.answers.deciding import Caller, Made, Shortcut
from tilltal.runtime.live.contacts.books import reserved_for
from tilltal.runtime.live.contract import Busy, DecideAnswer, DecideRequest, Unavailable
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.limits import Limit, Limits
from tilltal.runtime.live.serving.committing import Piece, Result
from tilltal.runtime.live.serving.figures import Figures
from tilltal.runtime.live.serving.group import Away, GroupCommit, refused
from tilltal.runtime.live.turns import Turns

_log = logging.getLogger("tilltal.server")
_NOTHING_BARRED: Mapping[Pair, str] = MappingProxyType({})
_PORTION = 64  # decisions made in a row: some ten milliseconds


class InTime:
    """Decides for whoever asks, and never longer than the budget twice over."""

    def __init__(
        self,
        store: OperationalStore,
        group: GroupCommit[Piece, Result],
        figures: Figures,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._group = group
        self._figures = figures
        self._now = now
        self._turns = Turns(_PORTION)
        self._limits = Limits()
        self.owed: set[asyncio.Task[bool | Away]] = set()

    async def decide(self, force: InForce, request: DecideRequest) -> DecideAnswer:
        """Decide, and return once that is stored or the budget is over.

        Raises:
            TilltalError: C110, C111, C112 for a name that the workspace does not have.
            SupersededError: if customers were made anew by other definitions.
            Away: if the store cannot be reached, and that is known in time.
        """
        asked = read_request(force, request)
        budget = (request.budget_ms or force.workspace.settings.server.budget_ms) / 1000
        lacks = force.lacks
        made: Made | None = None
        is_logged = True
        try:
            with self._limits.within(budget) as limit:
                made = await self.decided(force, asked, limit)
                if made.asked is not None:  # it is judged as it is stored: that may last as long again
                    limit.extend(budget)
                stored = await self._submitted(made)
                made = stored if isinstance(stored, Made) else made
        except (TimeoutError, Busy):  # what is under way may be stored: then the same again changes nothing
            if made is None or made.asked is not None:  # what is not reserved in time is not shown
                made = self._fallen_back(force, asked, "late")
                lacks = ("late",)
            is_logged = await self._soon(made, budget)
        except SupersededError:  # whoever asked has newer definitions in a moment
            raise
        except (Unavailable, EngineError) as error:
            _pass_on(error)
            _log.warning("decided without the store: %s", error)
            made, lacks, is_logged = await self._unstored(force, asked, made, budget), ("store",), False
        except Exception:  # whatever it is, this customer is answered, and the others are
            _log.exception("a decision could not be made in full")
            made, lacks = self._fallen_back(force, asked, "error"), ("error",)
            is_logged = await self._soon(made, budget)
        self._figures.decided(made.answer, lacks, made.flaws, is_logged=is_logged)
        return made.answer if is_logged else msgspec.structs.replace(made.answer, is_logged=False)

    async def decided(
        self,
        force: InForce,
        asked: Asked,
        limit: Limit,
        barred: Mapping[Pair, str] = _NOTHING_BARRED,
    ) -> Made:
        """Decide on the state as it is stored, and on the contacts that were reserved here.

        The limit is for what the store does: who waits for others to be decided is decided in any case.
        """
        now = self._now()
        profile, state = await self._store.whose(asked.tokens, micros(now))
        data = None if state is None else state.data
        reserved = await reserved_for(self._store, force, profile, asked.tokens, micros(now))
        work = deciding.in_steps(force, asked, profile, data, now, reserved, barred)
        limit.pause()
        made = await self._turns.take(work)
        limit.resume()
        return made

    async def _submitted(self, made: Made) -> Result:
        """Store a decision; what it reserves, only while its caller waits."""
        if made.asked is None:
            return await self._group.submit(made)
        caller = Caller()
        try:
            return await self._group.submit(msgspec.structs.replace(made, caller=caller))
        except asyncio.CancelledError:
            caller.has_gone = True
            raise

    async def finish(self) -> None:
        """Wait until nothing is owed any more."""
        await asyncio.gather(*self.owed)

    async def _unstored(self, force: InForce, asked: Asked, made: Made | None, seconds: float) -> Made:
        """Return what is answered where nothing can be written: in full, if the store can be read.

        What must be reserved cannot be, so it is decided again without it.
        """
        if made is not None and made.asked is None:
            return made
        if made is not None:
            barred = deciding.unreservable(force, asked, force.decider.plan)
            with suppress(TimeoutError, Unavailable, EngineError), self._limits.within(seconds) as limit:
                return await self.decided(force, asked, limit, barred)
        return self._fallen_back(force, asked, "store")

    def _fallen_back(self, force: InForce, asked: Asked, why: Shortcut) -> Made:
        return deciding.fall_back(force, asked, self._now(), why)

    async def _soon(self, made: Made, seconds: float) -> bool:
        """Begin to store a decision that is answered all the same; return whether it is stored by then.

        Raises:
            Away: if the store turned out to be so by then.
        """
        task = asyncio.create_task(self._stored(made))
        self.owed.add(task)
        task.add_done_callback(self.owed.discard)
        done, _ = await asyncio.wait([task], timeout=seconds)
        for each in done:
            outcome = each.result()
            if isinstance(outcome, Away):
                raise outcome
            return outcome
        return False

    async def _stored(self, made: Made) -> bool | Away:
        try:
            await self._group.submit(made, is_owed=True)
        except Away as error:
            _log.warning("a decision was not stored: %s", error)
            return error
        except (Busy, Unavailable) as error:
            _log.warning("a decision was answered, but not stored: %s", error)
            return False
        except Exception:
            _log.exception("a decision was answered, but not stored")
            return False
        return True


def _pass_on(error: Unavailable | EngineError) -> None:
    told = refused(error) if isinstance(error, EngineError) else error
    if isinstance(told, Away):
        raise told
