"""A route that takes JSON and gives JSON, as a function from headers and body to a reply.

The front calls it without the framework, as these routes are the busy ones; the same function is registered
with Litestar, which describes it and serves other spellings of its address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Literal, TypeVar

import msgspec

from tilltal.api.bodies import Headers, decode
from tilltal.api.errors import Reply
from tilltal.api.settings import ApiSettings
from tilltal.runtime.live.contract import Scope

Answer = Callable[[Headers, bytes], Awaitable[Reply]]

T = TypeVar("T")


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A busy route: where, what it does, what it takes and gives (for the description), and the function.

    A key in the headers was looked at, for `scope`, before the function is called. `room` says with which
    others it shares the memory for bodies; `is_key_in_body`: where headers state no key, the body may, and
    the function looks at it.
    """

    path: str
    scope: Scope
    name: str
    summary: str
    tag: str
    takes: object
    gives: type
    answer: Answer
    room: Literal["shared", "decide"] = "shared"
    is_key_in_body: bool = False
    more_statuses: tuple[int, ...] = ()


class Asked(Generic[T]):
    """Answers requests of one type of body with what a function makes of it."""

    def __init__(
        self,
        settings: ApiSettings,
        decoder: msgspec.json.Decoder[T],
        run: Callable[[T], Awaitable[object]],
    ) -> None:
        self._depth_limit = settings.depth_limit
        self._decoder = decoder
        self._run = run

    async def __call__(self, _: Headers, body: bytes) -> Reply:
        """Answer one request.

        Raises:
            ApiError: 400 for the body; and what the function raises.
        """
        asked = decode(body, self._decoder, self._depth_limit)
        return Reply(200, _ENCODER.encode(await self._run(asked)))


_ENCODER = msgspec.json.Encoder()
