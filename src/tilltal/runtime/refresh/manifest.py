"""What a snapshot says of itself: `manifest.json`."""

from __future__ import annotations

import msgspec

from tilltal.core.errors import Fault


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How long a part of the refresh took, in seconds of wall clock and of all processors."""

    name: str
    seconds: float
    cpu_seconds: float


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot says of itself. Instants are ISO 8601 in UTC.

    `definitions` is the hash of all definitions, `profiled` of those that profiles are made from.
    `base_rates`: models that answer with the base rate, for no better one was accepted. `warnings`: models
    that could not be trained, and why.
    """

    name: str
    currency: str
    as_of: str
    created: str
    definitions: str
    profiled: str = ""
    profiles: int
    customers: int
    dropped_links: int
    trained: tuple[str, ...]
    base_rates: tuple[str, ...] = ()
    warnings: tuple[Fault, ...] = ()
    steps: tuple[Step, ...]
