"""What the HTTP face allows: sizes, depths, times, numbers."""

from __future__ import annotations

import msgspec


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the HTTP face. The defaults suit one machine with 4 GB of memory.

    Attributes:
        body_limit_bytes: of one request, also after decompression. RudderStack's clients send up to 4 MB.
        message_limit_bytes: of one message of a batch; a larger one is refused alone.
        batch_limit_messages: messages of one batch.
        depth_limit: levels of nested JSON in a message or a request.
        body_timeout_seconds: for a whole request body to arrive.
        header_timeout_seconds: for a request's headers to arrive, from the connection's first moment.
        keep_alive_seconds: how long an idle connection is kept.
        held_limit_bytes: of all bodies together that are being read or handled; above it, 429.
        decide_held_limit_bytes: likewise of `/v1/decide`, which shares none with others.
        keyless_held_limit_bytes: likewise of requests without `Authorization`, whose bodies may hold the key.
        keyless_body_limit_bytes: of one request without `Authorization`.
        responses_limit: responses in one call.
        connection_limit: open connections; above it the one that has sent nothing for longest is closed.
        subscriber_limit: open streams of changes.
        heartbeat_seconds: between signs of life in a stream of changes.
    """

    body_limit_bytes: int = 5 * 1024 * 1024
    message_limit_bytes: int = 32 * 1024
    batch_limit_messages: int = 5_000
    depth_limit: int = 32
    body_timeout_seconds: float = 10.0
    header_timeout_seconds: float = 10.0
    keep_alive_seconds: float = 75.0
    held_limit_bytes: int = 256 * 1024 * 1024
    decide_held_limit_bytes: int = 32 * 1024 * 1024
    keyless_held_limit_bytes: int = 16 * 1024 * 1024
    keyless_body_limit_bytes: int = 1024 * 1024
    responses_limit: int = 500
    connection_limit: int = 16_000
    subscriber_limit: int = 1_000
    heartbeat_seconds: float = 15.0
