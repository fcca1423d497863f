"""What fragments tell of a customer: facts in, values out.

Values are those of measured traits, attributes, consents, holdings and the lifecycle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from tilltal.core.money import minor_per_major
from tilltal.customers.consents import consent_name
from tilltal.customers.live.facts.consent_answers import ConsentFact, ConsentPlan, ConsentState
from tilltal.customers.live.facts.holding_facts import HoldingPlan, HoldingState
from tilltal.customers.live.facts.pending import Fact
from tilltal.customers.live.facts.records import RecordFact, RecordPlan, RecordState
from tilltal.customers.live.relation.plan import LifecyclePlan
from tilltal.customers.live.relation.tracks import lifecycle_families
from tilltal.customers.live.state import Facet, Fragment, ProfileState, StoredFragment
from tilltal.customers.live.traits.buckets import Layout, TraitState
from tilltal.customers.live.traits.families import Family, family_of, fingerprint_of
from tilltal.customers.live.traits.live_traits import LiveTraits
from tilltal.customers.live.traits.local_days import LocalDays
from tilltal.customers.live.traits.readers import TraitReader, reader_of
from tilltal.customers.profiles import record_sources
from tilltal.customers.traits.compiled import CompiledTrait, compile_traits
from tilltal.customers.traits.online import Event
from tilltal.customers.traits.schema import EventType, Schemas
from tilltal.rules.clock import Clock
from tilltal.workspace.names import (
    LIFECYCLE_NAMES,
    event_fields,
    event_schemas,
    expanded_traits,
    products,
    record_attributes,
)
from tilltal.workspace.workspace import Workspace

_FORMAT = 1  # raised whenever the bytes of a fragment are laid out differently

Part = TypeVar("Part")

_encode = msgspec.msgpack.Encoder().encode
_records = msgspec.msgpack.Decoder(RecordState).decode
_consents = msgspec.msgpack.Decoder(ConsentState).decode
_holdings = msgspec.msgpack.Decoder(HoldingState).decode
_fragment = msgspec.msgpack.Decoder(StoredFragment).decode


def event_types_of(workspace: Workspace) -> Schemas:
    """Return each event type's fields and which of them are money."""
    divisor = minor_per_major(workspace.currency)
    declared = event_fields(workspace)
    return {
        name: EventType(
            fields=fields,
            money={field: divisor for field, kind in declared[name].items() if kind == "money"},
        )
        for name, fields in event_schemas(workspace).items()
    }


class Inputs:
    """Takes facts into fragments and reads them.

    Attributes:
        fingerprint: stored fragments may be read only if it is the same as when they were written.
        traits: the measured traits; their families are the bits of masks.
        lifecycle: the lifecycle, if the workspace has one.
        facet_of: each name that is no measured trait → the part of a customer that tells it.
    """

    def __init__(
        self, workspace: Workspace, extra: Sequence[Family], product_order: Mapping[str, int]
    ) -> None:
        """Compile a workspace's definitions.

        Raises:
            WorkspaceError: where one is faulty.
        """
        schemas, zone = event_types_of(workspace), workspace.zone
        self._compiled = compile_traits(expanded_traits(workspace), schemas)
        lifecycle = workspace.lifecycle
        families = () if lifecycle is None else lifecycle_families(lifecycle, schemas)
        self.traits = LiveTraits(self._compiled, schemas, zone, (*families, *extra))
        self.lifecycle = (
            None if lifecycle is None else LifecyclePlan(lifecycle, schemas, zone, self.traits.families)
        )
        self.days = LocalDays(zone)
        self._schemas, self._order = schemas, product_order
        sources = record_sources(workspace)
        self._records = RecordPlan(sources, workspace.profile, workspace.currency)
        self._consents = ConsentPlan(workspace.consent.purposes, workspace.settings.channels)
        self.holdings = HoldingPlan(products(workspace), first=workspace.micro_segments.products)
        self.facet_of = _facets(workspace)
        self.fingerprint = fingerprint_of(_FORMAT, self.traits.fingerprint, sources)

    def readers(self, names: Sequence[str]) -> list[tuple[int, TraitReader]]:
        """Return what reads each measured trait among some names, with its place among them."""
        layouts = [Layout(family) for family in self.traits.families]
        compiled = {trait.name: trait for trait in self._compiled}
        return [
            (place, self._reader(compiled[name], layouts))
            for place, name in enumerate(names)
            if name in compiled
        ]

    def _reader(self, trait: CompiledTrait, layouts: Sequence[Layout]) -> TraitReader:
        index = self.traits.index_of(family_of(trait))
        return reader_of(trait, index, layouts[index], self.days, self._schemas)

    def opened(self, fragment: bytes) -> Fragment:
        """Return a fragment of bytes."""
        return Fragment(*_fragment(fragment))

    def closed(self, fragment: Fragment) -> bytes:
        """Return a fragment as bytes."""
        traits, records = fragment.traits, fragment.records
        consents, holdings = fragment.consents, fragment.holdings
        stored: StoredFragment = (
            traits if isinstance(traits, bytes) else self.traits.encode(traits),
            records if isinstance(records, bytes) else _encode(records),
            consents if isinstance(consents, bytes) else _encode(consents),
            holdings if isinstance(holdings, bytes) else _encode(holdings),
            fragment.pending,
        )
        return _encode(stored)

    def add(
        self, state: ProfileState, fragment: Fragment, fact: Fact, instants: tuple[int, int], today: int
    ) -> None:
        """Take a fact that counts into a fragment, and note what it changes.

        Args:
            state: of the customer.
            fragment: one of the customer's.
            fact: something that happened or was stated.
            instants: of the fact; see `instants_of`.
            today: the ordinal of the day.
        """
        if isinstance(fact, Event):
            at, received = instants
            day = self.days.day(at)
            changed = self.traits.add_on(self.traits_in(fragment), fact, day, at, received)
            state.changed |= changed
            state.fresh.append((changed, day))
            if self._may_turn(state, changed, day, today):
                state.facets |= Facet.LIFECYCLE
        elif isinstance(fact, RecordFact):
            if self._records.add(records_in(fragment), fact):
                state.facets |= Facet.RECORDS
        elif isinstance(fact, ConsentFact):
            if self._consents.add(consents_in(fragment), fact):
                state.facets |= Facet.CONSENTS
        elif self.holdings.add(holdings_in(fragment), fact):
            state.facets |= Facet.HOLDINGS
            if self.lifecycle is not None and self.lifecycle.reads_holdings:
                state.facets |= Facet.LIFECYCLE

    def _may_turn(self, state: ProfileState, changed: int, day: int, today: int) -> bool:
        """True if an event may have changed the stage, and nothing before it has."""
        plan = self.lifecycle
        if plan is None or state.is_stale or state.facets & Facet.LIFECYCLE:
            return False
        return plan.may_change(state.standing, changed, day, today)

    def traits_in(self, fragment: Fragment) -> TraitState:
        """Return a fragment's state of traits, opened from now on."""
        traits = fragment.traits
        if not isinstance(traits, TraitState):
            fragment.traits = traits = self.traits.decode(traits) if traits else self.traits.empty()
        return traits

    def attributes(self, whole: Whole) -> Mapping[str, object]:
        """Return all attributes."""
        return self._records.values(whole.records)

    def consents(self, whole: Whole) -> Mapping[str, object]:
        """Return all consents."""
        return self._consents.values(whole.consents)

    def held(self, whole: Whole, clock: Clock) -> Mapping[str, object]:
        """Return what is held as of the clock."""
        return self.holdings.values(whole.holdings, clock, self._order)

    def whole(self, fragments: Sequence[Fragment]) -> Whole:
        """Return fragments to be read as one."""
        return Whole(self, fragments)

    def merged_traits(self, fragments: Sequence[Fragment]) -> TraitState:
        """Return the traits of fragments as one."""
        if not fragments:
            return self.traits.empty()
        return self.traits.merged([self.traits_in(fragment) for fragment in fragments])

    def merged_records(self, fragments: Sequence[Fragment]) -> RecordState:
        """Return the records of fragments as one."""
        return _merged(fragments, records_in, self._records.merged, RecordState)

    def merged_consents(self, fragments: Sequence[Fragment]) -> ConsentState:
        """Return the consents of fragments as one."""
        return _merged(fragments, consents_in, self._consents.merged, ConsentState)

    def merged_holdings(self, fragments: Sequence[Fragment]) -> HoldingState:
        """Return the holdings of fragments as one."""
        return _merged(fragments, holdings_in, self.holdings.merged, HoldingState)


class Whole:
    """The fragments of a customer as one, to read only; each part is put together when asked for."""

    def __init__(self, inputs: Inputs, fragments: Sequence[Fragment]) -> None:
        self._inputs, self._fragments = inputs, fragments
        self._traits: TraitState | None = None

    @property
    def traits(self) -> TraitState:
        """What traits and the lifecycle are told from."""
        if self._traits is None:
            self._traits = self._inputs.merged_traits(self._fragments)
        return self._traits

    @property
    def records(self) -> RecordState:
        """The latest records."""
        return self._inputs.merged_records(self._fragments)

    @property
    def consents(self) -> ConsentState:
        """The latest answers."""
        return self._inputs.merged_consents(self._fragments)

    @property
    def holdings(self) -> HoldingState:
        """The statements about holdings."""
        return self._inputs.merged_holdings(self._fragments)


def records_in(fragment: Fragment) -> RecordState:
    """Return a fragment's records, opened from now on."""
    if isinstance(fragment.records, bytes):
        fragment.records = _records(fragment.records) if fragment.records else RecordState()
    return fragment.records


def consents_in(fragment: Fragment) -> ConsentState:
    """Return a fragment's consents, opened from now on."""
    if isinstance(fragment.consents, bytes):
        fragment.consents = _consents(fragment.consents) if fragment.consents else ConsentState()
    return fragment.consents


def holdings_in(fragment: Fragment) -> HoldingState:
    """Return a fragment's holdings, opened from now on."""
    if isinstance(fragment.holdings, bytes):
        fragment.holdings = _holdings(fragment.holdings) if fragment.holdings else HoldingState()
    return fragment.holdings


def _merged(
    fragments: Sequence[Fragment],
    part: Callable[[Fragment], Part],
    merged: Callable[[Sequence[Part]], Part],
    empty: Callable[[], Part],
) -> Part:
    return merged([part(fragment) for fragment in fragments]) if fragments else empty()


def _facets(workspace: Workspace) -> dict[str, int]:
    found: dict[str, int] = dict.fromkeys(record_attributes(workspace), Facet.RECORDS)
    for purpose in workspace.consent.purposes:
        for channel in workspace.settings.channels:
            found[consent_name(purpose, channel)] = Facet.CONSENTS
    names = ("holdings", "leading_product", *(f"holding.{product}" for product in products(workspace)))
    found |= dict.fromkeys(names, Facet.HOLDINGS)
    return found | dict.fromkeys(LIFECYCLE_NAMES if workspace.lifecycle else (), Facet.LIFECYCLE)
