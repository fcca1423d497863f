"""Deciding within a budget: with what was decided by then, else with what remains.

What a decision may do without, and is told of in its answer, its explanation and the figures:

    late    time was over before it was decided        the fallback, stored a little later
    error   it could not be decided: damaged state     the fallback, stored
    store   the store cannot be read or written        the fallback, not stored

The fallback are mandatory actions and those declared, by channels without reservations. A decision is stored
before it is answered, or a little later; `is_logged` says which.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

import msgspec

from tilltal.core.errors import EngineError, SupersededError
from tilltal.core.operational import OperationalStore
from tilltal.runtime.live.answers import deciding
from tilltal.runtime.live.answers.deciding import Asked, Made, Shortcut
from tilltal.runtime.live.contacts.books import reserved_for
from tilltal.runtime.live.contract import Busy, DecideAnswer, DecideRequest, Unavailable
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.instants import micros
from tilltal.runtime.live.serving.committing import Piece, Result
from tilltal.runtime.live.serving.figures import Figures
from tilltal.runtime.live.serving.group import GroupCommit

_log = logging.getLogger("tilltal.server")


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
        self.owed: set[asyncio.Task[bool]] = set()

    async def decide(self, force: InForce, request: DecideRequest) -> DecideAnswer:
        """Decide, and return once that is stored or the budget is over.

        Raises:
            TilltalError: C110, C111, C112 for a name that the workspace does not have.
            SupersededError: if customers were made anew by other definitions.
        """
        asked = deciding.read_request(force, request)
        budget = (request.budget_ms or force.workspace.settings.server.budget_ms) / 1000
        lacks = force.lacks
        made: Made | None = None
        is_logged = True
        try:
            async with asyncio.timeout(budget) as limit:
                made = await self.decided(force, asked)
                if made.asked is not None:  # it is judged as it is stored: that may last as long again
                    limit.reschedule((limit.when() or 0.0) + budget)
                stored = await self._group.submit(made)
                made = stored if isinstance(stored, Made) else made
        except (TimeoutError, Busy):  # what is under way may be stored: then the same again changes nothing
            if made is None or made.asked is not None:  # what is not reserved in time is not shown
                made = self._fallen_back(force, asked, "late")
                lacks = ("late",)
            is_logged = await self._soon(made, budget)
        except SupersededError:  # whoever asked has newer definitions in a moment
            raise
        except (Unavailable, EngineError) as error:
            _log.warning("decided without the store: %s", error)
            made, lacks, is_logged = self._fallen_back(force, asked, "store"), ("store",), False
        except Exception:  # whatever it is, this customer is answered, and the others are
            _log.exception("a decision could not be made in full")
            made, lacks = self._fallen_back(force, asked, "error"), ("error",)
            is_logged = await self._soon(made, budget)
        self._figures.decided(made.answer, lacks, is_logged=is_logged)
        return made.answer if is_logged else msgspec.structs.replace(made.answer, is_logged=False)

    async def decided(self, force: InForce, asked: Asked) -> Made:
        """Decide on the state as it is stored, and on the contacts that were reserved here."""
        now = self._now()
        profile, state = await self._store.whose(asked.tokens, micros(now))
        data = None if state is None else state.data
        reserved = await reserved_for(self._store, force, profile, asked.tokens, micros(now))
        return deciding.decide(force, asked, profile, data, now, reserved)

    async def finish(self) -> None:
        """Wait until nothing is owed any more."""
        await asyncio.gather(*self.owed)

    def _fallen_back(self, force: InForce, asked: Asked, why: Shortcut) -> Made:
        return deciding.fall_back(force, asked, self._now(), why)

    async def _soon(self, made: Made, seconds: float) -> bool:
        """Begin to store a decision that is answered all the same; return whether it is stored by then."""
        task = asyncio.create_task(self._stored(made))
        self.owed.add(task)
        task.add_done_callback(self.owed.discard)
        done, _ = await asyncio.wait([task], timeout=seconds)
        return any(each.result() for each in done)

    async def _stored(self, made: Made) -> bool:
        try:
            await self._group.submit(made, is_owed=True)
        except (Busy, Unavailable) as error:
            _log.warning("a decision was answered, but not stored: %s", error)
            return False
        except Exception:
            _log.exception("a decision was answered, but not stored")
            return False
        return True
