"""Deciding again what was decided before: by the definitions of then, on the values that were seen then.

What went into a decision is in its row: instant, values with what stood against contacts, context, number and
channel asked for, learned rates, lines of models, the customer's rhythm. So the same comes out again, to the
last byte, whatever has become of customer, models and definitions since: what is shown, what was drawn for
it, and what permitted it. Nothing is written or learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime

import msgspec
import numpy as np

from tilltal.core.instants import instant_of
from tilltal.core.operational import Decided
from tilltal.decisions.contacting.permission import ALL_CHANNELS, Answer, Permit
from tilltal.decisions.live.decider import LiveDecider, LiveDecision, Shown
from tilltal.decisions.live.exploring import Chance, Explored, Floats
from tilltal.decisions.live.reasons import Pair
from tilltal.decisions.live.together import Fitted
from tilltal.models.calibration import Platt
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.runtime.live.answers.deciding import Logged, barred_of, written
from tilltal.runtime.live.answers.recalibrating import Scored
from tilltal.runtime.live.contacting import LiveContacts
from tilltal.runtime.live.definitions import fallback_of
from tilltal.runtime.live.pacing import Plans
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
    """Definitions of some time, compiled to decide again what they decided.

    `put_off` are the actions of which a message may be sent later, by up to `horizon` microseconds.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Compile definitions as they were.

        Raises:
            WorkspaceError: with the faults of expressions.
        """
        self.workspace = workspace
        plan = decision_plan(workspace, Clock(instant_of(0), workspace.zone))
        self._usual, self._fallback = _way(LiveDecider(plan)), _way(LiveDecider(fallback_of(plan, workspace)))
        self._contacts = LiveContacts(workspace, plan)
        sender = self._contacts.pacing.sender
        self.horizon = sender.horizon
        self.put_off = frozenset(
            action.name for action in plan.actions if any(sender.plans(each.name) for each in action.channels)
        )

    def decider(self, logged: Logged) -> LiveDecider:
        """Return what decided."""
        return self._way(logged).decider

    def known(self, logged: Logged) -> dict[str, object]:
        """Return the values that were seen, by name, as expressions read them."""
        return self.decider(logged).known_of(self._values(logged))

    def decide(self, logged: Logged, at: int) -> LiveDecision:
        """Decide again, with the draws of then; `at` is the instant of the decision, in microseconds."""
        decider, values = self.decider(logged), self._values(logged)
        barred = decider.together.barred(logged.crowds, values, barred_of(logged))
        return self._decided(logged, values, at, _rates(logged), None, barred)

    def _decided(
        self,
        logged: Logged,
        values: list[object],
        at: int,
        rates: Sequence[float] | Floats | None,
        chance: Chance | None,
        barred: Mapping[Pair, str],
    ) -> LiveDecision:
        return self.decider(logged).decide(
            values,
            Clock(instant_of(at), self.workspace.zone),
            logged.context,
            count=logged.count,
            channel=logged.channel,
            rates=rates,
            lines={name: Platt(*line) for name, line in logged.lines.items()},
            barred=barred,
            chance=chance,
        )

    def again(self, decided: Decided, logged: Logged) -> Logged:
        """Return the row that the decision would have today: drawn again from what was known before."""
        at, decider, values = decided.at, self.decider(logged), self._values(logged)
        found = self._fitted(decided, logged, values)
        shown = found.decision.shown
        rates = found.decision.moment.rates
        return msgspec.structs.replace(
            logged,
            values=decider.known_of(values),
            rates=b"" if rates is None else np.asarray(rates).tobytes(),
            explored=found.first.explored,
            crowds=found.crowds,
            shown=list(shown),
            permits=self._permits(logged, shown, at),
            plans=self._plans(logged, shown, at),
            scored={
                action: Scored(one.model, one.edition, _number(values[decider.slots[f"score.{one.model}"]]))
                for action, one in logged.scored.items()
            },
        )

    def _fitted(self, decided: Decided, logged: Logged, values: list[object]) -> Fitted[LiveDecision]:
        """Decide again, and draw again where it was drawn: from the decision's id and what was known."""
        decider, rates = self.decider(logged), _rates(logged)
        chance = None
        if rates is not None and decider.plan.arbitration.exploration.method == "thompson":
            rates, chance = _before(logged.explored, rates, decided.id)
        return decider.together.fitted(
            lambda barred, first: self._decided(
                logged,
                values,
                decided.at,
                rates if first is None else first.moment.rates,
                chance if first is None else None,
                barred,
            ),
            values,
            barred_of(logged),
        )

    def _permits(self, logged: Logged, shown: Sequence[Shown], at: int) -> dict[str, Permit]:
        """Return what permits each contact shown, given the answers that the row names.

        One that is needed and not there is taken to be of the decision's instant, which no row says.
        """
        moment_of = self._contacts.moment(logged.values, Clock(instant_of(at), self.workspace.zone), None)
        found = {}
        for one in shown:
            contact, name = self._contacts.contact(one.action, one.channel), f"{one.action}/{one.channel}"
            kept = logged.permits.get(name)
            answers = () if kept is None or kept.answer is None else (kept.answer,)
            permit = self._contacts.policy.permit(contact, answers, moment_of)
            if permit is None:
                missing = Answer(contact.purpose or "", ALL_CHANNELS, granted=True, at=at)
                permit = self._contacts.policy.permit(contact, (missing,), moment_of)
            if permit is not None:
                found[name] = permit
        return found

    def _plans(self, logged: Logged, shown: Sequence[Shown], at: int) -> Plans:
        """Return when what is shown is sent, by the rhythm of then."""
        if logged.habit is None:
            return {}
        moment_of = self._contacts.moment(logged.values, Clock(instant_of(at), self.workspace.zone), None)
        return self._contacts.pacing.plans(shown, moment_of, logged.habit)

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
    again = then.again(decided, logged)
    if written(again) == decided.body:
        return None
    where, before, after = _first(msgspec.to_builtins(logged), msgspec.to_builtins(again), "")
    return Difference(
        decision=decided.id.hex(),
        at=instant_of(decided.at),
        definitions=logged.definitions,
        where=where or "the form of the row",
        logged=repr(before),
        again=repr(after),
    )


def unreadable(decided: Decided, error: Exception) -> Difference:
    """Return that a row is damaged."""
    return Difference(
        decision=decided.id.hex(),
        at=instant_of(decided.at),
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


def _rates(logged: Logged) -> Floats | None:
    """Return the rates that a decision was made with, the draws among them."""
    return np.frombuffer(logged.rates) if logged.rates else None


def _before(explored: Explored | None, rates: Floats, seed: bytes) -> tuple[Floats, Chance]:
    """Return the rates of before drawing, and what to draw with."""
    known, evidence = rates.copy(), np.zeros(len(rates))
    for place, (rate, answers) in ({} if explored is None else explored.known()).items():
        known[place], evidence[place] = rate, answers
    return known, Chance(evidence, seed)


def _way(decider: LiveDecider) -> _Way:
    kinds = ((name, decider.plan.schema.get(name)) for name in decider.slots)
    return _Way(decider, {name: _READ[kind] for name, kind in kinds if kind in _READ})


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
