"""What the HTTP face asks about contacts, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Protocol

import msgspec

from tilltal.workspace.definitions.policies import Basis

_Text = Annotated[str, msgspec.Meta(max_length=1000)]
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Became = Literal["reserved", "committed", "released", "refused"]


class ContactRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """May this customer be contacted so, now? If so, the contact is reserved.

    `id` is the caller's: the same one always gets its first answer. What is not stated of `group`, `issue`
    and `purpose` is that of the action, where the workspace has it; `priority` that of the purpose.
    The contact counts for whoever has the first identifier that is somebody's.
    """

    id: _Id
    identity: Annotated[dict[str, _Text], msgspec.Meta(min_length=1, max_length=20)]
    channel: _Name
    action: _Name | None = None
    group: _Name | None = None
    issue: _Name | None = None
    purpose: _Name | None = None
    priority: float | None = None


class PermitAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What permits a contact: the purpose's basis and, where one was given, the customer's answer."""

    purpose: str
    channel: str
    basis: Basis
    answered: datetime | None = None


class ContactAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a contact is allowed: if not, all reasons in fixed order, the first one apart.

    `retry_at`: the first instant after the quiet hours that stand against it. `expires`: when the reservation
    lapses unless it is committed; None = never.
    """

    id: str
    allowed: bool
    reason: str | None = None
    reasons: tuple[str, ...] = ()
    retry_at: datetime | None = None
    expires: datetime | None = None
    permit: PermitAnswer | None = None


class ContactAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """Answers in the order of the requests."""

    contacts: tuple[ContactAnswer, ...]


class ContactStep(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a contact; `reason` says why it was refused or released."""

    id: str
    state: Became
    reason: str | None = None


class ContactCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many contacts of a channel are reserved at an instant, and how many were committed by then."""

    reserved: int = 0
    committed: int = 0


class ContactOutcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of a contact, such as `reject`. `at` None = now; without an offset it is UTC."""

    id: _Id
    kind: _Name
    at: datetime | None = None


class ContactService(Protocol):
    """The part of the live service that keeps contacts."""

    async def contact(self, requests: Sequence[ContactRequest]) -> ContactAnswers:
        """Judge contacts and reserve those allowed; requests of one call by priority, then id.

        An id that another customer's, channel's or action's contact has gets `id_taken`.
        Raises Busy, Unavailable, and TilltalError for every name that does not exist.
        """

    async def commit_contact(self, contact_id: str) -> ContactStep | None:
        """Give the last go-ahead before a message leaves. None: there is no such contact."""

    async def fail_contact(self, contact_id: str) -> ContactStep | None:
        """Release a contact whose delivery failed. None: there is no such contact."""

    async def contact_outcome(self, outcome: ContactOutcome) -> ContactStep | None:
        """Note what came of a contact; of one that a decision reserved as a response. None: there is none.

        Raises Busy, Unavailable, and TilltalError for a kind that does not exist.
        """
