"""Who may do what: API keys as `Authorization: Bearer <key>` or as the user name of Basic."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from tilltal.api.bodies import Headers
from tilltal.api.errors import ApiError, api_error
from tilltal.core.errors import Fault
from tilltal.runtime.live.contract import KeyInfo, LiveService, Scope

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], None]

_CHALLENGE = ((b"www-authenticate", b'Bearer realm="tilltal", Basic realm="tilltal"'),)


def states_key(headers: Headers) -> bool:
    """True if a request's headers say who asks, rightly or not."""
    return any(name == b"authorization" for name, _ in headers)


def secret_in(headers: Headers) -> str | None:
    """Return the key that a request's headers state, or None if they state none."""
    for name, value in headers:
        if name == b"authorization":
            kind, _, rest = value.partition(b" ")
            return _secret(kind.lower(), rest.strip())
    return None


def authorise(service: LiveService, secret: str | None, scope: Scope) -> KeyInfo:
    """Return the key in force that a secret belongs to.

    Raises:
        ApiError: 401 without a valid key, 403 if it lacks the scope.
    """
    key = service.authenticate(secret) if secret else None
    if key is None:
        message = "the key is not valid" if secret else "a key is needed"
        hint = "Send it as `Authorization: Bearer <key>`, or as the user name of Basic."
        raise ApiError(401, Fault(code="H601", message=message, hint=hint), _CHALLENGE)
    if scope not in key.scopes:
        raise api_error(403, "H602", f"the key lacks the scope {scope!r}", valid=(scope,))
    return key


def key_of(service: LiveService, headers: Headers, scope: Scope) -> KeyInfo:
    """Return the key of a request by its headers. Raises as `authorise`."""
    return authorise(service, secret_in(headers), scope)


def needs(service: LiveService, scope: Scope) -> Guard:
    """Return a guard of Litestar that lets only keys with a scope pass."""

    def guard(connection: Connection, _: BaseRouteHandler) -> None:
        key_of(service, connection.scope["headers"], scope)

    return guard


def _secret(kind: bytes, rest: bytes) -> str | None:
    if kind == b"bearer":
        return _text(rest)
    if kind != b"basic":
        return None
    try:
        return _text(base64.b64decode(rest, validate=True).partition(b":")[0])
    except binascii.Error:
        return None


def _text(secret: bytes) -> str | None:
    """Return a secret as text; one that is no UTF-8 is none."""
    try:
        return secret.decode()
    except UnicodeDecodeError:
        return None
