"""What the tracking protocol takes, as the API's description tells it. Nothing is decoded into these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from tilltal.runtime.live.contract import MessageType


class ExternalId(msgspec.Struct, kw_only=True):
    """An id of another namespace."""

    type: str
    id: str


class MessageContext(msgspec.Struct, kw_only=True, rename="camel"):
    """What surrounds a message. Other keys are kept."""

    external_ids: list[ExternalId] | None = None
    traits: dict[str, object] | None = None


class MessageForm(msgspec.Struct, kw_only=True, rename="camel"):
    """What every message has. One of `userId` and `anonymousId` must be there; other keys are kept."""

    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    message_id: str | int | None = None
    timestamp: str | None = None
    sent_at: str | None = None
    context: MessageContext | None = None
    integrations: dict[str, object] | None = None
    write_key: str | None = None


class IdentifyForm(MessageForm, kw_only=True, rename="camel"):
    """Somebody, with what is known of them."""

    traits: dict[str, object] | None = None


class TrackForm(MessageForm, kw_only=True, rename="camel"):
    """Something that somebody did."""

    event: str
    properties: dict[str, object] | None = None


class PageForm(MessageForm, kw_only=True, rename="camel"):
    """A page or screen that was shown."""

    name: str | None = None
    category: str | None = None
    properties: dict[str, object] | None = None


class GroupForm(MessageForm, kw_only=True, rename="camel"):
    """Somebody belongs to a group, such as a company."""

    group_id: str | int
    traits: dict[str, object] | None = None


class AliasForm(MessageForm, kw_only=True, rename="camel"):
    """Two ids are the same person's."""

    previous_id: str | int
    user_id: str | int


class BatchedForm(MessageForm, kw_only=True, rename="camel"):
    """A message of a batch: the keys of its type beside its `type`."""

    type: Literal["identify", "track", "page", "screen", "group", "alias"]


class BatchForm(msgspec.Struct, kw_only=True, rename="camel"):
    """Messages sent together. `context` and `integrations` are merged under each message's own."""

    batch: list[BatchedForm]
    sent_at: str | None = None
    context: MessageContext | None = None
    integrations: dict[str, object] | None = None
    write_key: str | None = None


FORMS: Final[Mapping[MessageType, type]] = {
    "identify": IdentifyForm,
    "track": TrackForm,
    "page": PageForm,
    "screen": PageForm,
    "group": GroupForm,
    "alias": AliasForm,
}
