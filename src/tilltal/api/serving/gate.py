"""Connections that are slow to say what they want: counted, and closed before they crowd others out.

uvicorn's own `limit_concurrency` would refuse whoever comes after the slow ones; here the slowest make room.
"""

from __future__ import annotations

from typing import Protocol

from tilltal.api.settings import ApiSettings


class Waiting(Protocol):
    """A connection whose request is not complete."""

    is_in_head: bool

    def give_up(self) -> None:
        """Close it."""


class Gate:
    """Knows which connections have not sent a whole request, longest first.

    `total` is the number of open connections. Times are in seconds of one monotonic clock.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self.limit = settings.connection_limit
        self.total = 0
        self.given_up = 0
        self._head_seconds = settings.header_timeout_seconds
        self._whole_seconds = settings.header_timeout_seconds + settings.body_timeout_seconds
        self._since: dict[Waiting, float] = {}

    def enter(self, connection: Waiting, now: float) -> None:
        """Let a connection in; above the limit the one that waits longest goes, which may be this one."""
        self.total += 1
        self._since[connection] = now
        if self.total > self.limit:
            self._close(next(iter(self._since)))

    def leave(self, connection: Waiting) -> None:
        """Note that a connection has ended."""
        self.total -= 1
        self._since.pop(connection, None)

    def wait_for(self, connection: Waiting, now: float) -> None:
        """Note that a connection's request is begun and not complete."""
        self._since.setdefault(connection, now)

    def has_arrived(self, connection: Waiting) -> None:
        """Note that a connection's request is complete."""
        self._since.pop(connection, None)

    def sweep(self, now: float) -> None:
        """Close who has waited too long: for its headers, or for the whole of a request."""
        slow = [
            connection
            for connection, since in self._since.items()
            if now - since > (self._head_seconds if connection.is_in_head else self._whole_seconds)
        ]
        for connection in slow:
            self._close(connection)

    def _close(self, connection: Waiting) -> None:
        self._since.pop(connection, None)
        self.given_up += 1
        connection.give_up()
