"""The lifecycle of one customer from mergeable state: the live form of `customers.lifecycle.plan`.

Nothing is kept but what events and holdings leave in their own states (see `relation_tracks` and
`holding_facts`). From these the history is laid out anew when something in it may have changed, and
`lifecycle.stage.Timeline` tells where the customer stands. The answer holds until its day `until`, and most
events do not touch it: ask `may_change` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from zoneinfo import ZoneInfo

import msgspec

from tilltal.customers.lifecycle.stage import Entry, Stage, Standing, Terms, Timeline, What
from tilltal.customers.lifecycle.transitions import CLOSE, NOTICE, OPEN, WITHDRAWN
from tilltal.customers.live.facts.holding_facts import HoldingState, arrivals
from tilltal.customers.live.relation.bearing import Bearing
from tilltal.customers.live.relation.engagement import needs_of, next_reading, readings
from tilltal.customers.live.relation.moments import Moment, MomentReader
from tilltal.customers.live.relation.tracks import TrackReader, tracks_of
from tilltal.customers.live.traits.buckets import TraitState
from tilltal.customers.live.traits.families import Family, Need
from tilltal.customers.live.traits.local_days import LocalDays
from tilltal.customers.traits.schema import Schemas
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.segments import Lifecycle

_WHAT = {OPEN: What.OPEN, CLOSE: What.CLOSE, NOTICE: What.NOTICE, WITHDRAWN: What.WITHDRAWN}
_NAMES = ("lifecycle.stage", "lifecycle.since", "lifecycle.days", "lifecycle.opened")


class LiveStanding(msgspec.Struct, frozen=True, array_like=True):
    """Where a customer stands, on `today` and until the day before `until`, if no fact comes.

    Days are ordinals. Without a relation `stage` is None and `since` and `opened` are 0. `until` is the
    next day on which stage, since or opened may change by themselves; None if never.
    """

    stage: Stage | None
    since: int
    opened: int
    until: int | None


def days_in_stage(standing: LiveStanding, today: int) -> int | None:
    """Return `lifecycle.days` on a day (ordinal)."""
    return None if standing.stage is None else today - standing.since + 1


class LifecyclePlan:
    """The lifecycle of a workspace.

    Attributes:
        mask: the families that it looks at, as bits.
        reads_now: whether a condition reads NOW(), so that it may change at any instant.
        reads_holdings: whether holdings matter to it.
    """

    def __init__(
        self, lifecycle: Lifecycle, schemas: Schemas, zone: ZoneInfo, families: Sequence[Family]
    ) -> None:
        """Find what is needed among the families that are kept.

        Args:
            lifecycle: the definition, checked with its workspace.
            schemas: the event types.
            zone: of its dates.
            families: of the states to read, in order; those of `lifecycle_families` are among them.

        Raises:
            WorkspaceError: if an event type, a field or a condition is faulty.
            KeyError: if a family is not kept.
        """
        self._lifecycle, self._terms = lifecycle, Terms.of(lifecycle)
        self._days = LocalDays(zone)
        readers = {
            part: TrackReader(family, families, self._days, schemas, _needs(part, lifecycle))
            for part, family in tracks_of(lifecycle, schemas).named()
        }
        self._engaged = readers.get("engagement")
        self._moments = MomentReader(lifecycle, readers)
        self._bearing = Bearing.of(lifecycle, readers)
        self._moving = [reader for reader in readers.values() if reader.condition]
        self.reads_now = any(reader.condition.reads_now for reader in self._moving if reader.condition)
        given = (lifecycle.opened, lifecycle.closed, lifecycle.notice, lifecycle.notice_withdrawn)
        self.reads_holdings = any(moments is not None and moments.holding for moments in given)
        self.mask = sum({1 << reader.index for reader in readers.values()})

    def standing(self, traits: TraitState, holdings: HoldingState, clock: Clock) -> LiveStanding:
        """Return where a customer stands, from the states of all fragments merged."""
        today = clock.today
        moments = self._moments.read(traits, holdings, clock)
        entries = [_entry(moment) for moment in moments if moment[0] <= today.toordinal()]
        found, taken = Timeline(entries, self._terms).standing(today), []
        if found and found.stage is Stage.LOYAL:  # or Retain: readings will tell
            taken = self._readings(traits, found.opened, clock)
            found = Timeline([*entries, *taken], self._terms).standing(today)
        days = [day for day, _, _ in moments]
        days += self._turning(found, taken, today)
        if self.reads_holdings:
            days += arrivals(holdings, clock)
        if self._moving:
            days.append(today.toordinal() + 1)
        until = min((day for day in days if day > today.toordinal()), default=None)
        if found is None:
            return LiveStanding(None, 0, 0, until)
        return LiveStanding(found.stage, found.since.toordinal(), found.opened.toordinal(), until)

    def next_turn(self, traits: TraitState, span: tuple[int, int], clock: Clock) -> int:
        """Return when NOW() next changes what counts within a span of instants, at last its end."""
        return min(reader.next_turn(traits, span, clock) for reader in self._moving)

    def values(self, standing: LiveStanding, clock: Clock) -> dict[str, object]:
        """Return the names an expression may use. `lifecycle.days` changes every day by itself."""
        if standing.stage is None:
            return dict.fromkeys(_NAMES)
        stage = standing.stage.called(self._lifecycle.names)
        since, opened = date.fromordinal(standing.since), date.fromordinal(standing.opened)
        days = days_in_stage(standing, clock.today.toordinal())
        return dict(zip(_NAMES, (stage, since, days, opened), strict=True))

    def may_change(self, standing: LiveStanding, changed: int, day: int, today: int) -> bool:
        """True if an event may have changed a standing that holds today.

        Args:
            standing: as it was before the event, for today.
            changed: the mask of the families that the event counts in.
            day: when the event happened, as an ordinal.
            today: likewise.
        """
        if not changed & self.mask:
            return False
        return self._bearing.may_change(standing.stage, changed, day, today)

    def _readings(self, traits: TraitState, opened: date, clock: Clock) -> list[Entry]:
        engagement = self._lifecycle.engagement
        if engagement is None or self._engaged is None:
            return []
        return list(readings(engagement, self._engaged.read(traits, clock), opened, clock.today))

    def _turning(self, found: Standing | None, taken: Sequence[Entry], today: date) -> list[int]:
        """Return the days, moments aside, on which the stage may change by itself."""
        if found is None or found.stage is Stage.REGAIN:
            return []
        if found.stage in (Stage.NEW, Stage.COMEBACK):
            return [found.opened.toordinal() + self._terms.new_days]
        engagement = self._lifecycle.engagement
        coming = next_reading(engagement, today) if engagement else None
        compared = [entry.on.toordinal() + self._terms.trend_days for entry in taken]
        return compared if coming is None else [*compared, coming]


def _needs(part: str, lifecycle: Lifecycle) -> tuple[Need, ...]:
    if part == "engagement" and lifecycle.engagement:
        return needs_of(lifecycle.engagement)
    return ()


def _entry(moment: Moment) -> Entry:
    day, _, code = moment
    return Entry(date.fromordinal(day), _WHAT[code])
