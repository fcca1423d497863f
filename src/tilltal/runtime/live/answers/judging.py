"""Judging definitions by what a server decided before: off-policy evaluation of its log.

Every decision gives one choice, that of its first action; saying nothing is one, too. Its reward is what a
yes was worth, or nothing; a decision that may still be answered is left out. The definitions of then give the
probabilities with which it was made, those of now what they would have done with the same values.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from tilltal.core.errors import DataError
from tilltal.core.operational import Answered, Decided, Reads
from tilltal.engines.operational.opening import open_store
from tilltal.models.adaptive.layout import microseconds
from tilltal.models.adaptive.outcomes import outcome
from tilltal.models.offpolicy.choices import Choice, log_of
from tilltal.models.offpolicy.evaluation import Evaluation, evaluate
from tilltal.runtime.live.answers.deciding import Logged, read_logged
from tilltal.runtime.live.answers.library import Library
from tilltal.runtime.live.answers.replaying import Then
from tilltal.runtime.live.answers.selecting import NOTHING, by_others, firsts, selection_of
from tilltal.runtime.live.instants import micros
from tilltal.runtime.live.places import store_place
from tilltal.runtime.progress import Progress
from tilltal.workspace.definitions.actions import Learned
from tilltal.workspace.workspace import Workspace

_PORTION = 1_000


async def evaluate_logged(
    workspace: Workspace,
    now: datetime,
    seed: int,
    progress: Progress,
    environment: Mapping[str, str] = os.environ,
) -> Evaluation:
    """Estimate what a workspace's definitions would have earned in the decisions its server has made.

    Only decisions in the operational store count (see `server.keep_decisions`), and no fallback does.

    Args:
        workspace: the definitions to judge; says where decisions lie.
        now: the instant: younger decisions without an answer are left out.
        seed: of the division that models rewards.
        progress: is told of each portion.
        environment: may hold the address of the operational store.

    Raises:
        DataError: M412 where the log cannot tell, M413 where there are no decisions to judge by.
        EngineError: E530, E532, E534 if the operational store cannot be opened.
    """
    store = await open_store(store_place(workspace, environment))
    progress.start("decisions", None)
    try:
        judge = _Judge(store, Then(workspace), micros(now))
        choices = []
        async for portion in _portions(store):
            choices += await judge.choices(portion)
            progress.advance(len(portion))
    finally:
        await store.close()
    if not choices:
        raise DataError.of(
            "M413",
            "The server has made no decisions yet that could have been answered.",
            hint="Let it decide, or name a file of logged decisions.",
        )
    return evaluate(log_of(choices), seed=seed)


async def _portions(store: Reads) -> AsyncIterator[list[Decided]]:
    after = b""
    while portion := await store.decisions_after(after, _PORTION):
        yield portion
        after = portion[-1].id


class _Judge:
    """Makes choices of decisions."""

    def __init__(self, store: Reads, new: Then, now: int) -> None:
        self._store = store
        self._library = Library(store)
        self._new = new
        self._now = now
        self._wait = microseconds(new.workspace.settings.server.recalibration.wait)

    async def choices(self, portion: Sequence[Decided]) -> list[Choice]:
        """Return the choices of some decisions; of those that cannot be read, none."""
        answers: dict[bytes, list[Answered]] = {}
        for one in await self._store.responses_to([decided.id for decided in portion]):
            answers.setdefault(one.decision, []).append(one)
        found = []
        for decided in portion:
            logged = read_logged(decided.body)
            then = None if logged.is_fallback else await self._library.find(logged.definitions)
            if then is None:
                continue
            reward = self._reward(then, logged, decided, answers.get(decided.id, []))
            if reward is not None:
                found.append(self._choice(then, logged, decided, reward))
        return found

    def _choice(self, then: Then, logged: Logged, decided: Decided, reward: float) -> Choice:
        now = by_others(self._new, then, logged)
        return Choice(
            customer=decided.profile or int.from_bytes(decided.id[-7:], "big"),
            shown=logged.shown[0].action if logged.shown else NOTHING,
            reward=reward,
            chances=firsts(selection_of(then, logged, decided.id, decided.at)),
            new=firsts(selection_of(self._new, now, decided.id, decided.at)),
        )

    def _reward(
        self, then: Then, logged: Logged, decided: Decided, answers: Sequence[Answered]
    ) -> float | None:
        """Return what came of the first action; None while that is open."""
        if not logged.shown:
            return 0.0
        first = logged.shown[0]
        wait = self._wait_of(then, first.action)
        known = outcome([one for one in answers if one.action == first.action], self._now, wait)
        if known is None and decided.at + wait > self._now:
            return None
        return first.V if known else 0.0

    def _wait_of(self, then: Then, action: str) -> int:
        definition = then.workspace.actions[action].propensity
        return microseconds(definition.adaptive.wait) if isinstance(definition, Learned) else self._wait
