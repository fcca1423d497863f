"""Pieces of work about contacts, as they wait for their group."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from tilltal.core.errors import TilltalError, nearest
from tilltal.decisions.contacting.parts import Contact
from tilltal.runtime.live.contacts.contract import ContactRequest
from tilltal.runtime.live.definitions import InForce


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A contact that is asked for; `tokens` are whom it names, in order."""

    id: str
    tokens: tuple[int, ...]
    contact: Contact


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """Contacts asked for in one call, with when."""

    claims: tuple[Claim, ...]
    at: datetime

    @property
    def weight(self) -> int:
        """How much it is to a group commit."""
        return max(1, len(self.claims))


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of a contact, or nothing (`look`); `kind` and `happened` are of an outcome."""

    id: str
    what: Literal["commit", "fail", "outcome", "look"]
    at: datetime
    kind: str = ""
    happened: datetime | None = None

    @property
    def weight(self) -> int:
        """How much it is to a group commit."""
        return 1


def read_claim(force: InForce, request: ContactRequest) -> Claim:
    """Check a request against the definitions.

    Raises:
        TilltalError: C110 for an unknown namespace, C112 for a channel, C130 for an action without a purpose,
            C131 if it names nobody.
    """
    channels = force.workspace.settings.channels
    if request.channel not in channels:
        valid = nearest(request.channel, channels)
        raise TilltalError.of("C112", f"There is no channel {request.channel!r}.", valid=valid)
    named = [force.token(namespace, value) for namespace, value in request.identity.items()]
    tokens = tuple(token for token in named if token is not None)
    if not tokens:
        raise TilltalError.of(
            "C131",
            "The identity names nobody: no value of it identifies.",
            hint="Contacts are counted by identifier; a junk value or one that is too short is none.",
        )
    return Claim(id=request.id, tokens=tokens, contact=_contact(force, request))


def _contact(force: InForce, request: ContactRequest) -> Contact:
    actions = force.workspace.actions
    action = actions.get(request.action or "")
    purpose = request.purpose or (action.purpose if action else None)
    if purpose is None:
        raise TilltalError.of(
            "C130",
            f"There is no action {request.action!r}, and no purpose is stated.",
            valid=nearest(request.action or "", actions),
            hint="Name an action of the workspace, or state the purpose of the contact.",
        )
    priority = request.priority
    return Contact(
        action=request.action,
        group=request.group or (action.group if action else None),
        issue=request.issue or (action.issue if action else None),
        channel=request.channel,
        purpose=purpose,
        priority=force.workspace.contact.priorities.get(purpose, 0.0) if priority is None else priority,
    )
