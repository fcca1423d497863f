"""One message: from the client's bytes to a value, or to the reason why not."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Final, get_args

import msgspec

from tilltal.api.bodies import is_deeper
from tilltal.api.collector.envelope import MARK, Envelope
from tilltal.api.collector.instants import corrected, read_instant
from tilltal.api.settings import ApiSettings
from tilltal.runtime.live.contract import Message, MessageType, Refused

TYPES: Final[dict[str, MessageType]] = {name: name for name in get_args(MessageType)}

_BACKSLASH = ord("\\")
_decode = msgspec.json.Decoder(dict[str, object]).decode
# What a message of a type is about.
_NEEDS: Final[Mapping[str, tuple[tuple[str, Callable[[Message], object]], ...]]] = {
    "track": (("event", attrgetter("event")),),
    "alias": (("previousId", attrgetter("previous_id")), ("userId", attrgetter("user_id"))),
    "group": (("groupId", attrgetter("group_id")),),
}


class _Bad(Exception):  # noqa: N818 - never leaves this module
    """A message whose form is wrong."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


class MessageReader:
    """Reads the messages of one request, all received at one instant."""

    def __init__(self, settings: ApiSettings, envelope: Envelope, received: datetime) -> None:
        self._limit_bytes = settings.message_limit_bytes
        self._depth_limit = settings.depth_limit
        self._envelope = envelope
        self._is_shared = bool(envelope.context or envelope.integrations)
        self._received = received

    def read(self, index: int, body: bytes, route: MessageType | None = None) -> Message | Refused:
        """Read one message; `route` is its type where the address says it."""
        document: Mapping[str, object] = {}
        try:
            document = self._document(body)
            return self._message(index, document, body, route)
        except _Bad as bad:
            return Refused(
                index=index,
                message_id=_id_or_blank(document),
                code=bad.code,
                reason=bad.reason,
                body=body[: self._limit_bytes],
            )

    def _document(self, body: bytes) -> dict[str, object]:
        """Return the JSON object that a message is."""
        limit, depth = self._limit_bytes, self._depth_limit
        size = len(body) + self._envelope.shared_bytes
        if size > limit:
            shared = " with what its batch shares" if self._envelope.shared_bytes else ""
            raise _Bad("H616", f"the message has {size} bytes{shared}, more than {limit}")
        if _BACKSLASH in body and MARK in body:  # one byte is found sooner
            raise _Bad("S333", "the message holds NaN or infinity")
        if is_deeper(body, depth):
            raise _Bad("H605", f"the message is nested deeper than {depth} levels")
        try:
            return _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _Bad("S326", f"the message is no JSON object: {error}") from error

    def _message(
        self, index: int, document: dict[str, object], body: bytes, route: MessageType | None
    ) -> Message:
        kind = route or _type(document.get("type"))
        user_id, anonymous_id = _id(document, "userId"), _id(document, "anonymousId")
        if user_id is None and anonymous_id is None:
            raise _Bad("S337", "the message has neither userId nor anonymousId")
        if self._is_shared or kind == "identify":
            self._merge(document, kind)
        message = Message(
            index=index,
            type=kind,
            message_id=_id(document, "messageId") or _made_id(document, body),
            user_id=user_id,
            anonymous_id=anonymous_id,
            timestamp=self._instant(document),
            document=document,
            previous_id=_id(document, "previousId") if "previousId" in document else None,
            group_id=_id(document, "groupId") if "groupId" in document else None,
            event=_event(kind, document),
            external_ids=_external_ids(document.get("context")),
        )
        for key, value_of in _NEEDS.get(kind, ()):
            if value_of(message) is None:
                raise _Bad("S331", f"{kind} needs {key}")
        return message

    def _merge(self, document: dict[str, object], kind: MessageType) -> None:
        """Put what the batch states under the message's own, and traits where they belong."""
        shared = self._envelope
        if shared.context:
            document["context"] = {**shared.context, **_mapping(document, "context")}
        if shared.integrations:
            document["integrations"] = {**shared.integrations, **_mapping(document, "integrations")}
        if kind == "identify":
            elsewhere = _mapping(document, "context").get("traits")
            if isinstance(elsewhere, dict):
                document["traits"] = {**elsewhere, **_mapping(document, "traits")}

    def _instant(self, document: Mapping[str, object]) -> datetime:
        stated = document.get("timestamp") or document.get("originalTimestamp")
        timestamp = read_instant(stated)
        if stated is not None and timestamp is None:
            raise _Bad("S332", "timestamp is no ISO 8601 instant")
        sent_at = self._envelope.sent_at
        if "sentAt" in document:
            sent_at = read_instant(document["sentAt"]) or sent_at
        at = corrected(timestamp, sent_at, self._received)
        if at is None:
            raise _Bad("S339", "timestamp and sentAt lie outside the calendar")
        return at


def _type(stated: object) -> MessageType:
    kind = TYPES.get(stated) if isinstance(stated, str) else None
    if kind is None:
        raise _Bad("S336", f"type is none of {', '.join(TYPES)}")
    return kind


def _id(document: Mapping[str, object], key: str) -> str | None:
    """Return an id as text; null, absent and blank are none."""
    value = document.get(key)
    if isinstance(value, str):
        return value if value.strip() else None
    return None if value is None else _number_as_text(value, key)


def _number_as_text(value: object, key: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _Bad("S332", f"{key} is no text")


def _made_id(document: Mapping[str, object], body: bytes) -> str:
    """Give an id to a message without one.

    With a timestamp the same bytes are the same message sent again; without, each is another.
    """
    if document.get("timestamp"):
        return f"bytes-{hashlib.blake2b(body, digest_size=16).hexdigest()}"
    return f"server-{uuid.uuid4()}"


def _event(kind: MessageType, document: Mapping[str, object]) -> str | None:
    value = document.get("event" if kind == "track" else "name")
    return value if isinstance(value, str) and value.strip() else None


def _external_ids(context: object) -> tuple[tuple[str, str], ...]:
    """Return `context.externalIds` as pairs; what has no type or id is left out."""
    found = context.get("externalIds") if isinstance(context, dict) else None
    if not isinstance(found, list):
        return ()
    pairs = {(_text(each, "type"), _text(each, "id")): None for each in found if isinstance(each, dict)}
    return tuple((kind, value) for kind, value in pairs if kind and value)


def _text(value: Mapping[str, object], key: str) -> str:
    found = value.get(key)
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    return found if isinstance(found, str) else ""


def _mapping(document: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _id_or_blank(document: Mapping[str, object]) -> str:
    value = document.get("messageId")
    return value if isinstance(value, str) else ""
