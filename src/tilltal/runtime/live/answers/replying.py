"""Taking in what came of decisions: responses, and silence where it has lasted long enough."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from tilltal.core.instants import micros
from tilltal.core.operational import Answered, Decided, Transaction, Waiting, Writes
from tilltal.core.time import parse_duration
from tilltal.models.adaptive.outcomes import answer, time_out
from tilltal.runtime.live.answers.deciding import Logged, read_logged
from tilltal.runtime.live.answers.learning import Lesson, told
from tilltal.runtime.live.contacts.books import Books, Wanted
from tilltal.runtime.live.contacts.reserving import IGNORED, contact_name, responded
from tilltal.runtime.live.contract import Response, ResponseOutcome
from tilltal.runtime.live.definitions import InForce

_MICROSECOND = timedelta(microseconds=1)
_CONTACT = "contact "  # before an action's name, in `Waiting`: its contact waits, and not its model


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
                wanted.is_rationed |= force.contacts.rations.has(one.action)
                decided = await _decision(tx, one.decision_id) if force.contacts.counts else None
                if decided is not None:
                    wanted.people.append(read_logged(decided.body).tokens)
        elif isinstance(piece, Overdue):
            wanted.names += [
                contact_name(one.decision.hex(), one.action.removeprefix(_CONTACT))
                for one in piece.waiting
                if one.action.startswith(_CONTACT)
            ]


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
    waits = await tx.waits(decision_id)
    name, pair = contact_name(one.decision_id, one.action), (one.action, shown.channel)
    responded(force, books, logged, name, pair, one.kind, at)
    lesson = _taught(force, logged, before, answered, is_waiting=one.action in waits)
    writes = Writes(responses=[answered], adaptive=lesson.states)
    if not lesson.stays and (one.action in waits or lesson.ends is not None):
        writes.waiting.append(Waiting(decision_id, one.action, lesson.ends))
    writes.waiting += _to_be_ignored(force, logged, before, answered, waits)
    await tx.write(writes)
    return ResponseOutcome(id=one.id, outcome="accepted")


def _taught(
    force: InForce, logged: Logged, before: list[Answered], one: Answered, *, is_waiting: bool
) -> Lesson:
    """Let whatever model gave P learn from a response, the latest."""
    case, scored = logged.cases.get(f"{one.action}/{one.channel}"), logged.scored.get(one.action)
    if case is not None:
        known = told(before, is_waiting=is_waiting)
        return force.learning.learn(case, known, [*before, one], one.received, is_waiting=is_waiting)
    if scored is not None:
        return force.recalibrating.learn(scored, one.decision, [*before, one], one.received)
    return Lesson()


def _to_be_ignored(
    force: InForce, logged: Logged, before: list[Answered], one: Answered, waits: set[str]
) -> Iterable[Waiting]:
    """Yield until when the contact waits to be noted as `ignored`, where a cool-down asks for that."""
    name, is_first = _CONTACT + one.action, time_out(before, 0) is None
    if name not in waits and (
        not is_first
        or not logged.tokens
        or not any(rule.outcome == IGNORED for rule in force.workspace.contact.cooldowns)
    ):
        return
    wait = force.learning.wait(one.action, one.channel)
    if wait is None:
        wait = parse_duration(force.workspace.settings.server.recalibration.wait) // _MICROSECOND
    ends = time_out([*before, one], wait)
    if name in waits or ends is not None:
        yield Waiting(one.decision, name, ends)


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
    action = one.action.removeprefix(_CONTACT)
    responses = [each for each in await tx.responses(one.decision) if each.action == action]
    over = Writes(waiting=[Waiting(one.decision, one.action, None)])
    if decided is None or not responses:  # forgotten
        return over
    logged = read_logged(decided.body)
    if action != one.action:
        if answer(responses) is None and one.ends is not None:
            pair, name = (action, responses[0].channel), contact_name(one.decision.hex(), action)
            responded(force, books, logged, name, pair, IGNORED, one.ends)
        return over
    case, scored = logged.cases.get(f"{action}/{responses[0].channel}"), logged.scored.get(action)
    if case is not None:
        lesson = force.learning.learn(case, None, responses, now, is_over=True)
    elif scored is not None:
        lesson = force.recalibrating.learn(scored, one.decision, responses, now)
    else:
        return over
    return Writes(adaptive=lesson.states, waiting=[Waiting(one.decision, action, lesson.ends)])


def response_key(text: str) -> bytes:
    """Return a response's id as the store keeps it."""
    return text.encode()


def _rejected(one: Response, code: str, reason: str) -> ResponseOutcome:
    return ResponseOutcome(id=one.id, outcome="rejected", code=code, reason=reason)
