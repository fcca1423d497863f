"""The part of the running server that keeps contacts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import get_args

import msgspec

from tilltal.core.errors import Fault, Place, TilltalError, nearest
from tilltal.core.instants import micros
from tilltal.runtime.live.answers.replying import Replies
from tilltal.runtime.live.contacts.contract import (
    ContactAnswers,
    ContactOutcome,
    ContactRequest,
    ContactStep,
)
from tilltal.runtime.live.contacts.pieces import Claim, Claims, Step, read_claim
from tilltal.runtime.live.contract import Response, ResponseKind
from tilltal.runtime.live.definitions import InForce
from tilltal.workspace.definitions.contact import OUTCOMES

_DECISION_DIGITS = 32


class ContactDesk(ABC):
    """Answers `contract.ContactService`, given what a server has."""

    _force: InForce
    _now: Callable[[], datetime]

    @abstractmethod
    async def _submit(self, piece: Claims | Step | Replies) -> object:
        """Do a piece of work with all who wait; who serves says how."""

    async def contact(self, requests: Sequence[ContactRequest]) -> ContactAnswers:
        """See `contract.ContactService`."""
        claims = _read(self._force, requests)
        result = await self._submit(Claims(claims=claims, at=self._now()))
        assert isinstance(result, ContactAnswers), "claims have answers"
        return result

    async def commit_contact(self, contact_id: str) -> ContactStep | None:
        """See `contract.ContactService`."""
        return await self._step(Step(id=contact_id, what="commit", at=self._now()))

    async def fail_contact(self, contact_id: str) -> ContactStep | None:
        """See `contract.ContactService`."""
        return await self._step(Step(id=contact_id, what="fail", at=self._now()))

    async def contact_outcome(self, outcome: ContactOutcome) -> ContactStep | None:
        """See `contract.ContactService`."""
        kind, now = outcome.kind, self._now()
        _check_kind(self._force, kind)
        if await self._is_response(outcome, now):
            return await self._step(Step(id=outcome.id, what="look", at=now))
        if kind == "failed":
            return await self._step(Step(id=outcome.id, what="fail", at=now))
        return await self._step(Step(id=outcome.id, what="outcome", at=now, kind=kind, happened=outcome.at))

    async def _is_response(self, outcome: ContactOutcome, now: datetime) -> bool:
        """Take what came of a decision's contact as a response, so that it teaches; False if it is none.

        The same outcome of the same instant has the same id, so it counts once.
        """
        decision, _, action = outcome.id.partition(".")
        if not action or len(decision) != _DECISION_DIGITS or outcome.kind not in get_args(ResponseKind):
            return False
        name = f"{outcome.id}:{outcome.kind}:{micros(outcome.at or now)}"
        told = msgspec.convert(
            {"id": name, "decision_id": decision, "action": action, "kind": outcome.kind, "at": outcome.at},
            Response,
        )
        result = await self._submit(Replies(responses=(told,), received=now))
        assert isinstance(result, list), "replies have outcomes"
        return all(one.outcome != "rejected" for one in result)

    async def _step(self, step: Step) -> ContactStep | None:
        result = await self._submit(step)
        assert result is None or isinstance(result, ContactStep), "a step has a state"
        return result


def _read(force: InForce, requests: Sequence[ContactRequest]) -> tuple[Claim, ...]:
    """Check requests against the definitions.

    Raises:
        TilltalError: as `read_claim`, for all of them; of several with the place of each.
    """
    claims, faults = list[Claim](), list[Fault]()
    for number, request in enumerate(requests):
        try:
            claims.append(read_claim(force, request))
        except TilltalError as error:
            place = Place(file=f"$[{number}]" if len(requests) > 1 else "")
            faults += [msgspec.structs.replace(fault, place=place) for fault in error.faults]
    if faults:
        raise TilltalError(*faults)
    return tuple(claims)


def _check_kind(force: InForce, kind: str) -> None:
    """Check what came of a contact.

    Raises:
        TilltalError: C132 for a kind that is no response, and that no rule names.
    """
    terms = force.workspace.contact
    kinds = {
        *get_args(ResponseKind),
        *OUTCOMES,
        *terms.outcomes.values(),
        *(rule.outcome for rule in terms.cooldowns),
    }
    if kind not in kinds:
        raise TilltalError.of(
            "C132",
            f"There is no outcome {kind!r}.",
            valid=nearest(kind, kinds) or tuple(sorted(kinds)),
            hint="A kind of your own is named in policies/contact.yaml, under `outcomes` or by a cool-down.",
        )
