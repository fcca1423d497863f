"""Decisions that reserve what they show, and what came of shown actions as steps of their contacts."""

from __future__ import annotations

import msgspec

from tilltal.core.instants import micros
from tilltal.decisions.contacting.parts import Contact
from tilltal.decisions.contacting.policy import Made as MadeContact
from tilltal.decisions.contacting.policy import Past
from tilltal.decisions.contacting.reservations import Contacted, fail
from tilltal.decisions.live.reasons import Pair
from tilltal.runtime.live.answers.asking import Asked, must_reserve
from tilltal.runtime.live.answers.deciding import Logged, Made, decide
from tilltal.runtime.live.contacts.books import Books, Person, Tokens, reserved_of
from tilltal.runtime.live.contacts.entries import Entry, judged
from tilltal.runtime.live.contract import DecideAnswer
from tilltal.runtime.live.definitions import InForce

IGNORED = "ignored"
NOT_TRIED = "not_tried"
"""Why a contact is not shown that nobody judged: too many others were refused, one after the other."""
_ROUNDS = 5  # after that a decision makes do with the contacts that it was given


def contact_name(decision_id: str, action: str) -> str:
    """Return the id of the contact that a decision's shown action is."""
    return f"{decision_id}.{action}"


class _Judged(msgspec.Struct, frozen=True):
    """A shown contact that was judged: why it is refused, and its entry if it must be reserved."""

    pair: Pair
    refused: str | None
    entry: Entry | None


def settled(force: InForce, books: Books, made: Made) -> Made | None:
    """Reserve what a decision shows; where that is no longer allowed, decide again without it.

    Other requests may have been faster, and of two actions of one decision the first may take the last slot.
    What capacities refuse costs one round: all that are used up are known at once, and stay so meanwhile.
    None if whoever asked has gone: nobody would see what was reserved.
    """
    asked = made.asked
    if asked is None:
        return made
    if made.caller is not None and made.caller.has_gone:
        return None
    tokens, person = books.person(asked.tokens)
    at, barred, rounds = made.answer.at, dict[Pair, str](), 0
    while True:  # every round bars what was not barred
        found = _judged(force, asked, books, person, made, tokens)
        denied = {one.pair: one.refused for one in found if one.refused is not None}
        if not denied:
            break
        used_up = {pair for pair, reason in denied.items() if _is_used_up(force, pair, reason)}
        if used_up:
            barred |= books.ration.used_up(micros(at), person.sends(at))
        barred |= denied
        rounds += denied.keys() != used_up
        if rounds == _ROUNDS:
            kept = {one.pair for one in found if one.refused is None}
            barred = _all_but(force, asked, kept) | barred
        reserved = reserved_of(person.entries.values(), micros(at))
        made = decide(force, asked, person.profile, person.data, at, reserved, barred)
    entries = {one.pair[0]: one.entry for one in found if one.entry is not None}
    for entry in entries.values():
        books.put(entry)
    names = {action: entry.id for action, entry in entries.items()}
    return msgspec.structs.replace(made, answer=_naming(made, names))


def _judged(
    force: InForce, asked: Asked, books: Books, person: Person, made: Made, tokens: Tokens
) -> list[_Judged]:
    """Judge the contacts of a decision one after the other: each counts for the next, reserved or not."""
    at = made.answer.at
    now, moment = micros(at), person.moment(at)
    past = person.past(now)
    found = []
    for one in made.answer.actions:
        pair = one.action, one.channel or ""
        contact = force.contacts.contact(*pair)
        sends = None if one.send_at is None else micros(one.send_at)
        entry = None
        if must_reserve(force, asked, pair):
            name = contact_name(made.answer.decision_id, one.action)
            verdict, contacted = books.reserve(name, tokens[0], contact, past, moment, sends)
            entry = judged(name, tokens, now, contact, verdict, contacted)
        else:
            verdict = force.contacts.policy.judge(contact, past, moment, sends)
        refused = None if verdict.is_allowed else verdict.reasons[0]
        if refused is None:
            past = Past([*past.made, MadeContact(now, contact, sends)], past.outcomes, past.answers)
        found.append(_Judged(pair, refused, entry))
    return found


def _is_used_up(force: InForce, pair: Pair, reason: str) -> bool:
    """True if a pair was refused because its action's capacity is used up."""
    rations = force.contacts.rations
    return rations.has(pair[0]) and reason == rations.reason(pair[0])


def _all_but(force: InForce, asked: Asked, kept: set[Pair]) -> dict[Pair, str]:
    """Bar every contact that would have to be reserved, save those that were."""
    pairs = ((action.name, each.name) for action in force.decider.plan.actions for each in action.channels)
    return {pair: NOT_TRIED for pair in pairs if pair not in kept and must_reserve(force, asked, pair)}


def _naming(made: Made, names: dict[str, str]) -> DecideAnswer:
    actions = tuple(
        msgspec.structs.replace(one, contact=names.get(one.action)) for one in made.answer.actions
    )
    return msgspec.structs.replace(made.answer, actions=actions)


def responded(
    force: InForce, books: Books, logged: Logged, name: str, pair: Pair, kind: str, at: int
) -> None:
    """Take what came of a shown action as a step of its contact.

    `failed` releases it; all else tells that it was made, if it was not released. What was not reserved
    counts from the first response on.
    """
    entry = books.entry(name)
    if entry is None:
        if kind == "failed" or not logged.tokens or not force.contacts.counts:
            return
        entry = _seen(force, books, logged, name, pair, at)
    if entry is None or entry.contacted is None:
        return
    contacted = entry.contacted
    if kind == "failed":
        entry = msgspec.structs.replace(entry, contacted=fail(contacted, at))
    else:
        is_open = contacted.committed is None and contacted.released is None
        if is_open and books.ration.admits(contacted, at):
            committed = msgspec.structs.replace(contacted, committed=at)
            entry = msgspec.structs.replace(entry, contacted=committed)
        entry = entry if kind == "delivered" else entry.with_outcome(kind, at)
    books.put(entry)


def _seen(force: InForce, books: Books, logged: Logged, name: str, pair: Pair, at: int) -> Entry | None:
    """Return the contact of a shown action that was not reserved, made when it was seen first."""
    permit = logged.permits.get("/".join(pair))
    if permit is None:
        return None
    (token, *also), _ = books.person(logged.tokens)
    contact: Contact = force.contacts.contact(*pair)
    made = Contacted(id=name, token=token, at=at, contact=contact, permit=permit, expires=None, committed=at)
    return Entry(id=name, token=token, at=at, contacted=made, also=tuple(also))
