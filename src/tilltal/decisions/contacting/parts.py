"""What a contact is to a policy: the parts a rule may name, and whether a rule applies to it."""

from __future__ import annotations

import msgspec

from tilltal.workspace.definitions.actions import Action
from tilltal.workspace.definitions.contact import PARTS, AppliesTo


class Contact(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """A contact's parts. Of a past contact whose action is no more, only action and channel may be known."""

    action: str | None
    group: str | None
    issue: str | None
    channel: str | None
    purpose: str | None
    priority: float = 0.0

    def part(self, name: str) -> str | None:
        """Return one part by its name in a policy."""
        found: str | None = getattr(self, name)
        return found


def contact_of(name: str, action: Action, channel: str, priority: float = 0.0) -> Contact:
    """Return the contact that an action makes in a channel."""
    return Contact(
        action=name,
        group=action.group,
        issue=action.issue,
        channel=channel,
        purpose=action.purpose,
        priority=priority,
    )


def applies(scope: AppliesTo, contact: Contact) -> bool:
    """True if a rule with this scope concerns such contacts; an unknown part fits no name."""
    for part in PARTS:
        allowed = scope.allowed(part)
        if allowed is not None and contact.part(part) not in allowed:
            return False
    return True
