"""A request for a decision, checked against the definitions."""

from __future__ import annotations

import msgspec

from tilltal.core.errors import TilltalError, nearest
from tilltal.decisions.live.reasons import Pair
from tilltal.runtime.live.contract import DecideRequest
from tilltal.runtime.live.definitions import InForce


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request, read: for whom, where, by when."""

    tokens: tuple[int, ...]
    request: DecideRequest
    channel: str | None
    count: int | None


def read_request(force: InForce, request: DecideRequest) -> Asked:
    """Check a request against the definitions.

    Raises:
        TilltalError: C110 for an unknown namespace, C111 for a placement, C112 for a channel.
    """
    tokens = []
    for namespace, value in request.identity.items():
        token = force.token(namespace, value)
        if token is not None:
            tokens.append(token)
    channel, count = request.channel, request.count
    if request.placement is not None:
        placements = force.workspace.settings.server.placements
        placement = placements.get(request.placement)
        if placement is None:
            raise TilltalError.of(
                "C111",
                f"There is no placement {request.placement!r}.",
                valid=nearest(request.placement, placements),
                hint="Declare it under server.placements in tilltal.yaml.",
            )
        channel = channel or placement.channel
        count = placement.count if count is None else count
    if channel is not None and channel not in force.workspace.settings.channels:
        raise TilltalError.of(
            "C112",
            f"There is no channel {channel!r}.",
            valid=nearest(channel, force.workspace.settings.channels),
        )
    return Asked(tokens=tuple(tokens), request=request, channel=channel, count=count)


def may_reserve(force: InForce, asked: Asked) -> bool:
    """False if nothing that could be shown must be reserved, by whichever channel."""
    if not asked.tokens:
        return False
    wants = force.contacts.counts if asked.request.reserve is None else asked.request.reserve
    return wants or bool(force.contacts.rations.capacities)


def must_reserve(force: InForce, asked: Asked, pair: Pair) -> bool:
    """True if an action by a channel is reserved before it is shown; one with a capacity always is."""
    action, channel = pair
    if force.contacts.rations.has(action):
        return bool(asked.tokens)
    if asked.request.reserve is not None:
        return asked.request.reserve and bool(asked.tokens)
    return force.contacts.counts and channel in force.workspace.contact.reserve and bool(asked.tokens)
