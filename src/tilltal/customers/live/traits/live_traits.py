"""The traits of one fragment as state that grows with each event and is read as of any clock.

`customers.traits.online.Evaluator` over all events of a customer is the meaning; here no event is read again.
Nothing expires inside a state, so it may be read at midnight or a year later, merged with others, or taken
apart again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from tilltal.core.instants import instant_of, micros
from tilltal.core.time import Window
from tilltal.customers.live.traits.buckets import Layout, Slot, TraitState, decoded, encoded, reach_of
from tilltal.customers.live.traits.event_routes import EventRoutes
from tilltal.customers.live.traits.expiry import Expiry
from tilltal.customers.live.traits.families import Family, family_of, fingerprint_of, merged_families
from tilltal.customers.live.traits.local_days import LocalDays
from tilltal.customers.live.traits.partials import Partial, partial_of, restored
from tilltal.customers.live.traits.readers import Frames, TraitReader, reader_of
from tilltal.customers.traits.compiled import CompiledTrait
from tilltal.customers.traits.online import Event
from tilltal.customers.traits.schema import Schemas, field_type
from tilltal.rules.clock import Clock

_FORMAT = 1  # raised whenever the bytes of a state are laid out differently


class Occurrence(msgspec.Struct, frozen=True):
    """A kept event: its instant in microseconds, the measured value, and what the family's `fields` name."""

    at: int
    value: object
    fields: tuple[object, ...]


class LiveTraits:
    """Keeps and reads the traits of fragments.

    Attributes:
        families: What is kept. Bit i of a mask stands for the i-th.
        fingerprint: Stored states may be read with these traits only if it is the same as when they were
            written.
        add_on: As `add`, given also the day of the event, and when it happened and arrived in microseconds.
    """

    def __init__(
        self, traits: Sequence[CompiledTrait], schemas: Schemas, zone: ZoneInfo, extra: Sequence[Family] = ()
    ) -> None:
        self.families = merged_families((*map(family_of, traits), *extra))
        self.fingerprint = fingerprint_of(_FORMAT, zone.key, self.families, _seen(self.families, schemas))
        self._index = {family.key: index for index, family in enumerate(self.families)}
        self._schemas = schemas
        self._layouts = [Layout(family) for family in self.families]
        self._days = LocalDays(zone)
        self.add_on = EventRoutes(self._layouts, schemas, zone).add
        self._frames = Frames(
            sorted({window for each in self.families for window in each.windows}), self._days
        )
        self._readers = [self._reader(trait) for trait in traits]
        self._expiries = [Expiry(reader, self._days) for reader in self._readers]
        self.traits_of = lru_cache(maxsize=4096)(self._traits_of)

    def index_of(self, family: Family) -> int:
        """Return where a family, or the one that keeps all it keeps, stands among `families`.

        Raises:
            KeyError: if nothing of the kind is kept.
        """
        return self._index[family.key]

    def empty(self) -> TraitState:
        """Return the state in which nothing has happened."""
        return TraitState([b""] * len(self.families))

    def decode(self, data: bytes) -> TraitState:
        """Read a stored state of the same fingerprint.

        Raises:
            msgspec.DecodeError: if it is none.
        """
        return decoded(data)

    def encode(self, state: TraitState) -> bytes:
        """Return a fragment's state as it is stored."""
        return encoded(state)

    def add(self, state: TraitState, event: Event) -> int:
        """Add an event that has happened and was not added before; return the mask of changed families."""
        at = micros(event.at)
        return self.add_on(state, event, self._days.day(at), at, micros(event.received))

    def merged(self, states: Sequence[TraitState]) -> TraitState:
        """Return several fragments as one, to read only."""
        if len(states) == 1:
            return states[0]
        return TraitState([_both(slots) for slots in zip(*(state.slots for state in states), strict=True)])

    def days(self, state: TraitState, family_index: int) -> Mapping[int, Partial]:
        """Return the partial aggregates of each local day (its date's ordinal); 0 is all before."""
        layout = self._layouts[family_index]
        buckets, needs = layout.opened(state, family_index), layout.family.needs
        rows = zip(*buckets.parts, strict=True)
        return {
            day: partial_of(layout.family, dict(zip(needs, row, strict=True)))
            for day, row in zip(buckets.days, rows, strict=True)
        }

    def occurrences(self, state: TraitState, family_index: int) -> Sequence[Occurrence]:
        """Return the occurrences that a family keeps, in the order of event time."""
        layout = self._layouts[family_index]
        buckets, family = layout.opened(state, family_index), layout.family
        types = [self._schemas[name] for name in family.types]
        kinds = [field_type(name, types) for name in family.fields]
        values = None if layout.values is None else buckets.kept[layout.values]
        columns = buckets.kept[layout.fields :]
        return [
            Occurrence(
                at,
                None if values is None else restored(values[row], family.of_type),
                tuple(restored(column[row], kind) for column, kind in zip(columns, kinds, strict=True)),
            )
            for row, at in enumerate(buckets.ats)
        ]

    def quarters(self, state: TraitState, family_index: int, window: Window, clock: Clock) -> set[int]:
        """Return the quarters of an hour, counted from 1970 UTC, in which a family's events lie in a window.

        The family needs `quarters`, and keeps a window of days as long.
        """
        layout = self._layouts[family_index]
        buckets, need = layout.opened(state, family_index), layout.family.needs.index("quarters")
        first = self._days.first_day(window, self._days.day(micros(clock.now)))
        return set().union(*buckets.parts[need][bisect_left(buckets.days, first) :])

    def value(self, state: TraitState, trait_index: int, clock: Clock) -> object:
        """Return one trait's value as of a clock that is not before any event added."""
        return self._readers[trait_index].value(state, self._frames.at(clock))

    def values(self, state: TraitState, clock: Clock, changed: int | None = None) -> dict[str, object]:
        """Return the values of all traits, or of those only that a mask of families concerns."""
        frame, readers = self._frames.at(clock), self._readers
        if changed is not None:
            readers = [readers[trait] for trait in self.traits_of(changed)]
        return {reader.name: reader.value(state, frame) for reader in readers}

    def _traits_of(self, mask: int) -> tuple[int, ...]:
        """Return the traits, by their place among those given, that a mask of families concerns."""
        return tuple(trait for trait, reader in enumerate(self._readers) if mask >> reader.index & 1)

    def next_change(self, state: TraitState, clock: Clock, changed: int | None = None) -> datetime | None:
        """Return the first instant after the clock at which some trait may change without an event.

        With `changed` only the traits of these families are asked. The last answer for the others
        holds as long as it lies ahead, for no event touched them.
        """
        frame, expiries = self._frames.at(clock), self._expiries
        if changed is not None:
            expiries = [expiries[trait] for trait in self.traits_of(changed)]
        found = (expiry.next_change(state, frame) for expiry in expiries)
        first = min((at for at in found if at is not None), default=None)
        return None if first is None else instant_of(first)

    def prune(self, state: TraitState, clock: Clock) -> None:
        """Forget what no window can reach as of the clock or later; values stay the same."""
        now = micros(clock.now)
        for index, layout in enumerate(self._layouts):
            if state.slots[index] != b"":
                buckets = layout.opened(state, index)
                layout.forget(buckets, *reach_of(layout.family, now, self._days))
                if not buckets.days and not buckets.ats:
                    state.slots[index] = b""

    def _reader(self, trait: CompiledTrait) -> TraitReader:
        index = self.index_of(family_of(trait))
        return reader_of(trait, index, self._layouts[index], self._days, self._schemas)


def _both(slots: Sequence[Slot]) -> Slot:
    known = [slot for slot in slots if slot != b""]
    if len(known) > 1:
        return tuple(part for slot in known for part in (slot if isinstance(slot, tuple) else (slot,)))
    return known[0] if known else b""


def _seen(families: Sequence[Family], schemas: Schemas) -> list[object]:
    """Return how the families' event types hold their fields."""
    return [schemas[name] for name in sorted({name for family in families for name in family.types})]
