"""From a request of the tracking protocol to its answer."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from tilltal.api.auth import authorise, secret_in, states_key
from tilltal.api.bodies import Headers
from tilltal.api.collector.envelope import Envelope, key_in, read_batch
from tilltal.api.collector.messages import MessageReader
from tilltal.api.errors import Reply, api_error
from tilltal.api.settings import ApiSettings
from tilltal.runtime.live.contract import Collected, LiveService, Message, MessageType, Refused, Rejection

# RudderStack's clients take 200 alone for success; the body is Segment's.
SUCCESS = Reply(200, b'{"success":true}')


class Taken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a request of the tracking protocol; `rejected` is there if anything was."""

    success: bool
    rejected: tuple[Rejection, ...] = ()


class Collector:
    """Answers the routes of the tracking protocol."""

    def __init__(self, service: LiveService, settings: ApiSettings) -> None:
        self._service = service
        self._settings = settings

    async def batch(self, headers: Headers, body: bytes) -> Reply:
        """Take a batch in. What is wrong with single messages is told in the answer, and harms no other.

        Raises:
            ApiError: 401, 403 for the key; 400, 413 for the batch as a whole.
        """
        self._authorise(headers, body)
        received = datetime.now(UTC)
        envelope = read_batch(
            body, limit=self._settings.batch_limit_messages, depth_limit=self._settings.depth_limit
        )
        read = MessageReader(self._settings, envelope, received).read
        found = [read(index, message) for index, message in enumerate(envelope.batch)]
        collected = await self._collect(found, received)
        return _taken(collected)

    async def single(self, kind: MessageType, headers: Headers, body: bytes) -> Reply:
        """Take one message in. Its sender is told at once if it was refused.

        Raises:
            ApiError: 401, 403 for the key; 400 for the message, which went into quarantine.
        """
        self._authorise(headers, body)
        received = datetime.now(UTC)
        envelope = Envelope(batch=(body,), sent_at=None, context={}, integrations={})
        found = MessageReader(self._settings, envelope, received).read(0, body, kind)
        collected = await self._collect([found], received)
        if collected.rejected:
            first = collected.rejected[0]
            raise api_error(400, first.code, first.reason, hint="The message went into quarantine.")
        return SUCCESS

    def _authorise(self, headers: Headers, body: bytes) -> None:
        secret = secret_in(headers) if states_key(headers) else key_in(body)
        authorise(self._service, secret, "collect")

    async def _collect(self, found: list[Message | Refused], received: datetime) -> Collected:
        messages = [each for each in found if isinstance(each, Message)]
        refused = [each for each in found if not isinstance(each, Message)]
        if not found:
            return Collected(accepted=0)
        return await self._service.collect(messages, received, refused)


def _taken(collected: Collected) -> Reply:
    if not collected.rejected:
        return SUCCESS
    return Reply(200, msgspec.json.encode(Taken(success=True, rejected=collected.rejected)))
