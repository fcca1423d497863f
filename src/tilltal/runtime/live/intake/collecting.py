"""Taking messages in: each through the contracts of its sources, the good ones applied, the others explained.

A message is accepted once some source takes it. What no source takes, or breaks a contract, goes to the
quarantine that files use; all of it is durable before the caller hears of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import msgspec

from tilltal.core.instants import micros
from tilltal.runtime.live.contract import Collected, Message, Refused, Rejection
from tilltal.runtime.live.intake.incoming import Desk, Pseudonymised
from tilltal.runtime.live.intake.setting_aside import Aside
from tilltal.sources.online.contract import Rejected, Row
from tilltal.sources.online.router import Router
from tilltal.sources.reasons import Reason

_SENT_AT = re.compile(r'"sentAt"\s*:\s*"[^"]*"')


class Call(msgspec.Struct, kw_only=True):
    """A call's messages after their contracts: what is to be applied, and what is set aside and why.

    `places` says to which message of the call each row of the batch belongs.
    """

    received: datetime
    batch: Pseudonymised
    places: tuple[int, ...]
    aside: tuple[Aside, ...]
    rejections: tuple[Rejection, ...]

    @property
    def weight(self) -> int:
        """How much it is to a group commit."""
        return max(1, len(self.batch.messages) + len(self.aside))

    def collected(self, fresh: frozenset[bytes]) -> Collected:
        """Say what became of the call, given the ids that were new.

        A message of which several sources took a part is new if any part is.
        """
        is_new: dict[int, bool] = {}
        for place, one in zip(self.places, self.batch.messages, strict=True):
            is_new[place] = one.logged.event_id in fresh or is_new.get(place, False)
        accepted = sum(is_new.values())
        return Collected(accepted=accepted, duplicates=len(is_new) - accepted, rejected=self.rejections)


class Reception:
    """Puts calls through the contracts of a workspace's sources."""

    def __init__(self, router: Router, desk: Desk) -> None:
        self._router = router
        self._desk = desk

    def read(self, messages: Sequence[Message], refused: Sequence[Refused], received: datetime) -> Call:
        """Read a call; nothing is stored yet."""
        batch, arrival = Pseudonymised(), micros(received)
        places: list[int] = []
        aside = [_of_refused(one) for one in refused]
        rejections = [_rejection(one.index, one.message_id, one.code, one.reason) for one in refused]
        for message in messages:
            for outcome in self._take(message, arrival, batch, places):
                aside.append(_of_message(message, outcome, received))
                rejections += [
                    _rejection(message.index, message.message_id, reason.code, str(reason))
                    for reason in outcome.reasons[:1]
                ]
        return Call(
            received=received,
            batch=batch,
            places=tuple(places),
            aside=tuple(aside),
            rejections=tuple(sorted(rejections, key=lambda one: one.index)),
        )

    def _take(
        self, message: Message, arrival: int, batch: Pseudonymised, places: list[int]
    ) -> list[Rejected]:
        """Add what each source takes of a message to a batch, and return how the others refuse it."""
        document = _corrected(message)
        routed = self._router.route(message.type, document)
        if not isinstance(routed, list):
            return [routed]
        refusals = []
        for contract in routed:
            outcome = contract.read(document, arrival)
            if not isinstance(outcome, Row):
                refusals.append(outcome)
            elif self._desk.take(outcome, batch):
                places.append(message.index)
            else:
                refusals.append(contract.nobody())
        return refusals


def _corrected(message: Message) -> dict[str, object]:
    """Return the document with the time by our clock, and with an id if the sender gave none."""
    document = dict(message.document)
    document["timestamp"], document["messageId"] = message.timestamp, message.message_id
    return document


def _of_message(message: Message, outcome: Rejected, received: datetime) -> Aside:
    raw = msgspec.json.encode({**_corrected(message), "receivedAt": received}).decode()
    return Aside(
        source=outcome.source, index=message.index, reasons=outcome.reasons, raw=raw, key=_as_sent(message)
    )


def _as_sent(message: Message) -> str:
    """Return what is the same when a client sends a message again: not when it was sent, nor what we add.

    Content belongs to it also where there is an id: clients give one id to many messages, and whoever sends
    something else under an id gets another reason.
    """
    document = {key: value for key, value in message.document.items() if key != "sentAt"}
    return msgspec.json.encode(document).decode()


def _of_refused(one: Refused) -> Aside:
    raw = one.body.decode("utf-8", errors="replace")
    reason = Reason(code=one.code, words=one.reason)
    return Aside(source="", index=one.index, reasons=(reason,), raw=raw, key=_SENT_AT.sub("", raw))


def _rejection(index: int, message_id: str, code: str, reason: str) -> Rejection:
    return Rejection(index=index, message_id=message_id, code=code, reason=reason)
