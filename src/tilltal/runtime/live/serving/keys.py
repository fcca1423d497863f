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

from tilltal.core.errors import TilltalError
from tilltal.core.instants import instant_of, micros
from tilltal.core.operational import ApiKey, OperationalStore
from tilltal.runtime.live.contract import KeyInfo, NewKey, Scope

_PREFIX = "tt"


class Keys:
    """The keys of a store, kept in memory; `load` reads them again."""

    def __init__(self, store: OperationalStore, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._keys: dict[str, ApiKey] = {}
        self._infos: dict[str, tuple[ApiKey, KeyInfo]] = {}  # what was made of keys; they never change

    async def load(self) -> None:
        """Read the keys as they are now, also those that another process made.

        What this process puts while the store is read may be newer than what was read, and stays.
        """
        before = self._keys
        read = {key.id: key for key in await self._store.api_keys()}
        made = {id_: key for id_, key in self._keys.items() if id_ not in before}
        self._keys = made | {id_: _stricter(key, self._keys.get(id_)) for id_, key in read.items()}

    def authenticate(self, secret: str) -> KeyInfo | None:
        """Return the key of a secret if it is in force now."""
        parts = secret.split("_", 2)
        key = self._keys.get(parts[1]) if len(parts) == 3 and parts[0] == _PREFIX else None
        if key is None:
            hmac.compare_digest(_hash(secret), bytes(32))  # as long as for one that is known
            return None
        if not hmac.compare_digest(_hash(secret), key.hash) or not self._is_in_force(key):
            return None
        known = self._infos.get(key.id)
        if known is None or known[0] is not key:
            known = self._infos[key.id] = (key, _info(key))
        return known[1]

    def all(self) -> list[KeyInfo]:
        """Return all keys, the oldest first."""
        return [_info(key) for key in sorted(self._keys.values(), key=lambda key: (key.created, key.id))]

    async def create(self, name: str, scopes: Iterable[Scope], expires: datetime | None = None) -> NewKey:
        """Make a key; its secret is in the answer and nowhere else.

        Raises:
            TilltalError: C122 if it would have expired already.
        """
        if expires is not None and micros(expires) <= micros(self._now()):
            raise TilltalError.of(
                "C122",
                f"A key that expires at {expires.isoformat()} would not be in force.",
                hint="Name an instant to come, or none for a key without end.",
            )
        key, secret = self._made(name, scopes, None if expires is None else micros(expires))
        await self._put(key)
        return NewKey(key=_info(key), secret=secret)

    async def rotate(self, key_id: str, overlap_seconds: float) -> NewKey | None:
        """Make a key like another, which ends after the overlap; None if that one is not in force.

        The new key lives as long as the old one was made to, from now on. During an overlap a key may be
        rotated again: that gives one more new key, and the old one ends when the first of its overlaps does.
        """
        await self.load()
        old = self._keys.get(key_id)
        if old is None or not self._is_in_force(old):
            return None
        now = self._now()
        expires = None if old.expires is None else micros(now) + old.expires - old.created
        new, secret = self._made(old.name, old.scopes, expires)
        ends = micros(now + timedelta(seconds=overlap_seconds))
        await self._put(new, msgspec.structs.replace(old, revoked=_earlier(ends, old.revoked)))
        return NewKey(key=_info(new), secret=secret)

    async def revoke(self, key_id: str) -> bool:
        """End a key at once, also during its overlap; False if there is no such key."""
        key = self._keys.get(key_id)
        if key is None:
            return False
        now = micros(self._now())
        if key.revoked is None or now < key.revoked:
            await self._put(msgspec.structs.replace(key, revoked=now))
        return True

    def _is_in_force(self, key: ApiKey) -> bool:
        if key.revoked is None and key.expires is None:
            return True
        ends = _earlier(key.revoked, key.expires)
        return ends is None or micros(self._now()) < ends

    def _made(self, name: str, scopes: Iterable[str], expires: int | None) -> tuple[ApiKey, str]:
        """Return a new key, not yet stored, and its secret."""
        key_id = secrets.token_hex(6)
        secret = f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
        key = ApiKey(
            id=key_id,
            name=name,
            hash=_hash(secret),
            scopes=tuple(dict.fromkeys(scopes)),
            created=micros(self._now()),
            expires=expires,
        )
        return key, secret

    async def _put(self, *keys: ApiKey) -> None:
        """Store keys together; what another process has ended meanwhile stays ended."""
        async with self._store.transaction() as tx:
            stored = {key.id: key for key in await tx.api_keys()}
            put = {key.id: _stricter(key, stored.get(key.id)) for key in keys}
            for key in put.values():
                await tx.put_api_key(key)
        self._keys = self._keys | put


def _stricter(key: ApiKey, other: ApiKey | None) -> ApiKey:
    """Return a key that ends when the first of its two states does: no key comes back to life."""
    if other is None:
        return key
    return msgspec.structs.replace(
        key, expires=_earlier(key.expires, other.expires), revoked=_earlier(key.revoked, other.revoked)
    )


def _earlier(one: int | None, other: int | None) -> int | None:
    """Return the earlier of two instants; None = never."""
    return min((each for each in (one, other) if each is not None), default=None)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _info(key: ApiKey) -> KeyInfo:
    return KeyInfo(
        id=key.id,
        name=key.name,
        scopes=cast("tuple[Scope, ...]", tuple(key.scopes)),
        created=instant_of(key.created),
        expires=None if key.expires is None else instant_of(key.expires),
        revoked=None if key.revoked is None else instant_of(key.revoked),
    )
