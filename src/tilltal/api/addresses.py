"""Addresses whose parts hold what a path is made of: an identifier such as `a/b`, written `a%2Fb`.

A server decodes a path before it is routed, and then nobody can tell an identifier's slash from one that
parts segments. So routing sees another letter in its place, and the route reads the address as it was sent.
"""

from __future__ import annotations

from urllib.parse import unquote

from litestar.types import HTTPScope

_SLASH = b"%2f"


def routable(scope: HTTPScope) -> str:
    """Return the path by which a request is routed: slashes within segments are underscores.

    >>> routable({"path": "/v1/profiles/crm/a/b", "raw_path": b"/v1/profiles/crm/a%2Fb"})
    '/v1/profiles/crm/a_b'
    """
    raw = scope.get("raw_path") or b""
    if _SLASH not in raw.lower():
        return scope["path"]
    return "/".join(unquote(part.decode("ascii", "replace")).replace("/", "_") for part in raw.split(b"/"))


def segment(scope: HTTPScope, place: int, routed: str) -> str:
    """Return a segment of the address, decoded whole.

    Args:
        scope: the request.
        place: which segment, from 0; empty ones do not count.
        routed: the segment as routing saw it, for a server that does not tell the address as it was sent.

    >>> segment({"raw_path": b"//v1/profiles/crm/a%2Fb"}, 3, "a_b")
    'a/b'
    """
    parts = [part for part in (scope.get("raw_path") or b"").split(b"/") if part]
    return unquote(parts[place].decode("ascii", "replace")) if place < len(parts) else routed
