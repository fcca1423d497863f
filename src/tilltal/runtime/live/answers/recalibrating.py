"""Models of the last snapshot while they serve: their probabilities follow what becomes of shown actions.

What a refresh trained says who is likelier than whom; the world since may be kinder or harsher than it was.
So a line over its scores is fitted to the latest answers (`models.adaptive.recalibration`). What came of an
impression counts after the wait, yes or no: a yes that counted sooner than a silence would raise every
probability. What is later still takes the place of the silence. An answer of which no impression was told
counts at once, since no silence ever counts there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

import msgspec

from tilltal.core.operational import Answered
from tilltal.core.time import parse_duration
from tilltal.decisions.live.decider import LiveDecider
from tilltal.models.adaptive.outcomes import NO, YES, outcome, seen
from tilltal.models.adaptive.recalibration import Recalibrator, log_odds, recalibrator_from
from tilltal.models.calibration import Platt
from tilltal.runtime.live.answers.learning import Lesson
from tilltal.workspace.definitions.settings import Recalibration

_AS_IT_IS = Platt()


class Scored(msgspec.Struct, frozen=True, array_like=True):
    """A shown action's model, its edition, and the probability it gave before any line.

    Kept with the decision. A model trained anew has another edition, and begins without a line.
    """

    model: str
    edition: str
    probability: float


class _State(msgspec.Struct, frozen=True, array_like=True):
    edition: str
    known: bytes


class Recalibrating:
    """The lines of the models that actions of one set of definitions use; those of uplift have none."""

    def __init__(
        self,
        decider: LiveDecider,
        settings: Recalibration,
        editions: Mapping[str, str],
        stored: Mapping[str, bytes],
    ) -> None:
        """Take up the stored states; `editions` are those of the models that the last snapshot has."""
        self._wait = round(parse_duration(settings.wait).total_seconds() * 1_000_000)
        self._window = settings.window
        self._models: dict[str, str] = {
            action.name: action.model
            for action in decider.plan.actions
            if action.model and action.model in editions and settings.enabled and not action.is_incremental
        }
        self._slots = {name: decider.slots[f"score.{name}"] for name in self._models.values()}
        self._effects = {
            action.name: (action, decider.slots[f"score.{action.uplift}"])
            for action in decider.plan.actions
            if action.uplift is not None
        }
        self._editions = {name: editions[name] for name in self._slots}
        self._stored: dict[str, bytes] = {}
        self._recalibrators: dict[str, Recalibrator] = {}
        self._lines: dict[str, Platt] | None = None
        self.catch_up(stored)

    @property
    def lines(self) -> Mapping[str, Platt]:
        """The line of each model that has learned one; of others the probability stands as it is."""
        if self._lines is None:
            found = ((name, one.line) for name, one in self._recalibrators.items())
            self._lines = {name: line for name, line in found if line != _AS_IT_IS}
        return self._lines

    def scored(self, action: str, values: Sequence[object]) -> Scored | None:
        """Return what an action's model says of a profile's values by slot; None where none is followed.

        Where an experiment's effect gave P, the model was not asked.
        """
        plan, slot = self._effects.get(action, (None, -1))
        if plan is not None and plan.effect(values[slot]) is not None:
            return None
        model = self._models.get(action)
        score = None if model is None else values[self._slots[model]]
        if model is None or not isinstance(score, int | float) or not 0 <= score <= 1:
            return None
        return Scored(model, self._editions[model], float(score))

    def scores(self, actions: Iterable[str], values: Sequence[object]) -> dict[str, Scored]:
        """Return what the models of actions said, by action; without those that are not followed."""
        if not self._models:
            return {}
        found = ((action, self.scored(action, values)) for action in actions)
        return {action: score for action, score in found if score is not None}

    def catch_up(self, stored: Mapping[str, bytes]) -> None:
        """Take up what others taught the stored models meanwhile: another process, or earlier definitions."""
        for model in self._slots:
            state = stored.get(_name(model), b"")
            if model not in self._recalibrators or self._stored[model] != state:
                self._recalibrators[model] = self._read(model, state)
                self._stored[model] = state
                self._lines = None

    def learn(self, case: Scored, decision: bytes, responses: Sequence[Answered], now: int) -> Lesson:
        """Let a model take in what is known now of a shown action.

        Args:
            case: what the model said.
            decision: its id.
            responses: all of them to this action of the decision, at least one.
            now: the instant, in microseconds.
        """
        recalibrator = self._recalibrators.get(case.model)
        if recalibrator is None or case.edition != self._editions[case.model]:
            return Lesson()
        key = blake2b(decision + responses[0].action.encode(), digest_size=8).digest()
        begin = seen(responses)
        ends = None if begin is None else begin + self._wait
        if ends is not None and ends > now:  # an answer that came before its impression waits with it
            return Lesson(self._state(case.model) if recalibrator.forget(key) else {}, ends)
        known = outcome(responses, now, self._wait)
        if known is None:
            return Lesson()
        at = max(each.received for each in responses if each.kind in YES | NO) if ends is None else ends
        is_news = recalibrator.learn(key, log_odds(case.probability), known, at)
        return Lesson(self._state(case.model) if is_news else {})

    def _state(self, model: str) -> dict[str, bytes]:
        """Return what is to be stored of a model that has learned."""
        self._lines = None
        state = _State(self._editions[model], self._recalibrators[model].to_bytes())
        self._stored[model] = msgspec.msgpack.encode(state)
        return {_name(model): self._stored[model]}

    def _read(self, model: str, state: bytes) -> Recalibrator:
        try:
            found = msgspec.msgpack.decode(state, type=_State) if state else None
            if found is not None and found.edition == self._editions[model]:
                return recalibrator_from(found.known, window=self._window)
        except msgspec.DecodeError:  # damaged: what it had learned is lost, what it learns from now on is not
            pass
        return Recalibrator(window=self._window)


def _name(model: str) -> str:
    return f"score.{model}"  # no pair of action and channel: theirs have a slash
