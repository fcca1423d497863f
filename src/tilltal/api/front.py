"""What stands before the framework: request ids, admission, busy routes, logs and figures."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Protocol

from litestar.types import HTTPScope, Message, Receive, ReceiveMessage, Send

from tilltal.api.addresses import routable
from tilltal.api.admission import Admission
from tilltal.api.errors import Disconnected, Reply, reply_to
from tilltal.api.exchange import Exchange
from tilltal.api.telemetry.figures import Figures
from tilltal.api.telemetry.logs import AccessLog, Served

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_GONE = 499  # the client went away; no status of HTTP, but the one that logs know
_NO_ROUTE = "(none)"


class Framework(Protocol):
    """The application behind the front."""

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Serve one request."""


class Front:
    """Serves requests: the busy ones itself, all others through the framework."""

    def __init__(self, admission: Admission, figures: Figures, access_log: AccessLog | None) -> None:
        self._admission = admission
        self._figures = figures
        self._access_log = access_log
        self._process = secrets.token_hex(4)
        self._numbers = itertools.count()

    async def serve(self, scope: HTTPScope, receive: Receive, send: Send, framework: Framework) -> None:
        """Serve one request and tell of it."""
        sent = _Sent(send, self._request_id(scope))
        scope.setdefault("state", {})["request_id"] = sent.request_id.decode()
        started = time.perf_counter()
        self._figures.under_way += 1
        try:
            exchange = self._admission.exchange_at(scope)
            if exchange is None:  # no such route reads a body, so none is waited for
                scope["path"] = routable(scope)
                await framework(scope, _replayed(b"", receive), sent)
            else:
                await self._exchange(exchange, scope, receive, sent, framework)
        except Disconnected:
            sent.status = _GONE
        except Exception as error:
            if sent.status:
                raise
            await sent.reply(reply_to(error, sent.request_id.decode()))
        finally:
            self._figures.under_way -= 1
            self._tell(scope, sent, time.perf_counter() - started)

    async def _exchange(
        self, exchange: Exchange, scope: HTTPScope, receive: Receive, sent: _Sent, framework: Framework
    ) -> None:
        """Answer a busy route; another spelling of its address goes through the framework."""
        scope["path_template"] = exchange.path
        room = self._admission.room_for(scope, exchange)
        body, is_late = await self._admission.body(scope, receive, room)
        sent.body_bytes = len(body)
        try:
            if is_late:  # the key may have ended meanwhile
                self._admission.room_for(scope, exchange)
            if scope["path"] == exchange.path:
                await sent.reply(await exchange.answer(scope["headers"], body))
            else:
                await framework(scope, _replayed(body, receive), sent)
        finally:
            room.let_go(len(body))

    def _tell(self, scope: HTTPScope, sent: _Sent, seconds: float) -> None:
        route = scope.get("path_template") or _NO_ROUTE
        status = sent.status or _GONE
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self._figures.count(method, route, status, seconds)
        if self._access_log is not None:
            served = Served(
                at=datetime.now(UTC),
                request_id=sent.request_id.decode(),
                method=method,
                route=route,
                status=status,
                milliseconds=round(1000 * seconds, 3),
                body_bytes=sent.body_bytes,
            )
            self._access_log.tell(served)

    def _request_id(self, scope: HTTPScope) -> bytes:
        """Return the request id that the client gave, if it is harmless, or a new one."""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _REQUEST_ID.match(value):
                return value
        return f"{self._process}-{next(self._numbers):x}".encode()


class _Sent:
    """Sends, and knows what was sent, and how much had come."""

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0
        self.body_bytes = 0

    async def __call__(self, message: Message) -> None:
        """Send on, with the request id among the headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.request_id)]
        await self._send(message)

    async def reply(self, reply: Reply) -> None:
        """Send a whole answer."""
        self.status = reply.status
        headers = [
            (b"content-type", reply.content_type.encode()),
            (b"content-length", str(len(reply.body)).encode()),
            (b"x-request-id", self.request_id),
            *reply.headers,
        ]
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": reply.body, "more_body": False})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once, then whatever follows (the end of the connection)."""
    is_given = False

    async def replay() -> ReceiveMessage:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
