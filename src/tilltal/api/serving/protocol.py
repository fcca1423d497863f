"""HTTP/1.1 by uvicorn and httptools, with limits that uvicorn leaves to a proxy."""

from __future__ import annotations

import asyncio
import http
import time
from typing import Any, ClassVar, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tilltal.api.errors import api_error, reply_to
from tilltal.api.serving.gate import Gate

_HEAD_LIMIT = 64 * 1024  # bytes of a request's line and headers; llhttp itself has none
_AT_ONCE = 64 * 1024  # bytes that wait for nothing


class Together:
    """A transport that sends together what is written in one turn of the loop.

    uvicorn writes the head of an answer and its body one after the other, and uvloop would send each at once:
    two packets, and two visits to the kernel.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Take bytes to be sent at the end of this turn."""
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)
        if len(data) > _AT_ONCE:  # whoever sends much has to be told when it is too much
            self._send()

    def _send(self) -> None:
        if self._held:
            self._transport.write(b"".join(self._held))
            self._held.clear()

    def close(self) -> None:
        """Close once all is sent."""
        self._send()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """True if it is being closed."""
        return self._transport.is_closing()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Give the connection to another protocol."""
        self._transport.set_protocol(protocol)


class PatientProtocol(HttpToolsProtocol):
    """One connection. A request must arrive in time; its head must be of a reasonable size."""

    gate: ClassVar[Gate]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.is_in_head = True
        self._is_in_body = False
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the connection in."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.transport = cast("asyncio.Transport", Together(self.transport, self.loop))
        self.gate.enter(self, time.monotonic())

    def connection_lost(self, exc: Exception | None) -> None:
        """Let it go."""
        self.gate.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes of a request."""
        super().data_received(data)
        if self.is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_LIMIT:
                self._refuse(431, "H618", f"the headers are larger than {_HEAD_LIMIT} bytes")
        if self.is_in_head or self._is_in_body:
            self.gate.wait_for(self, time.monotonic())
        else:
            self.gate.has_arrived(self)

    def on_message_begin(self) -> None:
        """A request begins."""
        self.is_in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its headers are here."""
        self.is_in_head = False
        self._is_in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is here."""
        self._is_in_body = False
        super().on_message_complete()

    def give_up(self) -> None:
        """Close without waiting for anything."""
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self.is_in_head = False
        self._refuse(400, "H619", "the request is no HTTP/1.1")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer before there is a request, and close."""
        if self.transport.is_closing():
            return
        reply = reply_to(api_error(status, code, message), "")
        head = (
            f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\ncontent-type: {reply.content_type}\r\n"
            f"content-length: {len(reply.body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + reply.body)
        self.transport.close()


def protocol_with(gate: Gate) -> type[PatientProtocol]:
    """Return the protocol for one server."""
    return type("GatedProtocol", (PatientProtocol,), {"gate": gate})
