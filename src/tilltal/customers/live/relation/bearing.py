"""Which events bear on where a customer stands today; most do not, and the history need not be laid out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Self

import msgspec

from tilltal.customers.lifecycle.calendar import CALENDARS
from tilltal.customers.lifecycle.stage import Stage
from tilltal.customers.live.relation.tracks import TrackReader
from tilltal.workspace.definitions.segments import Lifecycle


class Bearing(msgspec.Struct, frozen=True, kw_only=True):
    """Masks of families, by when an event of today bears on today's standing.

    `always`: whatever it is. `returning`: only where there is no relation, or it is ending: it could begin
    anew or go on. `silent`: never, for it only puts off the end of a silence to come. `measured`: never, for
    the period in which it falls is not over; one of an earlier period does. An event of an earlier day always
    bears on it, but for `measured`.
    """

    always: int
    returning: int
    silent: int
    measured: int
    every: str

    @classmethod
    def of(cls, lifecycle: Lifecycle, readers: Mapping[str, TrackReader]) -> Self:
        """Sort the families of a lifecycle, given by the part they play."""
        masks = {"always": 0, "returning": 0, "silent": 0, "measured": 0}
        for part, reader in readers.items():
            masks[_bearing(lifecycle, part, reader)] |= 1 << reader.index
        return cls(**masks, every=lifecycle.engagement.every if lifecycle.engagement else "month")

    def may_change(self, stage: Stage | None, changed: int, day: int, today: int) -> bool:
        """True if an event on a day (ordinal), in some families, may have changed the stage of today."""
        if changed & self.always:
            return True
        if day != today and changed & (self.returning | self.silent):
            return True
        if changed & self.returning and stage in (None, Stage.REGAIN):
            return True
        if day == today or not changed & self.measured:
            return False
        number = CALENDARS[self.every].number
        return number(date.fromordinal(day)) != number(date.fromordinal(today))


def _bearing(lifecycle: Lifecycle, part: str, reader: TrackReader) -> str:
    if reader.condition is not None:
        return "always"
    if part == "engagement":
        assert lifecycle.engagement is not None, "a part that is read is defined"
        return "measured" if lifecycle.engagement.measure else "always"
    moments = getattr(lifecycle, "notice_withdrawn" if part == "withdrawn" else part)
    if moments.silence:
        return "silent"
    return "always" if reader.is_whole else "returning"
