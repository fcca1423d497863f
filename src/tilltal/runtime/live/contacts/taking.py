"""Taking pieces of work about contacts in the transaction of their group, and what is answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from tilltal.core.instants import instant_of, micros
from tilltal.core.operational import Transaction
from tilltal.decisions.contacting.permission import Permit
from tilltal.rules.clock import Clock
from tilltal.runtime.live.contacts.books import Books, Wanted
from tilltal.runtime.live.contacts.contract import (
    Became,
    ContactAnswer,
    ContactAnswers,
    ContactStep,
    PermitAnswer,
)
from tilltal.runtime.live.contacts.entries import Entry
from tilltal.runtime.live.contacts.pieces import Claim, Claims, Step
from tilltal.runtime.live.definitions import InForce

ID_TAKEN = "id_taken"
"""Why nothing is reserved: the id is that of a contact of another customer, channel or action."""


def want(force: InForce, wanted: Wanted, pieces: Iterable[object]) -> None:
    """Add what pieces about contacts need of the books."""
    rations = force.contacts.rations
    for piece in pieces:
        if isinstance(piece, Claims):
            wanted.instants.append(piece.at)
            wanted.people += [claim.tokens for claim in piece.claims]
            wanted.names += [claim.id for claim in piece.claims]
            wanted.is_rationed |= any(rations.has(claim.contact.action) for claim in piece.claims)
        elif isinstance(piece, Step):
            wanted.names.append(piece.id)
            wanted.instants.append(piece.at)


async def opened(tx: Transaction, force: InForce, wanted: Wanted, clock: Clock) -> Books:
    """Return the books with what is wanted.

    Raises:
        EngineError: E531 if another process was faster.
    """
    books = Books(force, micros(clock.now))
    await books.open(tx, wanted)
    return books


def judge(books: Books, pieces: Sequence[object]) -> None:
    """Judge all contacts that pieces ask for: by instant, then priority, highest first, then id."""
    asked = [(piece.at, claim) for piece in pieces if isinstance(piece, Claims) for claim in piece.claims]
    for at, claim in sorted(asked, key=_order):
        books.claim(claim, at)


def answers(books: Books, claims: Claims) -> ContactAnswers:
    """Return what was judged, in the order asked."""
    found = ((claim, books.entry(claim.id)) for claim in claims.claims)
    return ContactAnswers(
        contacts=tuple(
            _answer(entry) if books.is_of(entry, claim) else _taken(claim)
            for claim, entry in found
            if entry is not None
        )
    )


def taken(books: Books, step: Step) -> ContactStep | None:
    """Take a step; None if there is no such contact."""
    found = books.step(step)
    if found is None:
        return None
    entry, refused = found
    if refused:
        return ContactStep(id=step.id, state="refused", reason=refused)
    state, reason = _state(entry, micros(step.at))
    return ContactStep(id=step.id, state=state, reason=reason)


def _order(asked: tuple[datetime, Claim]) -> tuple[datetime, float, str]:
    at, claim = asked
    return at, -claim.contact.priority, claim.id


def _state(entry: Entry, now: int) -> tuple[Became, str | None]:
    contacted = entry.contacted
    if contacted is None:
        return "refused", "denied"
    state = contacted.state(now)
    return ("released", "lapsed") if state == "lapsed" else (state, contacted.reason or None)


def _taken(claim: Claim) -> ContactAnswer:
    return ContactAnswer(id=claim.id, allowed=False, reason=ID_TAKEN, reasons=(ID_TAKEN,))


def _answer(entry: Entry) -> ContactAnswer:
    contacted = entry.contacted
    if contacted is None:
        return ContactAnswer(
            id=entry.id,
            allowed=False,
            reason=entry.reasons[0],
            reasons=entry.reasons,
            retry_at=None if entry.retry_at is None else instant_of(entry.retry_at),
        )
    expires = contacted.expires
    return ContactAnswer(
        id=entry.id,
        allowed=True,
        expires=None if expires is None else instant_of(expires),
        permit=_permit(contacted.permit),
    )


def _permit(permit: Permit) -> PermitAnswer:
    answer = permit.answer
    return PermitAnswer(
        purpose=permit.purpose,
        channel=permit.channel,
        basis=permit.basis,
        answered=None if answer is None else instant_of(answer.at),
    )
