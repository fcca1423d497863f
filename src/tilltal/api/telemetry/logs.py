"""Logs as lines of JSON. Nothing here identifies a customer: routes are templates, bodies are not logged.

The access log does not go through `logging`: that would cost more than the rest of a request.
"""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime
from typing import BinaryIO, TextIO

import msgspec

from tilltal.core.errors import TilltalError


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
    """Writes a record of `logging` as one line of JSON.

    Of an exception it says what and where. Its words stand there only if the product made them: those of
    others may repeat a value of a customer.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; an exception with its stack and causes."""
        line = _Line(
            at=datetime.fromtimestamp(record.created, UTC),
            level=record.levelname.lower(),
            logger=record.name,
            message=record.getMessage(),
            error=_told(record.exc_info[1]) if record.exc_info and record.exc_info[1] else "",
        )
        return msgspec.json.encode(line).decode()


def log_as_json(stream: TextIO) -> None:
    """Send all that is logged to a stream as lines of JSON."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # below, it names addresses with all they hold
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # below, it tells what the command says in words


def _told(error: BaseException) -> str:
    """Return an exception and its causes, the outermost first, each with where it came from."""
    parts: list[str] = []
    found: BaseException | None = error
    seen: set[int] = set()
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        words = f": {found}" if isinstance(found, TilltalError) else ""
        frames = traceback.extract_tb(found.__traceback__)
        places = [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        parts += [f"{type(found).__qualname__}{words}", *places]
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return "\n".join(parts)
