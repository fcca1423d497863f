"""Telling others what changed: a feed for listeners on the server, and webhooks for other systems.

A change is a row of the store, so nothing is lost while nobody listens. A webhook hears each change at least
once and in order: its place in the log of changes moves on only after the receiver answered 2xx.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from urllib.parse import quote

import httpx
import msgspec

from tilltal.core.errors import DataError, EngineError
from tilltal.core.ids import profile_text
from tilltal.core.instants import instant_of
from tilltal.core.operational import Change, OperationalStore, Writes
from tilltal.runtime.live.contract import ChangeNotice
from tilltal.runtime.live.serving.leases import Lease
from tilltal.workspace.definitions.settings import Webhook

_PORTION = 500
_POLL_SECONDS = 1.0  # another process may have written
_LEASE_SECONDS = 0.5  # between two looks whether it is this server's turn
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 300.0
_log = logging.getLogger("tilltal.webhooks")


class Feed:
    """Gives changes as they happen. `notify` is called after each commit."""

    def __init__(self, store: OperationalStore) -> None:
        self._store = store
        self._came = asyncio.Event()
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """True once nobody is told any more."""
        return self._is_closed

    def notify(self) -> None:
        """Wake everybody who listens."""
        self._came.set()
        self._came = asyncio.Event()

    def close(self) -> None:
        """End all listening."""
        self._is_closed = True
        self.notify()

    async def after(self, position: int | None) -> AsyncIterator[list[Change]]:
        """Give portions of changes after a position (None = from now on) until the feed is closed."""
        place = await last_position(self._store) if position is None else position
        while not self._is_closed:
            came = self._came
            portion = await self._store.changes_after(place, _PORTION)
            if portion:
                place = portion[-1].position
                yield portion
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_SECONDS):  # `wait_for` may lose a cancellation
                        await came.wait()


def place_mark(hook: str) -> str:
    """Return the mark of how far a webhook's receiver was told."""
    return f"webhook:{hook}"


async def last_position(store: OperationalStore) -> int:
    """Return the position of the latest change, 0 if there is none."""
    return (await store.sizes()).get("changes", 0)


def notice(change: Change) -> ChangeNotice:
    """Return a change as the API shows it."""
    details: dict[str, object] = msgspec.msgpack.decode(change.body, type=dict) if change.body else {}
    return ChangeNotice(
        position=change.position,
        at=instant_of(change.at),
        profile=profile_text(change.profile),
        kind=change.kind,
        name=change.name,
        details=details,
    )


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Return the value of `Tilltal-Signature`: HMAC-SHA256 (RFC 2104) over `<timestamp>.<body>`.

    A receiver computes the same, compares in constant time and refuses timestamps that are minutes old.
    """
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def secret_of(name: str, definition: Webhook, environment: Mapping[str, str]) -> str:
    """Return the secret that a webhook signs with.

    Raises:
        DataError: E541 if the environment lacks it.
    """
    if definition.secret not in environment:
        raise DataError.of(
            "E541",
            f"The webhook {name!r} needs the secret in the environment variable {definition.secret}.",
            hint="Set it, or remove the webhook from tilltal.yaml.",
        )
    return environment[definition.secret]


class Hook:
    """One webhook: its own place in the log, its own pauses."""

    def __init__(
        self,
        name: str,
        definition: Webhook,
        environment: Mapping[str, str],
        store: OperationalStore,
        feed: Feed,
        now: Callable[[], datetime],
    ) -> None:
        """Take a definition.

        Raises:
            DataError: E541 if the environment lacks the secret.
        """
        self._secret = secret_of(name, definition, environment)
        self._mark = place_mark(name)
        self._lease = Lease(store, self._mark)
        self._definition = definition
        self._store = store
        self._feed = feed
        self._now = now
        self.name = name
        self.failures = 0  # in a row

    async def run(self, client: httpx.AsyncClient) -> None:
        """Tell the receiver of every change until the feed closes, also after the store was away.

        Of several servers one does so. If it dies another goes on, within seconds, from the last place kept.
        """
        async with self._lease.kept():
            while not self._feed.is_closed:
                try:
                    if self._lease.is_held:
                        await self._tell_all(client)
                except EngineError as error:
                    _log.warning("webhook %s: %s", self.name, error)
                await asyncio.sleep(0 if self._feed.is_closed else _LEASE_SECONDS)

    async def place(self) -> int | None:
        """Return the position of the last change that the receiver was told of; None before the first."""
        kept = await self._store.mark(self._mark)
        return None if kept is None else int(kept)

    async def _tell_all(self, client: httpx.AsyncClient) -> None:
        """Tell of every change until the feed closes, or another server has taken over."""
        term = self._lease.term
        kept = await self.place()
        place = await last_position(self._store) if kept is None else kept
        if kept is None:
            await self._keep(place)
        async for portion in self._feed.after(place):
            wanted = [notice(change) for change in portion if self._is_wanted(change)]
            while self._is_mine(term) and wanted and not await self._tell(client, wanted):
                await asyncio.sleep(self._pause())
            if not self._is_mine(term):
                return
            await self._keep(portion[-1].position)

    def _is_mine(self, term: int) -> bool:
        return self._lease.is_held and self._lease.term == term

    def _is_wanted(self, change: Change) -> bool:
        audiences = self._definition.audiences
        is_audience = change.kind in ("entered", "left")
        return change.kind in self._definition.changes and not (
            audiences and is_audience and change.name not in audiences
        )

    async def _tell(self, client: httpx.AsyncClient, notices: Sequence[ChangeNotice]) -> bool:
        body = msgspec.json.encode({"changes": notices})
        timestamp = int(self._now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "Tilltal-Signature": signature(self._secret, timestamp, body),
            "Idempotency-Key": f"{quote(self.name)}-{notices[0].position}-{notices[-1].position}",
        }
        try:
            answer = await client.post(self._definition.url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            outcome = type(error).__name__
        else:
            outcome = str(answer.status_code)
            if answer.is_success:
                self.failures = 0
                return True
        self.failures += 1
        _log.warning("webhook %s: %s, attempt %d", self.name, outcome, self.failures)
        return False

    def _pause(self) -> float:
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self.failures, 20))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing

    async def _keep(self, place: int) -> None:
        with suppress(EngineError):  # told again after a restart, which a receiver must stand anyway
            async with self._store.transaction() as tx:
                if await self._lease.confirm(tx):
                    await tx.write(Writes(marks={self._mark: str(place).encode()}))
