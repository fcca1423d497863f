"""Whose body is read at all, and into which memory: nobody without a key can crowd out those with one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from litestar.types import HTTPScope, Receive
from litestar.utils.path import normalize_path

from tilltal.api.auth import key_of, states_key
from tilltal.api.bodies import BodyReader, Room
from tilltal.api.exchange import Exchange
from tilltal.api.settings import ApiSettings
from tilltal.runtime.live.contract import LiveService


class Admission:
    """Lets requests to busy routes in, by their headers before their bodies."""

    def __init__(self, service: LiveService, settings: ApiSettings, exchanges: Iterable[Exchange]) -> None:
        self._service = service
        self._bodies = BodyReader(settings.body_timeout_seconds)
        self._keyless = Room(settings.keyless_held_limit_bytes, settings.keyless_body_limit_bytes)
        self._rooms: Mapping[str, Room] = {
            "shared": Room(settings.held_limit_bytes, settings.body_limit_bytes),
            "decide": Room(settings.decide_held_limit_bytes, settings.body_limit_bytes),
        }
        self._exchanges = {exchange.path: exchange for exchange in exchanges}

    def exchange_at(self, scope: HTTPScope) -> Exchange | None:
        """Return the busy route that a request is to, however its address is spelt; None = some other."""
        if scope["method"] != "POST":
            return None
        found = self._exchanges.get(scope["path"])
        return found or self._exchanges.get(normalize_path(scope["path"]))

    def room_for(self, scope: HTTPScope, exchange: Exchange) -> Room:
        """Return the room that a request's body has.

        Raises:
            ApiError: 401, 403 for the key, unless the body may still state it.
        """
        headers = scope["headers"]
        if exchange.is_key_in_body and not states_key(headers):
            return self._keyless
        key_of(self._service, headers, exchange.scope)
        return self._rooms[exchange.room]

    async def body(self, scope: HTTPScope, receive: Receive, room: Room) -> tuple[bytes, bool]:
        """Read a request's body into its room; returns and raises as `BodyReader.read`."""
        return await self._bodies.read(scope["headers"], receive, room)
