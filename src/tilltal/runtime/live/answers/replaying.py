"""Deciding again what was decided before: by the definitions of then, on the values that were seen then.

What went into a decision is in its row: instant, values with what stood against contacts, context, number and
channel asked for, learned rates, lines of models. So the same comes out again, to the last byte, whatever has
become of customer, models and definitions since. Nothing is written, and nothing learns.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

import msgspec
import numpy as np

from tilltal.core.operational import Decided
from tilltal.decisions.live.decider import LiveDecider, LiveDecision
from tilltal.models.calibration import Platt
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.runtime.live.answers.deciding import Logged, barred_of, written
from tilltal.runtime.live.answers.recalibrating import Scored
from tilltal.runtime.live.definitions import fallback_of
from tilltal.runtime.live.instants import moment
from tilltal.runtime.refresh.deciding import decision_plan
from tilltal.workspace.workspace import Workspace

_READ: dict[Type, Callable[[str], object]] = {
    Type.DATE: date.fromisoformat,
    Type.TIMESTAMP: datetime.fromisoformat,
}


class _Way(msgspec.Struct, frozen=True):
    """A decider, and how to read the values that a row holds as texts."""

    decider: LiveDecider
    readers: dict[str, Callable[[str], object]]


class Then:
    """Definitions of some time, compiled to decide again what they decided."""

    def __init__(self, workspace: Workspace) -> None:
        """Compile definitions as they were.

        Raises:
            WorkspaceError: with the faults of expressions.
        """
        self.workspace = workspace
        plan = decision_plan(workspace, Clock(moment(0), workspace.zone))
        self._usual, self._fallback = _way(LiveDecider(plan)), _way(LiveDecider(fallback_of(plan, workspace)))

    def decider(self, logged: Logged) -> LiveDecider:
        """Return what decided."""
        return self._way(logged).decider

    def decide(self, logged: Logged, at: int) -> LiveDecision:
        """Decide again; `at` is the instant of the decision, in microseconds."""
        return self._decided(logged, self._values(logged), at)

    def _decided(self, logged: Logged, values: list[object], at: int) -> LiveDecision:
        return self.decider(logged).decide(
            values,
            Clock(moment(at), self.workspace.zone),
            logged.context,
            count=logged.count,
            channel=logged.channel,
            rates=np.frombuffer(logged.rates) if logged.rates else None,
            lines={name: Platt(*line) for name, line in logged.lines.items()},
            barred=barred_of(logged),
        )

    def again(self, logged: Logged, at: int) -> Logged:
        """Return the row that the decision would have today."""
        decider, values = self._way(logged).decider, self._values(logged)
        return msgspec.structs.replace(
            logged,
            values={name: values[slot] for name, slot in decider.slots.items() if values[slot] is not None},
            shown=list(self._decided(logged, values, at).shown),
            scored={
                action: Scored(one.model, one.edition, _number(values[decider.slots[f"score.{one.model}"]]))
                for action, one in logged.scored.items()
            },
        )

    def _way(self, logged: Logged) -> _Way:
        return self._fallback if logged.is_fallback else self._usual

    def _values(self, logged: Logged) -> list[object]:
        way, stored = self._way(logged), logged.values
        values = way.decider.values_of(stored)
        for name, read in way.readers.items():
            if isinstance(text := stored.get(name), str):
                values[way.decider.slots[name]] = read(text)
        return values


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that came out otherwise: where first, what was logged, and what comes out today."""

    decision: str
    at: datetime
    definitions: str
    where: str
    logged: str
    again: str


def difference(then: Then, decided: Decided, logged: Logged) -> Difference | None:
    """Decide again and return where the row first differs; None if it is the same, byte for byte."""
    again = then.again(logged, decided.at)
    if written(again) == decided.body:
        return None
    where, before, after = _first(msgspec.to_builtins(logged), msgspec.to_builtins(again), "")
    return Difference(
        decision=decided.id.hex(),
        at=moment(decided.at),
        definitions=logged.definitions,
        where=where or "the form of the row",
        logged=repr(before),
        again=repr(after),
    )


def unreadable(decided: Decided, error: Exception) -> Difference:
    """Return that a row is damaged."""
    return Difference(
        decision=decided.id.hex(),
        at=moment(decided.at),
        definitions="",
        where="the row, which cannot be read",
        logged=str(error),
        again="",
    )


def _first(before: object, after: object, where: str) -> tuple[str, object, object]:
    """Return the first place where two values differ, with both; no place if they do not."""
    if isinstance(before, dict) and isinstance(after, dict):
        steps = [(f".{key}", before.get(key), after.get(key)) for key in {**before, **after}]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        steps = [(f"[{n}]", one, other) for n, (one, other) in enumerate(zip(before, after, strict=True))]
    else:
        return ("", None, None) if _is_same(before, after) else (where.lstrip("."), before, after)
    found = (_first(one, other, where + step) for step, one, other in steps)
    return next((each for each in found if each[0]), ("", None, None))


def _is_same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _way(decider: LiveDecider) -> _Way:
    kinds = ((name, decider.plan.schema.get(name)) for name in decider.slots)
    return _Way(decider, {name: _READ[kind] for name, kind in kinds if kind in _READ})


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
