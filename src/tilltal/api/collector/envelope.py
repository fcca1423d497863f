"""The outside of a batch: its messages as bytes, and what they share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

import msgspec

from tilltal.api.bodies import is_deeper, too_deep
from tilltal.api.collector.instants import read_instant
from tilltal.api.errors import ApiError, api_error

# What Python's clients write where JSON has no word: NaN, Infinity. No text of a message holds U+FDD0, a code
# point that Unicode reserves as no letter.
_MARK = "\ufdd0no number"
MARK = json.dumps(_MARK).encode()


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A batch. `context` and `integrations` are merged under each message's own; they have `shared_bytes`."""

    batch: tuple[bytes, ...]
    sent_at: datetime | None
    context: Mapping[str, object]
    integrations: Mapping[str, object]
    shared_bytes: int = 0


class _Batch(msgspec.Struct, rename="camel"):
    batch: list[msgspec.Raw]
    sent_at: object = None
    context: object = None
    integrations: object = None


class _KeyOnly(msgspec.Struct, rename="camel"):
    write_key: object = None


_BATCH = msgspec.json.Decoder(_Batch)
_KEY = msgspec.json.Decoder(_KeyOnly)


def key_in(body: bytes) -> str | None:
    """Return the write key that a body states; it reads nothing else, as nobody is known yet."""
    try:
        key = _KEY.decode(body).write_key
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return key if isinstance(key, str) else None


def read_batch(body: bytes, *, limit: int, depth_limit: int) -> Envelope:
    """Read a batch's outside; its messages may still be anything.

    Raises:
        ApiError: 400 if it is no JSON or has no list of messages, 413 for more messages than `limit`.
    """
    found = _decode(body, depth_limit)
    if len(found.batch) > limit:
        raise api_error(
            413, "H604", f"the batch has more than {limit} messages", hint="Send smaller batches."
        )
    shared = [each if isinstance(each, dict) else {} for each in (found.context, found.integrations)]
    return Envelope(
        batch=tuple(map(bytes, found.batch)),
        sent_at=read_instant(found.sent_at),
        context=shared[0],
        integrations=shared[1],
        shared_bytes=sum(_size(each, depth_limit) for each in shared if each),
    )


def _size(shared: Mapping[str, object], depth_limit: int) -> int:
    """Return how many bytes every message gets more.

    Raises:
        ApiError: 400 if it is too deep.
    """
    try:
        written = json.dumps(shared).encode()
    except RecursionError:
        raise too_deep(depth_limit) from None
    if is_deeper(written, depth_limit):
        raise too_deep(depth_limit)
    return len(written)


def _decode(body: bytes, depth_limit: int) -> _Batch:
    try:
        return _BATCH.decode(body)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at ")
        raise api_error(400, "H606", message, place=place.strip("`") or "$") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _decode_leniently(body, depth_limit, error)
    except RecursionError:
        raise too_deep(depth_limit) from None


def _decode_leniently(body: bytes, depth_limit: int, cause: Exception) -> _Batch:
    """Read a batch of which one message holds what is no JSON, so that the others are not lost with it."""
    try:
        found = json.loads(body, parse_constant=lambda _: _MARK)
        return msgspec.convert(_with_bytes(found), _Batch)
    except RecursionError:
        raise too_deep(depth_limit) from None
    except ValueError:
        raise _no_json(cause) from cause


def _with_bytes(found: object) -> object:
    if not isinstance(found, dict) or not isinstance(found.get("batch"), list):
        return found
    return {**found, "batch": [msgspec.Raw(json.dumps(each).encode()) for each in found["batch"]]}


def _no_json(cause: Exception) -> ApiError:
    return api_error(400, "H603", f"the body is no JSON: {cause}")
