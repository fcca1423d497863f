"""Whose is what a device did while nobody was logged in: the owner at each time, from its logins.

The owner is the person of the latest login at or before, as long as it vouches; else of the first later
login, as far as it looks back; else nobody. Each login therefore owns one span of time: back to where the one
before stops vouching or its own look-back ends, and on to the next login or the end of its vouching.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tilltal.customers.identity.rules import Rules


class Span(msgspec.Struct, frozen=True):
    """A span with one owner, half open, in microseconds; None is without bound."""

    start: int | None
    end: int | None
    owner: int

    def holds(self, instant: int) -> bool:
        """True if the instant lies in the span."""
        return (self.start is None or self.start <= instant) and (self.end is None or instant < self.end)


def spans_of(logins: Sequence[tuple[int, int]], rules: Rules) -> list[Span]:
    """Return the spans of a device's owners.

    Args:
        logins: (instant in microseconds, owner), by instant, each instant once.
        rules: vouching and look-back.
    """
    spans: list[Span] = []
    for place, (at, owner) in enumerate(logins):
        before = spans_end(logins[place - 1][0], rules) if place else 0
        start: int | None = at if place and before is None else _back(at, rules)
        if place and before is not None:
            start = min(at, before if start is None else max(before, start))
        following = logins[place + 1][0] if place + 1 < len(logins) else None
        ends = [end for end in (spans_end(at, rules), following) if end is not None]
        _append(spans, Span(start, min(ends, default=None), owner))
    return spans


def spans_end(at: int, rules: Rules) -> int | None:
    """Return the first instant for which a login no longer vouches."""
    return None if rules.vouch_us is None else at + rules.vouch_us + 1


def _back(at: int, rules: Rules) -> int | None:
    return None if rules.lookback_us is None else at - rules.lookback_us


def _append(spans: list[Span], span: Span) -> None:
    """Add a span, or lengthen the last one where the same owner simply goes on."""
    if spans and spans[-1].owner == span.owner and spans[-1].end == span.start:
        span = Span(spans.pop().start, span.end, span.owner)
    spans.append(span)
