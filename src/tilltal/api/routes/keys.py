"""API keys: make, list, rotate, revoke."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import delete, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tilltal.api.auth import needs
from tilltal.api.description import operation
from tilltal.api.errors import ApiError, api_error
from tilltal.api.exchange import Asked, Exchange
from tilltal.api.instants import in_utc
from tilltal.api.settings import ApiSettings
from tilltal.runtime.live.contract import KeyInfo, LiveService, NewKey, Scope


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to be made. `expires` None = never; without an offset it is UTC."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)]
    expires: datetime | None = None


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to be replaced by a new one; the old one ends after the overlap."""

    id: str
    overlap_seconds: Annotated[float, msgspec.Meta(ge=0, le=30 * 86_400)] = 0.0


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """All keys, without their secrets."""

    keys: tuple[KeyInfo, ...]


def key_exchanges(service: LiveService, settings: ApiSettings) -> tuple[Exchange, ...]:
    """Return the routes that make keys."""

    async def create(asked: KeyRequest) -> NewKey:
        return await service.create_key(asked.name, asked.scopes, in_utc(asked.expires))

    async def rotate(asked: Rotation) -> NewKey:
        made = await service.rotate_key(asked.id, asked.overlap_seconds)
        if made is None:
            raise _no_key()
        return made

    return (
        Exchange(
            path="/v1/keys",
            name="createKey",
            summary="Make a key; its secret is shown this once",
            scope="admin",
            tag="admin",
            takes=KeyRequest,
            gives=NewKey,
            answer=Asked(settings, msgspec.json.Decoder(KeyRequest), create),
        ),
        Exchange(
            path="/v1/keys/rotate",
            name="rotateKey",
            summary="Replace a key by a new one of the same name and scopes",
            scope="admin",
            tag="admin",
            takes=Rotation,
            gives=NewKey,
            answer=Asked(settings, msgspec.json.Decoder(Rotation), rotate),
            more_statuses=(404,),
        ),
    )


def key_routes(service: LiveService) -> list[HTTPRouteHandler]:
    """Return the routes that list and end keys."""

    @get("/v1/keys", guards=[needs(service, "admin")], **operation("listKeys", "admin", "admin"))
    async def keys() -> Keys:
        """All keys, those revoked or expired too; never a secret."""
        return Keys(keys=tuple(await service.keys()))

    @delete(
        "/v1/keys/{key_id:str}",
        guards=[needs(service, "admin")],
        **operation("revokeKey", "admin", "admin", 404),
    )
    async def revoke(key_id: FromPath[str]) -> None:
        """End a key at once."""
        if not await service.revoke_key(key_id):
            raise _no_key()

    return [keys, revoke]


def _no_key() -> ApiError:
    return api_error(404, "H615", "there is no such key in force")
