"""Judging definitions by what a server decided before: off-policy evaluation of its log.

Every decision gives one choice, that of its first action; saying nothing is one, too. Its reward is what a
yes was worth, or nothing, less what the contact cost. The definitions of then give the probabilities with
which it was made, those of now what they would have done with the same values.

Two kinds of decisions are left out. Younger ones than any action that competed waits for its answer: a yes is
told at once and a no only by silence, so of young decisions those that went well would be kept. That depends
on what competed and not on what was shown or when it was sent, else the probabilities would be no longer
those of the rows that are left: what may be sent later waits as if it were sent last of all. And those for
which the log lacks what the definitions of now read (`Judged.lacking`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

import msgspec
import pyarrow as pa

from tilltal.core.errors import DataError
from tilltal.core.instants import instant_of, micros
from tilltal.core.operational import Answered, Decided, Reads
from tilltal.engines.operational.opening import open_store
from tilltal.models.adaptive.layout import microseconds
from tilltal.models.adaptive.outcomes import answer
from tilltal.models.offpolicy.choices import Choice, log_of
from tilltal.models.offpolicy.evaluation import Evaluation, evaluate
from tilltal.runtime.live.answers.deciding import Logged, read_logged
from tilltal.runtime.live.answers.knowing import features_of, known_columns
from tilltal.runtime.live.answers.library import Library
from tilltal.runtime.live.answers.replaying import Then
from tilltal.runtime.live.answers.selecting import NOTHING, by_others, firsts, lacking, selection_of
from tilltal.runtime.live.places import store_place
from tilltal.runtime.progress import Progress
from tilltal.workspace.decision_names import CONTEXT
from tilltal.workspace.definitions.actions import Learned
from tilltal.workspace.workspace import Workspace

_PORTION = 1_000


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says of definitions, and how many decisions could not be used for it.

    `young` may still be answered; for `lacking` the log lacks one of the `names` that the definitions read.
    """

    evaluation: Evaluation
    young: int = 0
    lacking: int = 0
    names: tuple[str, ...] = ()


async def evaluate_logged(
    workspace: Workspace,
    now: datetime,
    seed: int,
    progress: Progress,
    environment: Mapping[str, str] = os.environ,
) -> Judged:
    """Estimate what a workspace's definitions would have earned in the decisions its server has made.

    Only decisions in the operational store count (see `server.keep_decisions`), and no fallback does.

    Args:
        workspace: the definitions to judge; says where decisions lie.
        now: the instant, by which decisions are too young or not.
        seed: of the division that models rewards.
        progress: is told of each portion.
        environment: may hold the address of the operational store.

    Raises:
        DataError: M412 where the log cannot tell, M413 where there are no decisions to judge by, M415 where
            the definitions read what no decision has.
        EngineError: E530, E532, E534 if the operational store cannot be opened.
    """
    store = await open_store(store_place(workspace, environment))
    progress.start("decisions", None)
    try:
        judge = _Judge(store, Then(workspace), micros(now))
        async for portion in _portions(store):
            await judge.take(portion)
            progress.advance(len(portion))
    finally:
        await store.close()
    return judge.judged(seed)


async def _portions(store: Reads) -> AsyncIterator[list[Decided]]:
    after = b""
    while portion := await store.decisions_after(after, _PORTION):
        yield portion
        after = portion[-1].id


class _Judge:
    """Makes choices of decisions, and gathers them with what was known."""

    def __init__(self, store: Reads, new: Then, now: int) -> None:
        self._store = store
        self._library = Library(store)
        self._new = new
        self._now = now
        self._wait = microseconds(new.workspace.settings.server.recalibration.wait)
        self._waits: dict[str, Mapping[str, int]] = {}
        self._choices: list[Choice] = []
        self._known: list[pa.Table] = []
        self._young = self._lacking = 0
        self._names: set[str] = set()

    async def take(self, portion: Sequence[Decided]) -> None:
        """Take the choices of some decisions; of those that cannot be read, none."""
        answers: dict[bytes, list[Answered]] = {}
        for one in await self._store.responses_to([decided.id for decided in portion]):
            answers.setdefault(one.decision, []).append(one)
        known = []
        for decided in portion:
            logged = read_logged(decided.body)
            then = None if logged.is_fallback else await self._library.find(logged.definitions)
            if then is None:
                continue
            choice = self._choice(then, logged, decided, answers.get(decided.id, ()))
            if choice is not None:
                self._choices.append(choice)
                known.append((_known(then, logged), instant_of(decided.at)))
        if known:
            self._known.append(known_columns(known))

    def judged(self, seed: int) -> Judged:
        """Return what all choices say.

        Raises:
            DataError: M412, M413, M415 as `evaluate_logged`.
        """
        names = tuple(sorted(self._names))
        if not self._choices:
            raise _nothing_to_judge_by(names if self._lacking else ())
        features, categorical = features_of(self._known)
        found = evaluate(log_of(self._choices, features, categorical), seed=seed)
        return Judged(evaluation=found, young=self._young, lacking=self._lacking, names=names)

    def _choice(
        self, then: Then, logged: Logged, decided: Decided, answers: Sequence[Answered]
    ) -> Choice | None:
        """Return what a decision chose and what came of it; None where that cannot be told."""
        missing = lacking(self._new, then, logged)
        if missing:
            self._lacking += 1
            self._names |= missing
            return None
        age, waits = self._now - decided.at, self._waits_of(then)
        chances = firsts(selection_of(then, logged, decided.id, decided.at)) if age >= waits[NOTHING] else {}
        if not chances or any(age < waits[action] for action in chances):
            self._young += 1
            return None
        now = by_others(self._new, then, logged)
        return Choice(
            customer=decided.profile or int.from_bytes(decided.id[-7:], "big"),
            shown=logged.shown[0].action if logged.shown else NOTHING,
            reward=_reward(logged, answers),
            chances=chances,
            new=firsts(selection_of(self._new, now, decided.id, decided.at)),
        )

    def _waits_of(self, then: Then) -> Mapping[str, int]:
        """Return how long each action waits for an answer, NOTHING as long as the shortest; microseconds.

        It waits from when it is sent: where the moment is chosen, that is the horizon later at most.
        """
        version = then.workspace.content_hash
        if version not in self._waits:
            found = {
                name: microseconds(action.propensity.adaptive.wait)
                if isinstance(action.propensity, Learned)
                else self._wait
                for name, action in then.workspace.actions.items()
            }
            for name in then.put_off:
                found[name] += then.horizon
            self._waits[version] = {**found, NOTHING: min(found.values(), default=0)}
        return self._waits[version]


def _reward(logged: Logged, answers: Sequence[Answered]) -> float:
    """Return what came of the first action, less what the contact cost; silence is a no by now."""
    if not logged.shown:
        return 0.0
    first = logged.shown[0]
    is_yes = answer(one for one in answers if one.action == first.action)
    return (first.V if is_yes else 0.0) - first.cost


def _known(then: Then, logged: Logged) -> dict[str, object]:
    """Return what was known when it was decided, by name."""
    context = {f"{CONTEXT}{name}": value for name, value in logged.context.items()}
    return {**context, "asked.channel": logged.channel, **then.known(logged)}


def _nothing_to_judge_by(names: Sequence[str]) -> DataError:
    """Return why nothing can be told: the log lacks names, or there are no decisions old enough."""
    if names:
        return DataError.of(
            "M415",
            f"The log cannot tell what these definitions would have done: it lacks {', '.join(names)}.",
            hint="What was not read when it was decided is not logged. Let the server decide with a name and "
            "judge by the decisions from then on, or judge definitions without it.",
        )
    return DataError.of(
        "M413",
        "The server has made no decisions yet that could have been answered.",
        hint="Let it decide, and wait as long as its actions do for answers; or name a file of decisions.",
    )
