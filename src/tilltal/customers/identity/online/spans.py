"""Spans of one identifier: asked at an instant, cut from claims, lengthened by a login.

They begin when the identifier was first seen, leave no gap, and the last is open.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from tilltal.core.operational import Owned
from tilltal.customers.identity.ownership import Span, spans_end
from tilltal.customers.identity.rules import Rules

ALWAYS = -62_135_596_800_000_000  # 0001-01-01, in microseconds since 1970: before all that can be seen
_LAST_INSTANT = 253_402_300_799_999_999  # 9999-12-31 23:59:59.999999


def since(spans: Sequence[Owned]) -> int:
    """Return when an identifier was first seen."""
    return _start_of(spans[0])


def span_at(spans: Sequence[Owned], at: int) -> Owned:
    """Return the span that holds an instant; before the first span, the first."""
    if len(spans) == 1:
        return spans[0]
    return spans[bisect_right(spans, at, lo=1, key=_start_of) - 1]


def _start_of(span: Owned) -> int:
    return ALWAYS if span.valid_from is None else span.valid_from


def owner_at(spans: Sequence[Owned], at: int) -> int | None:
    """Return whose an identifier is at an instant; None = nobody's, or never seen."""
    return span_at(spans, at).profile if spans else None


def is_shared(spans: Sequence[Owned]) -> bool:
    """True for the spans of a value that identifies nobody."""
    return spans[0].profile is None and spans[0].is_plain


def cut(
    token: int, first: int, claims: Iterable[Span], *, otherwise: int | None, is_plain: bool
) -> tuple[Owned, ...]:
    """Return an identifier's spans.

    Args:
        token: the identifier.
        first: when it was first seen.
        claims: spans of profiles, in order, apart from each other.
        otherwise: whose it is in between, None = nobody's.
        is_plain: of the spans that are somebody's.
    """
    pieces: list[tuple[int, int | None]] = [(first, otherwise)]  # start, profile
    for claim in claims:
        if claim.end is None or claim.end > first:
            _put(pieces, max(first, ALWAYS if claim.start is None else claim.start), claim.owner)
            if claim.end is not None and claim.end <= _LAST_INSTANT:
                _put(pieces, claim.end, otherwise)
    ends = [*(start for start, _ in pieces[1:]), None]
    return tuple(
        Owned(token, start, end, profile, is_plain and profile is not None)
        for (start, profile), end in zip(pieces, ends, strict=True)
    )


def _put(pieces: list[tuple[int, int | None]], start: int, profile: int | None) -> None:
    """Begin a piece: in place of one that begins there too, as part of one of the same profile."""
    if pieces[-1][0] == start:
        pieces.pop()
    if not pieces or pieces[-1][1] != profile:
        pieces.append((start, profile))


def vouched(spans: Sequence[Owned], at: int, rules: Rules) -> tuple[Owned, ...]:
    """Return the spans of one person's device after one more login of that person."""
    owner = next(span.profile for span in spans if span.profile is not None)
    back = None if rules.lookback_us is None else at - rules.lookback_us
    claims = [Span(since([one]), one.valid_to, owner) for one in spans if one.profile is not None]
    joined: list[Span] = []
    for span in sorted([*claims, Span(back, spans_end(at, rules), owner)], key=_start):
        if joined and (joined[-1].end is None or _start(span) <= joined[-1].end):
            last = joined.pop()
            span = Span(last.start, _later(last.end, span.end), owner)
        joined.append(span)
    return cut(spans[0].token, since(spans), joined, otherwise=None, is_plain=True)


def _start(span: Span) -> int:
    return ALWAYS if span.start is None else span.start


def _later(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)
