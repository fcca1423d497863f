"""The state of one customer: its fragments, and what was found when it was evaluated last."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tilltal.customers.live.facts.consent_answers import ConsentState
from tilltal.customers.live.facts.holding_facts import HoldingState
from tilltal.customers.live.facts.pending import Pending
from tilltal.customers.live.facts.records import RecordState
from tilltal.customers.live.relation.plan import LiveStanding
from tilltal.customers.live.traits.buckets import TraitState

NOBODY = LiveStanding(None, 0, 0, None)
"""Without a relation."""


class Facet:
    """Parts of a customer besides measured traits, as bits of a mask; plain integers, for speed."""

    RECORDS: Final = 1
    CONSENTS: Final = 2
    HOLDINGS: Final = 4
    LIFECYCLE: Final = 8
    ALL: Final = 15


class Fragment(msgspec.Struct):
    """All that is known under one identifier. Parts that nobody asked for are bytes, empty for nothing."""

    traits: bytes | TraitState = b""
    records: bytes | RecordState = b""
    consents: bytes | ConsentState = b""
    holdings: bytes | HoldingState = b""
    pending: list[Pending] = []


StoredFragment = tuple[bytes, bytes, bytes, bytes, list[Pending]]
"""A fragment as bytes hold it: its parts in order."""


class ProfileState(msgspec.Struct, eq=False):
    """A customer. Change it through `ProfileProgram` only, but for the first three.

    Attributes:
        is_known: Whether it has an identifier of a person, not only devices.
        lookalikes: The lookalike audiences that hold it, by name, as of the last snapshot.
        persona: The persona it has, which another must beat clearly.
        stage: The stage of its lifecycle.
        audiences: The mask of the audiences that hold it; see `ProfileProgram.audience_names`.
        until: The instant of the last evaluation in microseconds; None before the first.
        due: The first instant at which something may change by itself; None if nothing will.
        waiting: The first instant at which a fact in waiting counts; None if there is none.
        fragments: By token; bytes until touched.
        inputs: The values found last of the names that audiences need and fragments tell.
        changed: The families of traits that have changed since, as a mask.
        facets: What else has changed since, as a mask of `Facet`.
        fresh: The events added since: the families each counts in, and its day (ordinal).
        standing: Where it stands in its lifecycle.
        is_stale: Whether all must be evaluated again.
        seen: `is_known` and `lookalikes` as they were when it was evaluated last.
        is_untold: Whether it was made anew, and nobody was told yet of what that changed.
    """

    is_known: bool = False
    lookalikes: frozenset[str] = frozenset()
    persona: str | None = None
    stage: str | None = None
    audiences: int = 0
    until: int | None = None
    due: int | None = None
    waiting: int | None = None
    fragments: dict[int, bytes | Fragment] = {}
    inputs: list[Any] = []
    changed: int = 0
    facets: int = 0
    fresh: list[tuple[int, int]] = []
    is_stale: bool = True
    standing: LiveStanding = NOBODY
    seen: tuple[bool, frozenset[str]] = (False, frozenset())
    is_untold: bool = False


names_in = msgspec.msgpack.Decoder(tuple[str, ...]).decode


class Stored(msgspec.Struct, array_like=True):
    """A customer as bytes hold it.

    `edition` tells what `inputs` were found with; empty where stale. `made`: what fragments were made by.
    Sets of audiences are met again and again, so they stay bytes, to be known as a whole.
    """

    edition: str
    is_known: bool
    until: int | None
    due: int | None
    waiting: int | None
    stage: str | None
    standing: LiveStanding
    persona: str | None
    flat_audiences: msgspec.Raw
    lookalikes: tuple[str, ...]
    inputs: list[Any]
    fragments: dict[int, bytes]
    made: str = ""
    is_untold: bool = False

    @property
    def audiences(self) -> tuple[str, ...]:
        """The names of the audiences that hold it."""
        return names_in(self.flat_audiences)
