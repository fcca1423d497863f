"""API keys: made, shown once, kept as hashes, rotated and revoked.

A secret is `tt_<id>_<32 random bytes>`: the id finds the key, the rest is compared in constant time. SHA-256
is enough for secrets of 256 random bits; a slow hash is for what people choose.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import cast

import msgspec

from tilltal.core.operational import ApiKey, OperationalStore
from tilltal.runtime.live.contract import KeyInfo, NewKey, Scope
from tilltal.runtime.live.instants import micros, moment

_PREFIX = "tt"


class Keys:
    """The keys of a store, kept in memory; `load` reads them again."""

    def __init__(self, store: OperationalStore, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._keys: dict[str, ApiKey] = {}

    async def load(self) -> None:
        """Read the keys as they are now, also those that another process made."""
        self._keys = {key.id: key for key in await self._store.api_keys()}

    def authenticate(self, secret: str) -> KeyInfo | None:
        """Return the key of a secret if it is in force now."""
        parts = secret.split("_", 2)
        key = self._keys.get(parts[1]) if len(parts) == 3 and parts[0] == _PREFIX else None
        expected = key.hash if key else bytes(32)
        is_right = hmac.compare_digest(_hash(secret), expected)
        return _info(key) if key and is_right and self._is_in_force(key) else None

    def all(self) -> list[KeyInfo]:
        """Return all keys, the oldest first."""
        return [_info(key) for key in sorted(self._keys.values(), key=lambda key: (key.created, key.id))]

    async def create(self, name: str, scopes: Iterable[Scope], expires: datetime | None = None) -> NewKey:
        """Make a key; its secret is in the answer and nowhere else."""
        key_id = secrets.token_hex(6)
        secret = f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
        key = ApiKey(
            id=key_id,
            name=name,
            hash=_hash(secret),
            scopes=tuple(dict.fromkeys(scopes)),
            created=micros(self._now()),
            expires=None if expires is None else micros(expires),
        )
        await self._put(key)
        return NewKey(key=_info(key), secret=secret)

    async def rotate(self, key_id: str, overlap_seconds: float) -> NewKey | None:
        """Make a key like another, which ends after the overlap; None if that one is not in force."""
        old = self._keys.get(key_id)
        if old is None or not self._is_in_force(old):
            return None
        new = await self.create(old.name, _info(old).scopes, None)
        ends = micros(self._now() + timedelta(seconds=overlap_seconds))
        await self._put(
            msgspec.structs.replace(old, expires=ends if old.expires is None else min(ends, old.expires))
        )
        return new

    async def revoke(self, key_id: str) -> bool:
        """End a key at once; False if there is no such key."""
        key = self._keys.get(key_id)
        if key is None:
            return False
        if key.revoked is None:
            await self._put(msgspec.structs.replace(key, revoked=micros(self._now())))
        return True

    def _is_in_force(self, key: ApiKey) -> bool:
        now = micros(self._now())
        return key.revoked is None and (key.expires is None or now < key.expires)

    async def _put(self, key: ApiKey) -> None:
        async with self._store.transaction() as tx:
            await tx.put_api_key(key)
        self._keys[key.id] = key


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _info(key: ApiKey) -> KeyInfo:
    return KeyInfo(
        id=key.id,
        name=key.name,
        scopes=cast("tuple[Scope, ...]", tuple(key.scopes)),
        created=moment(key.created),
        expires=None if key.expires is None else moment(key.expires),
        revoked=None if key.revoked is None else moment(key.revoked),
    )
