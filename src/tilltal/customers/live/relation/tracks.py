"""Events that matter to the lifecycle: which families of events are kept for it, and how they are read.

Days are enough for silence and for measures. Single instants are kept where what happened first on a day
decides, and single values where a field is of any type, so that only numbers are measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tilltal.customers.live.traits.buckets import Buckets, Layout, TraitState
from tilltal.customers.live.traits.event_routes import condition_of
from tilltal.customers.live.traits.expiry import first_turn
from tilltal.customers.live.traits.families import Family, Need, family_of
from tilltal.customers.live.traits.local_days import LocalDays
from tilltal.customers.live.traits.readers import ClockCondition
from tilltal.customers.traits.compiled import compile_trait
from tilltal.customers.traits.schema import Schemas
from tilltal.rules.clock import Clock
from tilltal.rules.types import Type
from tilltal.workspace.definitions.profile import Measure, Trait
from tilltal.workspace.definitions.segments import Engagement, Lifecycle, Moments

_OF_ANYTHING: tuple[Measure, ...] = ("count", "exists", "distinct")


class Seen(msgspec.Struct, frozen=True):
    """What a track holds: a row per day, or per occurrence, in order of time.

    `days` are ordinals; `ats` the instants in microseconds where single ones are kept, else empty; each
    column holds one need's partial aggregate of every row.
    """

    days: Sequence[int] = ()
    ats: Sequence[int] = ()
    columns: Sequence[Sequence[Any]] = ()


class Tracks(msgspec.Struct, frozen=True):
    """The families of a lifecycle by the part they play; the same family may play several."""

    opened: Family | None = None
    closed: Family | None = None
    notice: Family | None = None
    withdrawn: Family | None = None
    engagement: Family | None = None

    def named(self) -> Iterator[tuple[str, Family]]:
        """Yield each part that looks at events, with its family."""
        for part in self.__struct_fields__:
            family = getattr(self, part)
            if family is not None:
                yield part, family


def tracks_of(lifecycle: Lifecycle, schemas: Schemas) -> Tracks:
    """Return the families a lifecycle needs.

    Raises:
        WorkspaceError: if an event type, a field or a condition is faulty.
    """
    closed, notice = lifecycle.closed, lifecycle.notice
    has_dated_end = _is_dated(closed) or _is_dated(notice)
    is_first = bool(lifecycle.opened.first_event)
    withdrawn = lifecycle.notice_withdrawn if notice else None
    return Tracks(
        opened=_moments_family(lifecycle.opened, schemas, not is_first or has_dated_end),
        closed=_moments_family(closed, schemas, True),
        notice=_moments_family(notice, schemas, True),
        withdrawn=_moments_family(withdrawn, schemas, _is_dated(notice)),
        engagement=_engagement_family(lifecycle.engagement, schemas),
    )


def lifecycle_families(lifecycle: Lifecycle, schemas: Schemas) -> tuple[Family, ...]:
    """Return what must be kept of events for a lifecycle, to be kept besides what traits need.

    Raises:
        WorkspaceError: as `tracks_of`.
    """
    return tuple(family for _, family in tracks_of(lifecycle, schemas).named())


def _is_dated(moments: Moments | None) -> bool:
    """True where moments are events, so that they have a time of day."""
    return moments is not None and bool(moments.events or moments.first_event)


def _moments_family(moments: Moments | None, schemas: Schemas, has_order: bool) -> Family | None:
    """Return the family of what moments come from; `has_order` where the order within a day matters."""
    types = moments and (moments.events or moments.first_event or moments.silence)
    if not moments or not types:
        return None
    trait = Trait(measure="count", from_=types, where=moments.where)
    family = family_of(compile_trait("lifecycle", trait, schemas), keeps_days=True)
    return _whole(family) if has_order and not moments.silence else family


def _engagement_family(engagement: Engagement | None, schemas: Schemas) -> Family | None:
    if engagement is None:
        return None
    trait = Trait(
        measure=engagement.measure or "last",
        of=engagement.of,
        from_=engagement.from_,
        where=engagement.where,
    )
    family = family_of(compile_trait("lifecycle", trait, schemas), keeps_days=True)
    # only numbers count, and the days of first and last values of any type do not tell them from texts
    is_mixed = family.of_type is Type.ANY and trait.measure not in _OF_ANYTHING
    return _whole(family) if is_mixed else family


def _whole(family: Family) -> Family:
    return msgspec.structs.replace(family, is_whole=True)


class TrackReader:
    """Reads one family of one customer."""

    def __init__(
        self, family: Family, kept: Sequence[Family], days: LocalDays, schemas: Schemas, needs: Sequence[Need]
    ) -> None:
        """Find the family among those that are kept.

        Args:
            family: what the lifecycle needs.
            kept: the families of a state, in order.
            days: local days of the workspace's zone.
            schemas: the event types.
            needs: the partial aggregates to read; only finite numbers where they are of numbers.

        Raises:
            KeyError: if the family is not kept.
        """
        places: Mapping[object, int] = {each.key: index for index, each in enumerate(kept)}
        self.index = places[family.key]
        self._layout = Layout(kept[self.index])
        self._days = days
        self._columns = [self._layout.family.needs.index(need) for need in needs]
        self._is_numeric = bool(needs) and not {"count", "keys"} & set(needs)
        self.is_whole = family.is_whole
        condition = condition_of(family, schemas)
        is_moving = condition is not None and bool(condition.functions & {"NOW", "TODAY"})
        self.condition = ClockCondition(self._layout, schemas) if is_moving else None

    def read(self, state: TraitState, clock: Clock) -> Seen:
        """Return what is known as of a clock that is not before any event added."""
        if state.slots[self.index] == b"":
            return Seen(columns=[()] * len(self._columns))
        layout = self._layout
        buckets = layout.opened(state, self.index)
        if not layout.family.is_whole:
            return Seen(days=buckets.days, columns=[buckets.parts[column] for column in self._columns])
        rows = self._rows(buckets, clock)
        ats = [buckets.ats[row] for row in rows]
        columns = [layout.lifted(buckets, rows, column) for column in self._columns]
        return Seen([self._days.day(at) for at in ats], ats, columns)

    def next_turn(self, state: TraitState, span: tuple[int, int], clock: Clock) -> int:
        """Return when an occurrence begins or ceases to count within a span, at last at its end."""
        if self.condition is None or state.slots[self.index] == b"":
            return span[1]
        buckets = self._layout.opened(state, self.index)
        rows = range(len(buckets.ats))
        turns = (first_turn(self.condition, buckets, row, clock, span) for row in rows)
        return min(turns, default=span[1])

    def _rows(self, buckets: Buckets, clock: Clock) -> Sequence[int]:
        """Return the occurrences that count."""
        rows: Sequence[int] = range(len(buckets.ats))
        if self.condition is not None:
            rows = [row for row in rows if self.condition.matches(buckets, row, clock)]
        if self._is_numeric and self._layout.values is not None:
            values = buckets.kept[self._layout.values]
            rows = [row for row in rows if _is_number(values[row])]
        return rows


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
