"""Deciding for whoever asks, and taking in what came of it.

A decision is a row of the store before it is answered: values, context and probabilities are kept, so that it
can be explained, and a response can teach what was seen then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime

import msgspec

from tilltal.core.errors import TilltalError, nearest
from tilltal.core.ids import profile_text
from tilltal.core.operational import Answered, Decided, Transaction, Waiting, Writes
from tilltal.decisions.live.decider import LiveDecision, Shown
from tilltal.models.adaptive.model import Case
from tilltal.rules.clock import Clock
from tilltal.runtime.live.answers.learning import told
from tilltal.runtime.live.contract import (
    Advised,
    DecideAnswer,
    DecideRequest,
    Factors,
    Response,
    ResponseOutcome,
    Scalar,
    Treatment,
)
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.instants import micros


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as the store keeps it: enough to explain it, and to learn from its responses.

    `values` are by the names of the decider's slots, without those that are NULL; `rates` are the
    probabilities of adaptive pairs as float64, empty where nothing learns; `cases` are those of shown
    actions that learn.
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
    cases: dict[str, Case] = {}
    language: str = ""


_encode = msgspec.msgpack.Encoder().encode
read_logged = msgspec.msgpack.Decoder(Logged).decode
"""Reads what a decision's row holds."""


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

    @property
    def weight(self) -> int:
        """How much it is to a group commit."""
        return 1


def decide(force: InForce, asked: Asked, profile: int | None, data: bytes | None, now: datetime) -> Made:
    """Decide for a profile, given its state; for nobody known where there is none."""
    clock = Clock(now, force.workspace.zone)
    program = force.program
    state = program.new() if data is None else program.decode(data)
    values = program.values(state, clock, force.names)
    if force.counts is not None:
        values.update(force.counts.count(force.past_contacts(state), clock))
    return _made(force, asked, profile, values, clock, is_known=state.is_known, is_fallback=False)


def fall_back(force: InForce, asked: Asked, now: datetime) -> Made:
    """Decide without a profile, among mandatory and default actions: what is answered when time is over."""
    clock = Clock(now, force.workspace.zone)
    state = force.program.new()
    values = force.program.values(state, clock, force.names)
    return _made(force, asked, None, values, clock, is_known=False, is_fallback=True)


def _made(
    force: InForce,
    asked: Asked,
    profile: int | None,
    row: Mapping[str, object],
    clock: Clock,
    *,
    is_known: bool,
    is_fallback: bool,
) -> Made:
    at = micros(clock.now)
    decider = force.fallback if is_fallback else force.decider
    values = decider.values_of(row)
    rates = None if is_fallback else force.learning.rates(values, at)
    context = dict(asked.request.context)
    decision = decider.decide(values, clock, context, count=asked.count, channel=asked.channel, rates=rates)
    cases = {
        f"{shown.action}/{shown.channel}": case
        for shown in decision.shown
        if not is_fallback and (case := force.learning.case(shown.pair, values, at)) is not None
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
        rates=b"" if rates is None else rates.tobytes(),
        shown=list(decision.shown),
        cases=cases,
        language=language,
    )
    decision_id = decision_id_of(at)
    return Made(
        answer=_answer(force, decision_id, logged, decision, profile, clock.now),
        row=Decided(id=decision_id, at=at, profile=profile, body=_encode(logged)),
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
    notes = force.notes(shown, has_learned=bool(logged.rates))
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


def _treatment(force: InForce, shown: Shown, language: str) -> Treatment | None:
    treatments = force.workspace.treatments.get(shown.action, {})
    languages = (language, *force.workspace.settings.languages)
    for one in languages:
        found = treatments.get((shown.channel, one))
        if found is not None:
            return Treatment(channel=shown.channel, language=one, content=msgspec.structs.asdict(found))
    return None


class Replies(msgspec.Struct, frozen=True, kw_only=True):
    """Responses that came in one call, with when."""

    responses: tuple[Response, ...]
    received: datetime

    @property
    def weight(self) -> int:
        """How much it is to a group commit."""
        return max(1, len(self.responses))


async def take_replies(tx: Transaction, force: InForce, replies: Replies) -> list[ResponseOutcome]:
    """Store responses and teach the adaptive models, which know what is stored; the caller commits."""
    outcomes = []
    for one in replies.responses:
        outcomes.append(await _take(tx, force, one, micros(replies.received)))
    return outcomes


async def _take(tx: Transaction, force: InForce, one: Response, received: int) -> ResponseOutcome:
    try:
        decision_id = bytes.fromhex(one.decision_id)
    except ValueError:
        return _rejected(one, "C113", f"{one.decision_id!r} is no decision id.")
    decided = await tx.decision(decision_id)
    if decided is None:
        return _rejected(one, "C113", f"There is no decision {one.decision_id}.")
    logged = read_logged(decided.body)
    shown = next((each for each in logged.shown if each.action == one.action), None)
    if shown is None:
        valid = ", ".join(each.action for each in logged.shown) or "none"
        return _rejected(one, "C114", f"The decision did not show {one.action!r}; it showed {valid}.")
    key = response_key(one.id)
    if await tx.known_responses([key]):
        return ResponseOutcome(id=one.id, outcome="duplicate")
    before = [each for each in await tx.responses(decision_id) if each.action == one.action]
    at = received if one.at is None else min(micros(one.at), received)
    answered = Answered(
        id=key,
        decision=decision_id,
        action=one.action,
        channel=shown.channel,
        kind=one.kind,
        at=at,
        received=received,
    )
    is_waiting = one.action in await tx.waits(decision_id)
    case = logged.cases.get(f"{shown.action}/{shown.channel}")
    writes = Writes(responses=[answered])
    if case is not None:
        known = told(before, is_waiting=is_waiting)
        lesson = force.learning.learn(case, known, [*before, answered], received)
        writes.adaptive = lesson.states
        if is_waiting or lesson.ends is not None:
            writes.waiting.append(Waiting(decision_id, one.action, lesson.ends))
    await tx.write(writes)
    return ResponseOutcome(id=one.id, outcome="accepted")


class Overdue(msgspec.Struct, frozen=True, kw_only=True):
    """Actions that waited for an answer until now."""

    waiting: tuple[Waiting, ...]
    now: datetime

    @property
    def weight(self) -> int:
        """How much it is to a group commit."""
        return max(1, len(self.waiting))


async def take_overdue(tx: Transaction, force: InForce, overdue: Overdue) -> None:
    """Let adaptive models, which know what is stored, take silence for an answer; the caller commits."""
    for one in overdue.waiting:
        if one.action in await tx.waits(one.decision):  # no answer came meanwhile
            await tx.write(await _silence(tx, force, one, micros(overdue.now)))


async def _silence(tx: Transaction, force: InForce, one: Waiting, now: int) -> Writes:
    """Return what is to be written of an action that waited."""
    decided = await tx.decision(one.decision)
    responses = [each for each in await tx.responses(one.decision) if each.action == one.action]
    if decided is None or not responses:  # forgotten
        return Writes(waiting=[Waiting(one.decision, one.action, None)])
    logged = read_logged(decided.body)
    lesson = force.learning.learn(logged.cases[f"{one.action}/{responses[0].channel}"], None, responses, now)
    return Writes(adaptive=lesson.states, waiting=[Waiting(one.decision, one.action, lesson.ends)])


def response_key(text: str) -> bytes:
    """Return a response's id as the store keeps it."""
    return text.encode()


def _rejected(one: Response, code: str, reason: str) -> ResponseOutcome:
    return ResponseOutcome(id=one.id, outcome="rejected", code=code, reason=reason)
