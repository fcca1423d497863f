"""Deciding for whoever asks.

A decision is a row of the store before it is answered: values, context and probabilities are kept, so that it
can be explained, and a response can teach what was seen then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Literal

import msgspec
import numpy as np

from tilltal.core.ids import profile_text
from tilltal.core.instants import instant_of
from tilltal.core.operational import Decided
from tilltal.customers.live.profile import ProfileState
from tilltal.decisions.contacting.permission import Answer, Answers, Permit
from tilltal.decisions.contacting.policy import Moment, Past
from tilltal.decisions.context import context_values
from tilltal.decisions.live.decider import LiveDecision, Shown
from tilltal.decisions.live.exploring import Explored
from tilltal.decisions.live.reasons import Pair
from tilltal.decisions.live.together import Kept
from tilltal.decisions.plan import DecisionPlan
from tilltal.decisions.sending.choosing import Habit
from tilltal.decisions.words.catalogue import Words
from tilltal.decisions.words.en import WORDS
from tilltal.decisions.words.sending import said
from tilltal.models.adaptive.recalibration import recalibrated
from tilltal.models.adaptive.team import TeamCase
from tilltal.models.calibration import Platt
from tilltal.rules.clock import Clock
from tilltal.runtime.live.answers.advice import Advised, Factors
from tilltal.runtime.live.answers.asking import Asked, may_reserve, must_reserve
from tilltal.runtime.live.answers.recalibrating import Scored
from tilltal.runtime.live.contract import (
    DecideAnswer,
    Scalar,
)
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.pacing import Plans
from tilltal.runtime.live.turns import Steps, done

Shortcut = Literal["late", "error", "store"]
"""Why the fallback is answered: time was over, it could not be decided, the store cannot be used."""

_NOTHING = Past()
_NOTHING_BARRED: Mapping[Pair, str] = MappingProxyType({})


class Logged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A decision as the store keeps it: enough to explain it, and to learn from its responses.

    `values` are by the names of the decider's slots, without those that are NULL; `rates` are the
    probabilities of adaptive pairs as float64, empty where nothing learns; `cases` are those of shown
    actions that learn. `scored` is, by shown action, what its model said; `lines` are slope and intercept of
    the models whose probabilities were corrected. `origin` names where scores came from (`archive.Origin`);
    `damaged` are adaptive models whose stored states could not be read. `tokens` are whom the request named,
    where contacts count; `permits` is what permits each contact shown, `barred` why contacts may not be
    made, both by `action/channel`; `crowds` is what was kept each time that one contact more was one too
    many. `shortcut` says why it is a fallback. Where probabilities were drawn,
    `rates` are the draws and `explored` says what was known before. `plans` says when what is shown is sent,
    by `action/channel`, where that was chosen, and `habit` of which rhythm.

    What is at its default is not written, so that a field added later leaves old rows as they are.
    """

    definitions: str
    context: dict[str, Scalar]
    count: int | None
    channel: str | None
    is_known: bool
    is_fallback: bool
    values: dict[str, object]
    rates: bytes
    shown: list[Shown]
    cases: dict[str, TeamCase] = {}
    language: str = ""
    scored: dict[str, Scored] = {}
    lines: dict[str, tuple[float, float]] = {}
    origin: str = ""
    damaged: tuple[str, ...] = ()
    shortcut: Shortcut | None = None
    tokens: tuple[int, ...] = ()
    permits: dict[str, Permit] = {}
    barred: dict[str, str] = {}
    crowds: tuple[Kept, ...] = ()
    explored: Explored | None = None
    habit: Habit | None = None
    plans: Plans = {}


written = msgspec.msgpack.Encoder().encode
"""Writes what a decision's row holds."""
read_logged = msgspec.msgpack.Decoder(Logged).decode
"""Reads what a decision's row holds."""


def barred_of(logged: Logged) -> dict[Pair, str]:
    """Return the pairs of action and channel that a decision could not use, with reasons."""
    split = ((name.partition("/"), reason) for name, reason in logged.barred.items())
    return {(action, channel): reason for (action, _, channel), reason in split}


class Caller(msgspec.Struct):
    """Who waits for a decision; `has_gone` once nobody does any more."""

    has_gone: bool = False


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A decision just made: what is answered, and the row that must be stored first."""

    answer: DecideAnswer
    row: Decided
    asked: Asked | None = None  # if it shows what must be reserved first
    caller: Caller | None = None  # for whom that is, if it can go away meanwhile
    flaws: tuple[str, ...] = ()  # what of the definitions could not be used (`decisions.live.flaws`)

    @property
    def weight(self) -> int:
        """How much it is to a group commit."""
        return 1


def decide(
    force: InForce,
    asked: Asked,
    profile: int | None,
    data: bytes | None,
    now: datetime,
    reserved: Past = _NOTHING,
    barred: Mapping[Pair, str] = _NOTHING_BARRED,
) -> Made:
    """Decide for a profile, given its state; for nobody known where there is none. Args as of `in_steps`."""
    return done(in_steps(force, asked, profile, data, now, reserved, barred))


def in_steps(
    force: InForce,
    asked: Asked,
    profile: int | None,
    data: bytes | None,
    now: datetime,
    reserved: Past = _NOTHING,
    barred: Mapping[Pair, str] = _NOTHING_BARRED,
) -> Steps[Made]:
    """Decide for a profile, given its state; for nobody known where there is none.

    The steps: what is known of it, what is shown, what is told and kept of that.

    Args:
        force: the definitions.
        asked: the request.
        profile: whom it names, if anybody.
        data: the state.
        now: the instant.
        reserved: contacts that were asked for here and count, and what came of contacts.
        barred: pairs of action and channel that may not be used, with the contact policy's reason.
    """
    clock = Clock(now, force.workspace.zone)
    program = force.program
    state = program.new() if data is None else program.decode(data)
    values = program.values(state, clock, force.names)
    moment = force.contacts.moment(values, clock, profile)
    past = force.contacts.past(program, state, moment.now, reserved)
    values.update(force.contacts.readings(past, moment))
    answers = Answers(partial(program.answers, state))
    allowed = _allowed(force, asked, state, moment, clock, answers, barred)
    return (yield from _made(force, asked, profile, values, clock, allowed, is_known=state.is_known))


def fall_back(force: InForce, asked: Asked, now: datetime, why: Shortcut = "late") -> Made:
    """Decide without a profile, among mandatory and default actions: what is answered when time is over.

    What must be reserved is not among them: there is no time for it.
    """
    clock = Clock(now, force.workspace.zone)
    state = force.program.new()
    values = force.program.values(state, clock, force.names)
    moment = force.contacts.moment(values, clock, None)
    values.update(force.contacts.readings(Past(), moment))
    barred = unreservable(force, asked, force.fallback.plan)
    allowed = _allowed(force, asked, state, moment, clock, (), barred)
    return done(_made(force, asked, None, values, clock, allowed, is_known=False, shortcut=why))


def _permits(force: InForce, shown: Sequence[Shown], allowed: Allowed) -> dict[str, Permit]:
    """Return what permits each contact shown, by `action/channel`."""
    parts, policy = force.contacts.parts, force.contacts.policy
    found = {}
    for one in shown:
        permit = policy.permit(parts(one.action, one.channel), allowed.answers, allowed.moment)
        if permit is not None:
            found[f"{one.action}/{one.channel}"] = permit
    return found


def unreservable(force: InForce, asked: Asked, plan: DecisionPlan) -> Mapping[Pair, str]:
    """Return the pairs of a plan that would have to be reserved, as barred where nothing can be."""
    pairs = ((action.name, each.name) for action in plan.actions for each in action.channels)
    return {pair: "no_time_to_reserve" for pair in pairs if must_reserve(force, asked, pair)}


class Allowed(msgspec.Struct, frozen=True):
    """What the customer answered, and which pairs of action and channel are barred, with reasons.

    `moment` is when and whom, and `habit` gives the customer's rhythm, where it is asked for.
    """

    answers: Iterable[Answer]
    barred: Mapping[Pair, str]
    moment: Moment
    habit: Callable[[], Habit]


def _allowed(
    force: InForce,
    asked: Asked,
    state: ProfileState,
    moment: Moment,
    clock: Clock,
    answers: Iterable[Answer],
    barred: Mapping[Pair, str],
) -> Allowed:
    used_up = force.contacts.rations.barred(moment.now, is_named=bool(asked.tokens))
    return Allowed(
        answers,
        {**used_up, **barred} if used_up else barred,
        moment,
        partial(force.contacts.pacing.habit, force.program, state, clock, moment),
    )


def _made(
    force: InForce,
    asked: Asked,
    profile: int | None,
    row: Mapping[str, object],
    clock: Clock,
    allowed: Allowed,
    *,
    is_known: bool,
    shortcut: Shortcut | None = None,
) -> Steps[Made]:
    at, is_fallback = allowed.moment.now, shortcut is not None
    decider = force.fallback if is_fallback else force.decider
    context = dict(asked.request.context)
    told = context_values(force.workspace.engagement, context)
    values = decider.values_of({**row, **told} if told else row)
    decision_id = decision_id_of(at)
    answers = None if is_fallback else force.learning.ask(values, decision_id, at)
    if not is_fallback:
        who = int.from_bytes(decision_id[-8:], "big") if profile is None else profile
        force.exploring.close(values, who, force.learning)
    rates = None if answers is None else answers.rates
    lines = {} if is_fallback else force.recalibrating.lines
    chance = force.exploring.chance(answers, decision_id)
    yield
    fitted = decider.together.fitted(
        lambda barred, first: decider.decide(
            values,
            clock,
            context,
            count=asked.count,
            channel=asked.channel,
            rates=rates if first is None else first.moment.rates,
            lines=lines,
            barred=barred,
            chance=chance if first is None else None,
        ),
        values,
        allowed.barred,
    )
    yield
    decision = fitted.decision
    cases = force.learning.cases(decision.shown, answers, at)
    actions = [shown.action for shown in decision.shown]
    scored = {} if is_fallback else force.recalibrating.scores(actions, values)
    language = force.language_of(row)
    pacing = force.contacts.pacing
    habit = allowed.habit() if pacing.concerns(decision.shown) else None
    logged = Logged(
        definitions=force.version,
        context=context,
        count=asked.count,
        channel=asked.channel,
        is_known=is_known,
        is_fallback=is_fallback,
        values=decider.known_of(values),
        rates=b"" if rates is None else np.asarray(decision.moment.rates).tobytes(),
        explored=fitted.first.explored,
        shown=list(decision.shown),
        cases=cases,
        language=language,
        scored=scored,
        lines={name: (line.slope, line.intercept) for name, line in lines.items()},
        origin=force.origin_id,
        damaged=() if is_fallback else tuple(sorted(force.learning.damaged)),
        shortcut=shortcut,
        tokens=asked.tokens if force.contacts.counts and not is_fallback else (),
        permits=_permits(force, decision.shown, allowed),
        barred={f"{action}/{channel}": reason for (action, channel), reason in allowed.barred.items()},
        crowds=fitted.crowds,
        habit=habit,
        plans={} if habit is None else pacing.plans(decision.shown, allowed.moment, habit),
    )
    is_reserving = may_reserve(force, asked) and any(
        must_reserve(force, asked, (one.action, one.channel)) for one in decision.shown
    )
    return Made(
        answer=_answer(force, decision_id, logged, decision, profile, clock.now),
        row=Decided(id=decision_id, at=at, profile=profile, body=written(logged)),
        asked=asked if is_reserving else None,
        flaws=decider.flaws.of(values, clock, asked.channel),
    )


def decision_id_of(at: int) -> bytes:
    """Return a new id that sorts by time: 48 bits of milliseconds and 80 random ones (as a ULID)."""
    return (at // 1000).to_bytes(6, "big") + os.urandom(10)


def _answer(
    force: InForce,
    decision_id: bytes,
    logged: Logged,
    decision: LiveDecision,
    profile: int | None,
    now: datetime,
) -> DecideAnswer:
    drawn = {} if logged.explored is None else logged.explored.known()
    return DecideAnswer(
        decision_id=decision_id.hex(),
        at=now,
        profile=None if profile is None else profile_text(profile),
        is_known=logged.is_known,
        actions=tuple([_advised(force, shown, logged, drawn) for shown in decision.shown]),
        definitions=logged.definitions,
        is_fallback=logged.is_fallback,
    )


def _advised(
    force: InForce, shown: Shown, logged: Logged, drawn: Mapping[int, tuple[float, float]]
) -> Advised:
    definition, planned = force.workspace.actions[shown.action], None
    share = drawn[shown.pair][0] if shown.pair in drawn else None
    notes = force.notes(shown, share, has_learned=bool(logged.rates))
    if definition.uplift is not None:
        notes += force.effect(shown, definition.uplift, logged.values)
    if logged.scored:
        notes += correction(shown, logged)
    if logged.plans:
        planned = logged.plans.get(f"{shown.action}/{shown.channel}")
        notes += timing(shown, logged)
    return Advised(
        rank=shown.rank,
        action=shown.action,
        title=definition.title,
        channel=shown.channel,
        priority=shown.priority,
        factors=Factors(shown.P, shown.C, shown.V, shown.L),
        cost=shown.cost,
        treatment=force.treatments.get((shown.action, shown.channel, logged.language)),
        reasons=notes,
        send_at=None if planned is None else instant_of(planned.at),
        send_reason=None if planned is None else planned.because,
    )


def correction(shown: Shown, logged: Logged) -> tuple[str, ...]:
    """Return what a shown action's model said before answers corrected it, in words; nothing if none did."""
    said = logged.scored.get(shown.action)
    if said is None or said.model not in logged.lines:
        return ()
    before, after = said.probability, recalibrated(said.probability, Platt(*logged.lines[said.model]))
    return (WORDS.corrected.format(before=f"{before:.1%}", after=f"{after:.1%}"),)


def timing(shown: Shown, logged: Logged, words: Words = WORDS) -> tuple[str, ...]:
    """Return when a shown action is sent and why then, in words; nothing if that was not chosen."""
    planned = logged.plans.get(f"{shown.action}/{shown.channel}")
    return () if planned is None else (said(planned, words),)
