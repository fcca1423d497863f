"""Logs as lines of JSON. Nothing here identifies a customer: routes are templates, bodies are not logged.

The access log does not go through `logging`: that would cost more than the rest of a request.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import BinaryIO

import msgspec


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """One request answered. `status` 499: the client went away."""

    at: datetime
    request_id: str
    method: str
    route: str
    status: int
    milliseconds: float
    body_bytes: int
    logger: str = "tilltal.access"


class AccessLog:
    """Writes requests answered to a buffered stream, such as `sys.stdout.buffer`."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._encode = msgspec.json.Encoder().encode

    def tell(self, served: Served) -> None:
        """Write one line; it may stay in the buffer until `flush`."""
        self._stream.write(self._encode(served) + b"\n")

    def flush(self) -> None:
        """Send what is buffered on its way. The server does so every second and at its end."""
        self._stream.flush()


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the log of everything else."""

    at: datetime
    level: str
    logger: str
    message: str
    error: str = ""


class JsonLines(logging.Formatter):
    """Writes a record of `logging` as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; an exception with its stack."""
        line = _Line(
            at=datetime.fromtimestamp(record.created, UTC),
            level=record.levelname.lower(),
            logger=record.name,
            message=record.getMessage(),
            error=self.formatException(record.exc_info) if record.exc_info else "",
        )
        return msgspec.json.encode(line).decode()
