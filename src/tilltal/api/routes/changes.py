"""Entries, exits and transitions as they happen: server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from tilltal.api.auth import needs
from tilltal.api.description import operation
from tilltal.api.settings import ApiSettings
from tilltal.core.errors import EngineError
from tilltal.runtime.live.contract import Busy, ChangeNotice, LiveService, Unavailable

_HEARTBEAT = b": alive\n\n"
_LAST = 2**63 - 1  # what stores can hold as a position


class ChangeStreams:
    """The open streams: not more than allowed, and with a sign of life while nothing happens."""

    def __init__(self, service: LiveService, settings: ApiSettings) -> None:
        self._service = service
        self._settings = settings
        self._open = 0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End all streams."""
        self._stopping.set()

    def open(self, after: int | None) -> AsyncIterator[bytes]:
        """Begin a stream.

        Raises:
            Busy: if there are too many.
        """
        if self._open >= self._settings.subscriber_limit:
            raise Busy(self._settings.heartbeat_seconds)
        return self._stream(self._service.subscribe(after))

    async def _stream(self, notices: AsyncIterator[ChangeNotice]) -> AsyncIterator[bytes]:
        self._open += 1
        stopping = asyncio.ensure_future(self._stopping.wait())
        upcoming = _next(notices)
        try:
            yield _HEARTBEAT
            while True:
                seconds = self._settings.heartbeat_seconds
                await asyncio.wait({upcoming, stopping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done() or (upcoming.done() and upcoming.result() is None):
                    return
                notice = upcoming.result() if upcoming.done() else None
                upcoming = upcoming if notice is None else _next(notices)
                yield _HEARTBEAT if notice is None else as_event(notice)
        finally:
            self._open -= 1
            upcoming.cancel()
            stopping.cancel()


def change_routes(service: LiveService, streams: ChangeStreams) -> list[HTTPRouteHandler]:
    """Return the stream of changes."""

    @get(
        "/v1/changes",
        guards=[needs(service, "read")],
        media_type="text/event-stream",
        **operation("changes", "read", "read"),
    )
    async def changes(
        after: Annotated[
            int | None, QueryParameter(ge=0, le=_LAST, description="The last position seen.")
        ] = None,
        last_event_id: Annotated[
            int | None,
            HeaderParameter(name="Last-Event-ID", ge=0, le=_LAST, description="Likewise, of a reconnect."),
        ] = None,
    ) -> Stream:
        """Changes after a position, or from now on; `id` is the position, `event` the kind."""
        position = last_event_id if last_event_id is not None else after
        readiness = await service.readiness()
        if not readiness.is_ready:  # a stream that has begun could not say so
            raise Unavailable(" ".join(readiness.reasons))
        return Stream(
            streams.open(position),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return [changes]


def as_event(notice: ChangeNotice) -> bytes:
    """Write a change as one event of the stream."""
    head = f"id: {notice.position}\nevent: {notice.kind}\ndata: "
    return head.encode() + msgspec.json.encode(notice) + b"\n\n"


def _next(notices: AsyncIterator[ChangeNotice]) -> asyncio.Task[ChangeNotice | None]:
    async def following() -> ChangeNotice | None:
        with suppress(EngineError):  # the store is away: who listens comes again, and is told
            return await anext(notices, None)
        return None

    return asyncio.create_task(following())
