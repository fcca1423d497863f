"""Checks `policies/sending.yaml`: known channels and events, and a horizon that can mean something."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from tilltal.core.errors import Fault
from tilltal.core.time import parse_duration
from tilltal.workspace.checks.scope import At, Scope

_SHORTEST, _LONGEST = timedelta(hours=1), timedelta(days=7)


def check_sending(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of `policies/sending.yaml`."""
    at, sending = At(scope.workspace, "policies/sending.yaml"), scope.workspace.sending
    yield from at.all_known("channel", sending.channels, scope.workspace.settings.channels, "channels")
    yield from at.all_known("event type", sending.events, scope.events, "events")
    yield from at.readable(sending.horizon, _read_horizon, "horizon")
    if sending.channels and not sending.events:
        message = "`channels` needs `events`: a rhythm is made of something."
        yield at.key_fault("W121", message, "channels", hint="Name event types, such as logins.")
    if sending.events and not sending.channels:
        message = "`events` says nothing without `channels`."
        yield at.key_fault("W121", message, "events", hint="Name channels, or take it out.")


def _read_horizon(text: str) -> timedelta:
    """Read the horizon.

    Raises:
        ValueError: unless it is a duration from an hour to a week.
    """
    found = parse_duration(text)
    if not _SHORTEST <= found <= _LONGEST:
        raise ValueError(f"{text!r} is not between an hour and a week")
    return found
