"""Where the moments of one customer's relation come from: the live form of `customers.lifecycle.moments`.

A moment is the ordinal of its local day, its instant within the day, and what it is. What is known by its
date alone, and silence, counts from the start of the day. Moments of days to come, which holdings and silence
foretell, are among them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from tilltal.customers.lifecycle.transitions import CLOSE, NOTICE, OPEN, WITHDRAWN
from tilltal.customers.live.facts.holding_facts import NEVER, HoldingState, spans
from tilltal.customers.live.relation.tracks import Seen, TrackReader
from tilltal.customers.live.traits.buckets import TraitState
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.segments import Lifecycle, Moments

Moment = tuple[int, int, int]
"""Day (ordinal), instant (microseconds, or `_DAY_START`), and a code of `lifecycle.transitions`."""
Point = tuple[int, int]
Place = Callable[[Sequence[Point], Point], int]

_DAY_START = -(2**62)
_SOME_TIME = _DAY_START + 1  # on a day of which only the date is kept, as its order does not matter


class MomentReader:
    """Reads the moments of one customer."""

    def __init__(self, lifecycle: Lifecycle, readers: dict[str, TrackReader]) -> None:
        """Take the readers of those parts that look at events, by part."""
        self._lifecycle = lifecycle
        self._readers = readers

    def read(self, state: TraitState, holdings: HoldingState, clock: Clock) -> list[Moment]:
        """Return all moments in order, each once."""
        given = self._lifecycle

        def points(part: str, moments: Moments | None, openings: Iterable[int] = ()) -> Sequence[Point]:
            if moments is None:
                return ()
            if moments.holding:
                is_begin = part in ("opened", "withdrawn")
                return _of_holdings(spans(holdings, moments.holding, clock), is_begin=is_begin)
            seen = self._readers[part].read(state, clock)
            return _silences(seen.days, openings, moments.days) if moments.silence else _points(seen)

        if given.opened.first_event:
            closings = points("closed", given.closed)
            openings: Sequence[Point] = _firsts(points("opened", given.opened), closings)
        else:
            openings = points("opened", given.opened)
            closings = points("closed", given.closed, [day for day, _ in openings])
        notices = points("notice", given.notice, [day for day, _ in openings])
        withdrawals = points("withdrawn", given.notice_withdrawn if given.notice else None)
        if given.notice_withdrawn and not given.notice_withdrawn.holding:
            withdrawals = _following(withdrawals, notices, bisect_left)
        coded = ((openings, OPEN), (closings, CLOSE), (notices, NOTICE), (withdrawals, WITHDRAWN))
        return sorted({(day, at, code) for found, code in coded for day, at in found})


def _points(seen: Seen) -> list[Point]:
    if seen.ats:
        return list(zip(seen.days, seen.ats, strict=True))
    return [(day, _SOME_TIME) for day in seen.days]


def _of_holdings(held: Sequence[tuple[int, int]], *, is_begin: bool) -> list[Point]:
    if is_begin:
        return [(opened, _DAY_START) for opened, _ in held]
    return [(closed, _DAY_START) for _, closed in held if closed < NEVER]


def _silences(events: Sequence[int], openings: Iterable[int], days: int) -> list[Point]:
    """Return the first day after so many silent days, for each time they came together."""
    touches = sorted({*events, *openings})
    return [
        (day + days + 1, _DAY_START)
        for day, following in pairwise([*touches, NEVER])
        if following > day + days
    ]


def _firsts(events: Sequence[Point], closings: Sequence[Point]) -> list[Point]:
    """Return the first event, and the first after each closing."""
    return [*events[:1], *_following(events, closings, bisect_right)]


def _following(events: Sequence[Point], moments: Sequence[Point], place: Place) -> list[Point]:
    """Return the first event after each moment (`bisect_right`), or from its instant on (`bisect_left`)."""
    rows = (place(events, moment) for moment in moments)
    return [events[row] for row in rows if row < len(events)]
