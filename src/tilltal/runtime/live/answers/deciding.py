"""Deciding for whoever asks.

A decision is a row of the store before it is answered: values, context and probabilities are kept, so that it
can be explained, and a response can teach what was seen then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Literal

import msgspec
import numpy as np

from tilltal.core.errors import TilltalError, nearest
from tilltal.core.ids import profile_text
from tilltal.core.operational import Decided
from tilltal.decisions.contacting.permission import Answer, Permit, answers_of
from tilltal.decisions.contacting.policy import Moment, Past
from tilltal.decisions.context import context_values
from tilltal.decisions.live.decider import LiveDecision, Shown
from tilltal.decisions.live.exploring import Explored
from tilltal.decisions.live.reasons import Pair
from tilltal.decisions.words.en import WORDS
from tilltal.models.adaptive.recalibration import recalibrated
from tilltal.models.adaptive.team import TeamCase
from tilltal.models.calibration import Platt
from tilltal.rules.clock import Clock
from tilltal.runtime.live.answers.recalibrating import Scored
from tilltal.runtime.live.contract import (
    Advised,
    DecideAnswer,
    DecideRequest,
    Factors,
    Scalar,
    Treatment,
)
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.instants import micros

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
    made, both by `action/channel`. `shortcut` says why it is a fallback. Where probabilities were drawn,
    `rates` are the draws and `explored` says what was known before.

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
    explored: Explored | None = None


written = msgspec.msgpack.Encoder().encode
"""Writes what a decision's row holds."""
read_logged = msgspec.msgpack.Decoder(Logged).decode
"""Reads what a decision's row holds."""


def barred_of(logged: Logged) -> dict[Pair, str]:
    """Return the pairs of action and channel that a decision could not use, with reasons."""
    split = ((name.partition("/"), reason) for name, reason in logged.barred.items())
    return {(action, channel): reason for (action, _, channel), reason in split}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request, read: for whom, where, by when."""

    tokens: tuple[int, ...]
    request: DecideRequest
    channel: str | None
    count: int | None


def read_request(force: InForce, request: DecideRequest) -> Asked:
    """Check a request against the definitions.

    Raises:
        TilltalError: C110 for an unknown namespace, C111 for a placement, C112 for a channel.
    """
    tokens = []
    for namespace, value in request.identity.items():
        token = force.token(namespace, value)
        if token is not None:
            tokens.append(token)
    channel, count = request.channel, request.count
    if request.placement is not None:
        placements = force.workspace.settings.server.placements
        placement = placements.get(request.placement)
        if placement is None:
            raise TilltalError.of(
                "C111",
                f"There is no placement {request.placement!r}.",
                valid=nearest(request.placement, placements),
                hint="Declare it under server.placements in tilltal.yaml.",
            )
        channel = channel or placement.channel
        count = placement.count if count is None else count
    if channel is not None and channel not in force.workspace.settings.channels:
        raise TilltalError.of(
            "C112",
            f"There is no channel {channel!r}.",
            valid=nearest(channel, force.workspace.settings.channels),
        )
    return Asked(tokens=tuple(tokens), request=request, channel=channel, count=count)


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A decision just made: what is answered, and the row that must be stored first."""

    answer: DecideAnswer
    row: Decided
    asked: Asked | None = None  # if it shows what must be reserved first

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
    """Decide for a profile, given its state; for nobody known where there is none.

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
    answers = tuple(answers_of(program.answers(state)))
    allowed = Allowed(partial(_permit, force, answers, moment), barred)
    return _made(force, asked, profile, values, clock, allowed, is_known=state.is_known)


def fall_back(force: InForce, asked: Asked, now: datetime, why: Shortcut = "late") -> Made:
    """Decide without a profile, among mandatory and default actions: what is answered when time is over.

    What must be reserved is not among them: there is no time for it.
    """
    clock = Clock(now, force.workspace.zone)
    state = force.program.new()
    values = force.program.values(state, clock, force.names)
    moment = force.contacts.moment(values, clock, None)
    values.update(force.contacts.readings(Past(), moment))
    allowed = Allowed(partial(_permit, force, (), moment), _unreserved(force, asked))
    return _made(force, asked, None, values, clock, allowed, is_known=False, shortcut=why)


def _permit(force: InForce, answers: tuple[Answer, ...], moment: Moment, shown: Shown) -> Permit | None:
    contact = force.contacts.contact(shown.action, shown.channel)
    return force.contacts.policy.permit(contact, answers, moment)


def _unreserved(force: InForce, asked: Asked) -> Mapping[Pair, str]:
    pairs = ((action.name, each.name) for action in force.fallback.plan.actions for each in action.channels)
    return {pair: "no_time_to_reserve" for pair in pairs if must_reserve(force, asked, pair[1])}


def must_reserve(force: InForce, asked: Asked, channel: str) -> bool:
    """True if what a decision shows in a channel is reserved first."""
    if asked.request.reserve is not None:
        return asked.request.reserve and bool(asked.tokens)
    return force.contacts.counts and channel in force.workspace.contact.reserve and bool(asked.tokens)


class Allowed(msgspec.Struct, frozen=True):
    """What permits a shown contact, and which pairs of action and channel are barred, with reasons."""

    permit: Callable[[Shown], Permit | None]
    barred: Mapping[Pair, str]


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
) -> Made:
    at, is_fallback = micros(clock.now), shortcut is not None
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
    decision = decider.decide(
        values,
        clock,
        context,
        count=asked.count,
        channel=asked.channel,
        rates=rates,
        lines=lines,
        barred=allowed.barred,
        chance=force.exploring.chance(answers, decision_id),
    )
    permits = {
        f"{one.action}/{one.channel}": permit for one in decision.shown if (permit := allowed.permit(one))
    }
    cases = {
        f"{shown.action}/{shown.channel}": case
        for shown in decision.shown
        if not is_fallback and (case := force.learning.case(shown.pair, values, answers, at)) is not None
    }
    scored = {
        shown.action: found
        for shown in decision.shown
        if not is_fallback and (found := force.recalibrating.scored(shown.action, values)) is not None
    }
    language = force.language_of(row)
    logged = Logged(
        definitions=force.version,
        context=context,
        count=asked.count,
        channel=asked.channel,
        is_known=is_known,
        is_fallback=is_fallback,
        values={name: values[slot] for name, slot in decider.slots.items() if values[slot] is not None},
        rates=b"" if rates is None else np.asarray(decision.moment.rates).tobytes(),
        explored=decision.explored,
        shown=list(decision.shown),
        cases=cases,
        language=language,
        scored=scored,
        lines={name: (line.slope, line.intercept) for name, line in lines.items()},
        origin=force.origin_id,
        damaged=() if is_fallback else tuple(sorted(force.learning.damaged)),
        shortcut=shortcut,
        tokens=asked.tokens if force.contacts.counts and not is_fallback else (),
        permits=permits,
        barred={f"{action}/{channel}": reason for (action, channel), reason in allowed.barred.items()},
    )
    is_reserving = any(must_reserve(force, asked, one.channel) for one in decision.shown)
    return Made(
        answer=_answer(force, decision_id, logged, decision, profile, clock.now),
        row=Decided(id=decision_id, at=at, profile=profile, body=written(logged)),
        asked=asked if is_reserving else None,
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
    return DecideAnswer(
        decision_id=decision_id.hex(),
        at=now,
        profile=None if profile is None else profile_text(profile),
        is_known=logged.is_known,
        actions=tuple(_advised(force, shown, logged) for shown in decision.shown),
        definitions=logged.definitions,
        is_fallback=logged.is_fallback,
    )


def _advised(force: InForce, shown: Shown, logged: Logged) -> Advised:
    definition = force.workspace.actions[shown.action]
    known = {} if logged.explored is None else logged.explored.known()
    share = known[shown.pair][0] if shown.pair in known else None
    notes = (*force.notes(shown, share, has_learned=bool(logged.rates)), *correction(shown, logged))
    return Advised(
        rank=shown.rank,
        action=shown.action,
        title=definition.title,
        channel=shown.channel,
        priority=shown.priority,
        factors=Factors(shown.P, shown.C, shown.V, shown.L),
        treatment=_treatment(force, shown, logged.language),
        reasons=notes,
    )


def correction(shown: Shown, logged: Logged) -> tuple[str, ...]:
    """Return what a shown action's model said before answers corrected it, in words; nothing if none did."""
    said = logged.scored.get(shown.action)
    if said is None or said.model not in logged.lines:
        return ()
    before, after = said.probability, recalibrated(said.probability, Platt(*logged.lines[said.model]))
    return (WORDS.corrected.format(before=f"{before:.1%}", after=f"{after:.1%}"),)


def _treatment(force: InForce, shown: Shown, language: str) -> Treatment | None:
    treatments = force.workspace.treatments.get(shown.action, {})
    languages = (language, *force.workspace.settings.languages)
    for one in languages:
        found = treatments.get((shown.channel, one))
        if found is not None:
            return Treatment(channel=shown.channel, language=one, content=msgspec.structs.asdict(found))
    return None
