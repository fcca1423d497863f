"""Reading a request's body: whole, in time, within limits, decompressed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import TypeVar

import msgspec
from litestar.types import Receive

from tilltal.api.errors import Disconnected, api_error
from tilltal.runtime.live.contract import Busy
from tilltal.runtime.live.limits import Limits

T = TypeVar("T")
Headers = Iterable[tuple[bytes, bytes]]

_GZIP = 31  # zlib's window bits for a gzip header
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_OPENING = b"[{"
_PLAIN = (b"", b"identity")


class Room:
    """How many bytes requests of one kind may hold at once, and one of them; `held_bytes` is how many do."""

    def __init__(self, limit_bytes: int, body_limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.body_limit_bytes = body_limit_bytes
        self.held_bytes = 0

    def hold(self, count: int) -> None:
        """Count bytes that came in.

        Raises:
            Busy: if all requests together hold too much; the bytes are counted all the same.
        """
        self.held_bytes += count
        if self.held_bytes > self.limit_bytes:
            raise Busy

    def let_go(self, count: int) -> None:
        """Say that so many bytes are no longer needed."""
        self.held_bytes -= count


class BodyReader:
    """Reads bodies within the room that their kind of request has."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._limits = Limits()

    async def read(self, headers: Headers, receive: Receive, room: Room) -> tuple[bytes, bool]:
        """Return the body, decompressed, and whether it had to be waited for.

        Who calls this lets it go when the request is done.

        Raises:
            ApiError: 408 too slow, 413 too large, 415 unknown encoding, 400 broken gzip.
            Busy: if all requests together hold too much.
            Disconnected: if the client went away.
        """
        encoding, length = _framing(headers)
        if length > room.body_limit_bytes:
            raise _too_large(room)
        if room.held_bytes + length > room.limit_bytes:
            raise Busy
        try:
            body, is_late = await self._limits.done(_receive(receive, room), self._timeout_seconds)
        except TimeoutError:
            seconds = self._timeout_seconds
            raise api_error(408, "H608", f"the request did not arrive within {seconds:g} s") from None
        return (body if encoding in _PLAIN else _decompress(encoding, body, room)), is_late


async def _receive(receive: Receive, room: Room) -> bytes:
    """Return the body as sent; only a whole one stays counted."""
    chunks: list[bytes] = []
    held = 0
    try:
        while True:
            event = await receive()
            if event["type"] != "http.request":
                raise Disconnected
            chunk = event["body"]
            chunks.append(chunk)
            held += len(chunk)
            room.hold(len(chunk))
            if held > room.body_limit_bytes:
                raise _too_large(room)
            if not event["more_body"]:
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except BaseException:
        room.let_go(held)
        raise


def _decompress(encoding: bytes, body: bytes, room: Room) -> bytes:
    """Return the body decompressed, counted by its new length."""
    room.let_go(len(body))
    if encoding not in (b"gzip", b"x-gzip"):
        raise api_error(
            415, "H607", "the body is encoded in a way not known here", valid=("gzip", "identity")
        )
    plain = _inflated(body, room)
    try:
        room.hold(len(plain))
    except Busy:
        room.let_go(len(plain))
        raise
    return plain


def _inflated(body: bytes, room: Room) -> bytes:
    inflater = zlib.decompressobj(_GZIP)
    try:
        plain = inflater.decompress(body, room.body_limit_bytes + 1)
    except zlib.error as error:
        raise api_error(400, "H617", "the body is no gzip") from error
    if len(plain) > room.body_limit_bytes:
        raise _too_large(room)
    if not inflater.eof or inflater.unused_data:
        raise api_error(400, "H617", "the gzip of the body is cut off, or something follows it")
    return plain


def _too_large(room: Room) -> Exception:
    limit = room.body_limit_bytes
    return api_error(413, "H604", f"the body is larger than {limit} bytes", hint="Send smaller batches.")


def decode(body: bytes, decoder: msgspec.json.Decoder[T], depth_limit: int) -> T:
    """Read a JSON body as a type.

    Raises:
        ApiError: 400 with the place in the body.
    """
    try:
        if is_deeper(body, depth_limit):
            raise RecursionError
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at ")
        raise api_error(400, "H606", message, place=place.strip("`") or "$") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise api_error(400, "H603", f"the body is no JSON: {error}") from error
    except RecursionError:
        raise too_deep(depth_limit) from None


def too_deep(limit: int) -> Exception:
    """Return the error of a body with too many levels."""
    return api_error(400, "H605", f"the body is nested deeper than {limit} levels")


def is_deeper(body: bytes, limit: int) -> bool:
    """True if JSON is nested deeper than `limit`; a cheap count answers for almost all.

    >>> is_deeper(b'{"a": [1, "[["]}', 2), is_deeper(b'{"a": [[]]}', 2)
    (False, True)
    """
    if body.count(b"{") + body.count(b"[") <= limit:
        return False
    depth = 0
    for bracket in _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in _OPENING else -1
        if depth > limit:
            return True
    return False


def _framing(headers: Headers) -> tuple[bytes, int]:
    """Return the content encoding and the length stated; 0 where none is."""
    encoding, length = b"", 0
    for name, value in headers:
        if name == b"content-encoding":
            encoding = value.strip().lower()
        elif name == b"content-length":
            length = int(value) if value.isdigit() else 0
    return encoding, length
