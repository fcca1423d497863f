"""Taking in what came of decisions: responses, and silence where it has lasted long enough."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from tilltal.core.operational import Answered, Decided, Transaction, Waiting, Writes
from tilltal.core.time import parse_duration
from tilltal.models.adaptive.outcomes import NO, YES, time_out
from tilltal.runtime.live.answers.deciding import Logged, read_logged
from tilltal.runtime.live.answers.learning import Lesson, told
from tilltal.runtime.live.contacts.books import Books, Wanted
from tilltal.runtime.live.contacts.reserving import IGNORED, contact_name, responded
from tilltal.runtime.live.contract import Response, ResponseOutcome
from tilltal.runtime.live.definitions import InForce
from tilltal.runtime.live.instants import micros

_MICROSECOND = timedelta(microseconds=1)


class Replies(msgspec.Struct, frozen=True, kw_only=True):
    """Responses that came in one call, with when."""

    responses: tuple[Response, ...]
    received: datetime

    @property
    def weight(self) -> int:
        """How much it is to a group commit."""
        return max(1, len(self.responses))


async def want(tx: Transaction, force: InForce, wanted: Wanted, pieces: Iterable[object]) -> None:
    """Add what responses and silence need of the books: their contacts, and whom their decisions named."""
    for piece in pieces:
        if isinstance(piece, Replies):
            for one in piece.responses:
                wanted.names.append(contact_name(one.decision_id, one.action))
                decided = await _decision(tx, one.decision_id) if force.contacts.counts else None
                if decided is not None:
                    wanted.people.append(read_logged(decided.body).tokens)
        elif isinstance(piece, Overdue):
            wanted.names += [contact_name(one.decision.hex(), one.action) for one in piece.waiting]


async def take_replies(
    tx: Transaction, force: InForce, books: Books, replies: Replies
) -> list[ResponseOutcome]:
    """Store responses and teach the adaptive models, which know what is stored; the caller commits."""
    outcomes = []
    for one in replies.responses:
        outcomes.append(await _take(tx, force, books, one, micros(replies.received)))
    return outcomes


async def _decision(tx: Transaction, text: str) -> Decided | None:
    try:
        return await tx.decision(bytes.fromhex(text))
    except ValueError:
        return None


async def _take(
    tx: Transaction, force: InForce, books: Books, one: Response, received: int
) -> ResponseOutcome:
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
    at = received if one.at is None else min(max(micros(one.at), decided.at), received)
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
    scored = logged.scored.get(one.action)
    writes = Writes(responses=[answered])
    lesson = None
    if case is not None:
        known = told(before, is_waiting=is_waiting)
        lesson = force.learning.learn(case, known, [*before, answered], received)
    elif scored is not None:
        lesson = force.recalibrating.learn(scored, decision_id, [*before, answered], received)
    name, pair = contact_name(one.decision_id, one.action), (one.action, shown.channel)
    responded(force, books, logged, name, pair, one.kind, at)
    if lesson is None:
        lesson = Lesson(ends=_patience(force, logged, [*before, answered]))
    writes.adaptive = lesson.states
    if is_waiting or lesson.ends is not None:
        writes.waiting.append(Waiting(decision_id, one.action, lesson.ends))
    await tx.write(writes)
    return ResponseOutcome(id=one.id, outcome="accepted")


def _patience(force: InForce, logged: Logged, responses: list[Answered]) -> int | None:
    """Return when silence after an impression is noted as `ignored`; None where no cool-down asks for it."""
    if not logged.tokens or not any(rule.outcome == IGNORED for rule in force.workspace.contact.cooldowns):
        return None
    wait = parse_duration(force.workspace.settings.server.recalibration.wait) // _MICROSECOND
    return time_out(responses, wait)


class Overdue(msgspec.Struct, frozen=True, kw_only=True):
    """Actions that waited for an answer until now."""

    waiting: tuple[Waiting, ...]
    now: datetime

    @property
    def weight(self) -> int:
        """How much it is to a group commit."""
        return max(1, len(self.waiting))


async def take_overdue(tx: Transaction, force: InForce, books: Books, overdue: Overdue) -> None:
    """Let adaptive models, which know what is stored, take silence for an answer; the caller commits."""
    for one in overdue.waiting:
        if one.action in await tx.waits(one.decision):  # no answer came meanwhile
            await tx.write(await _silence(tx, force, books, one, micros(overdue.now)))


async def _silence(tx: Transaction, force: InForce, books: Books, one: Waiting, now: int) -> Writes:
    """Return what is to be written of an action that waited."""
    decided = await tx.decision(one.decision)
    responses = [each for each in await tx.responses(one.decision) if each.action == one.action]
    if decided is None or not responses:  # forgotten
        return Writes(waiting=[Waiting(one.decision, one.action, None)])
    logged = read_logged(decided.body)
    if not any(each.kind in YES | NO for each in responses) and one.ends is not None:
        pair, name = (one.action, responses[0].channel), contact_name(one.decision.hex(), one.action)
        responded(force, books, logged, name, pair, IGNORED, one.ends)
    case, scored = logged.cases.get(f"{one.action}/{responses[0].channel}"), logged.scored.get(one.action)
    if case is None and scored is None:
        return Writes(waiting=[Waiting(one.decision, one.action, None)])
    if case is None:
        lesson = force.recalibrating.learn(logged.scored[one.action], one.decision, responses, now)
    else:
        lesson = force.learning.learn(case, None, responses, now)
    return Writes(adaptive=lesson.states, waiting=[Waiting(one.decision, one.action, lesson.ends)])


def response_key(text: str) -> bytes:
    """Return a response's id as the store keeps it."""
    return text.encode()


def _rejected(one: Response, code: str, reason: str) -> ResponseOutcome:
    return ResponseOutcome(id=one.id, outcome="rejected", code=code, reason=reason)
