"""What products one customer holds: the mergeable form of `customers.holdings.holdings_sql`.

A statement tells of a product opened on a day whether and when it closes. Of each different closing a
fragment keeps when it was stated first and last, so that the latest statement decides, whatever the order in
which they come. Exact at every instant from the arrival of the latest statement on; and before, unless the
same closing was stated three times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime

import msgspec

from tilltal.core.instants import instant_of, micros
from tilltal.core.time import local_date
from tilltal.customers.holdings import holding_name
from tilltal.rules.clock import Clock

NEVER = 2147483647
"""The closing day of what has not closed."""


class HoldingFact(msgspec.Struct, frozen=True, kw_only=True):
    """A statement about a holding; `closed` is the first day without it. `received` is aware."""

    source: str
    product: str
    opened: date
    closed: date | None
    received: datetime


Statements = dict[int, tuple[int, int]]
"""Closing day (ordinal or `NEVER`) → when it was stated first and last, in microseconds."""


class HoldingState(msgspec.Struct):
    """A fragment's statements: product → opening day (ordinal) → statements."""

    stated: dict[str, dict[int, Statements]] = {}


class HoldingPlan:
    """The products of a workspace."""

    def __init__(self, products: Sequence[str], *, first: Sequence[str] = ()) -> None:
        """Prepare the names.

        Args:
            products: every product that a holding source can name.
            first: products that lead before all others, in this order.
        """
        self._absent: dict[str, object] = {holding_name(product): False for product in products}
        self._first = {product: place for place, product in enumerate(first)}

    def add(self, state: HoldingState, fact: HoldingFact) -> bool:
        """Take a statement into a fragment; True if it says anything new."""
        closed = NEVER if fact.closed is None else fact.closed.toordinal()
        statements = state.stated.setdefault(fact.product, {}).setdefault(fact.opened.toordinal(), {})
        return _state(statements, closed, micros(fact.received), micros(fact.received))

    def merged(self, states: Sequence[HoldingState]) -> HoldingState:
        """Return the fragments as one. A single one is returned itself: do not add to the result."""
        if len(states) == 1:
            return states[0]
        merged = HoldingState()
        for state in states:
            for product, opened, statements in _statements(state):
                known = merged.stated.setdefault(product, {}).setdefault(opened, {})
                for closed, (first, last) in statements.items():
                    _state(known, closed, first, last)
        return merged

    def values(self, state: HoldingState, clock: Clock, order: Mapping[str, int]) -> dict[str, object]:
        """Return `holding.<product>`, `holdings` and `leading_product` as of the clock.

        Args:
            state: of the whole customer.
            clock: what today is, and what has arrived.
            order: product → place, from the rarest on, as the last refresh found over all customers; a
                product that is not there was held by nobody and comes before.
        """
        today, now = clock.today.toordinal(), micros(clock.now)
        held = {
            product
            for product, opened, statements in _statements(state)
            if opened <= today and _closing(statements, now) > today
        }
        values = dict(self._absent)
        values.update((name, True) for name in map(holding_name, held) if name in values)
        values["holdings"] = len(held)
        values["leading_product"] = min(held, key=lambda product: self._place(product, order), default=None)
        return values

    def next_change(self, state: HoldingState, clock: Clock) -> date | None:
        """Return the next local date on which a holding opens or closes, or a statement comes to be known.

        A statement that arrives within today is not foreseen: it is to be added when it arrives.
        """
        today, now = clock.today.toordinal(), micros(clock.now)
        days = {
            day
            for _, opened, statements in _statements(state)
            for day in _days(opened, statements, now, clock)
            if today < day < NEVER
        }
        return date.fromordinal(min(days)) if days else None

    def _place(self, product: str, order: Mapping[str, int]) -> tuple[int, int, str]:
        return self._first.get(product, len(self._first)), order.get(product, -1), product


def spans(state: HoldingState, products: Sequence[str], clock: Clock) -> list[tuple[int, int]]:
    """Return the times without a gap in which one of some products is held, as (opened, closed) ordinals.

    The live form of what `lifecycle.moments` reads from holdings: the latest known statement about a product
    opened on a day counts, and where that closes before it opens the product was not held.

    Args:
        state: of the whole customer.
        products: those that count, `any` for all.
        clock: what has arrived; days to come are part of the result.
    """
    now, chosen = micros(clock.now), None if "any" in products else frozenset(products)
    longest: dict[int, int] = {}
    for product, opened, statements in _statements(state):
        if chosen is not None and product not in chosen:
            continue
        closed = _closing(statements, now)
        if closed > opened:
            longest[opened] = max(longest.get(opened, closed), closed)
    found: list[tuple[int, int]] = []
    for opened in sorted(longest):
        if found and opened <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], longest[opened])
        else:
            found.append((opened, longest[opened]))
    return found


def arrivals(state: HoldingState, clock: Clock) -> Iterator[int]:
    """Yield the days (ordinals) on which statements to come will be known."""
    now = micros(clock.now)
    for _, _, statements in _statements(state):
        yield from _arrivals(statements, now, clock)


def _state(known: Statements, closed: int, first: int, last: int) -> bool:
    """Note that a closing was stated at two instants; True if that is news."""
    before = known.get(closed)
    after = (first, last) if before is None else (min(before[0], first), max(before[1], last))
    known[closed] = after
    return after != before


def _statements(state: HoldingState) -> Iterator[tuple[str, int, Statements]]:
    for product, openings in state.stated.items():
        for opened, statements in openings.items():
            yield product, opened, statements


def _closing(statements: Statements, now: int) -> int:
    """Return the closing day that was stated last of what is known; 0 where nothing is.

    Of statements that arrived together the longest counts.
    """
    known = [
        (last if last <= now else first, closed)
        for closed, (first, last) in statements.items()
        if first <= now
    ]
    return max(known)[1] if known else 0


def _days(opened: int, statements: Statements, now: int, clock: Clock) -> Iterator[int]:
    """Yield the days on which a holding, as known now, begins or ends, and those of news to come."""
    closed = _closing(statements, now)
    if closed > opened:
        yield opened
        yield closed
    yield from _arrivals(statements, now, clock)


def _arrivals(statements: Statements, now: int, clock: Clock) -> Iterator[int]:
    for moments in statements.values():
        for moment in moments:
            if moment > now:
                yield local_date(instant_of(moment), clock.zone).toordinal()
