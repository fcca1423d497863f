"""The part of the running server that keeps contacts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime

from tilltal.runtime.live.contacts.contract import (
    ContactAnswers,
    ContactOutcome,
    ContactRequest,
    ContactStep,
)
from tilltal.runtime.live.contacts.pieces import Claims, Step, read_claim
from tilltal.runtime.live.definitions import InForce


class ContactDesk(ABC):
    """Answers `contract.ContactService`, given what a server has."""

    _force: InForce
    _now: Callable[[], datetime]

    @abstractmethod
    async def _submit(self, piece: Claims | Step) -> object:
        """Do a piece of work with all who wait; who serves says how."""

    async def contact(self, requests: Sequence[ContactRequest]) -> ContactAnswers:
        """See `contract.ContactService`."""
        claims = tuple(read_claim(self._force, one) for one in requests)
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
        kind, happened = outcome.kind, outcome.at
        return await self._step(
            Step(id=outcome.id, what="outcome", at=self._now(), kind=kind, happened=happened)
        )

    async def _step(self, step: Step) -> ContactStep | None:
        result = await self._submit(step)
        assert result is None or isinstance(result, ContactStep), "a step has a state"
        return result
