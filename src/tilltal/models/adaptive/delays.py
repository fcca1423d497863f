"""How long a yes takes, and so how long a silence waits before it counts as a no.

A yes counts at once. Were silences to wait for as long as a yes may possibly take, young cases would be yes
or nothing, and rates far too high; were they to count at once, rates would be too low until every yes is in.
So each silence waits as long as some yes did. Let F(a) be the share of all yes that has come by age a, and p
the probability of a yes. A case is silent at age a with probability 1 − p·F(a); it counts as a no from a
delay on that is drawn with P(delay ≤ a) = (1 − p)·F(a) / (1 − p·F(a)). Then on average p·F(a) cases of age a
count as yes and (1 − p)·F(a) as no: a case that is still open weighs F(a), and rates are right at every
moment. A later yes revises the no. (The delayed feedback of Chapelle 2014, KDD, where F is parametric and
cases are weighed, not drawn: drawn ones keep every count a whole number.)

F is the maximum-likelihood estimate from delays that are known only up to the age of their case (Lagakos,
Barraj & De Gruttola 1988, Biometrika 75), on doubling spans of time. Half a yes is believed beforehand,
spread over the spans that can have been seen by now, or up to the wait before there is any. What nobody can
have seen yet is held to be nothing: too low a rate rights itself as yes come, too high a one only when the
wait is over.
"""

from __future__ import annotations

from itertools import accumulate

import msgspec

_SECOND = 1_000_000
_PER_WAIT = 32  # periods of impressions in a wait
_KEPT = 64  # periods with a yes that are kept
_BELIEVED = 0.5  # yes, beforehand


class Delays(msgspec.Struct, array_like=True):
    """Yes by the period of their impression, and by the span that their delay lies in.

    `length` is that of a period, microseconds. Span 0 is below a second; span s from 2ˢ⁻¹ seconds to 2ˢ.
    """

    length: int
    counts: dict[int, dict[int, int]] = {}

    def add(self, seen: int, delay: int) -> None:
        """Take in a yes: when its impression was known, and how much later the yes was (microseconds)."""
        spans = self.counts.setdefault(seen // self.length, {})
        span = span_of(delay)
        spans[span] = spans.get(span, 0) + 1
        if len(self.counts) > _KEPT:
            del self.counts[min(self.counts)]

    def shares(self, now: int, wait: int) -> list[float]:
        """Return F at the end of each span, as known at an instant (microseconds); the last is 1.

        Args:
            now: the instant.
            wait: after which no yes is expected any more, microseconds.
        """
        ages = {period: max(now - period * self.length, 0) for period in self.counts}  # clocks may differ
        seen = span_of(min(wait, max(ages.values(), default=wait)))  # the longest span seen by now
        size = max([span_of(wait), *(span for spans in self.counts.values() for span in spans)]) + 1
        here, more = [0.0] * size, [0.0] * (size + 1)  # yes by span; by how much a span's risk set is larger
        for span in range(seen + 1):
            here[span] = more[span] = _BELIEVED / (seen + 1)
        for period, spans in self.counts.items():
            last = max(span_of(ages[period]), *spans)
            for span, yes in spans.items():
                here[span] += yes
                more[span] += yes
                more[min(last + 1, size)] -= yes
        found, share = [1.0] * size, 1.0
        for span, at_risk in reversed(list(enumerate(accumulate(more[:size])))):
            found[span] = share
            share *= 1 - here[span] / at_risk
        return found


def new_delays(wait: int) -> Delays:
    """Return the delays of a definition that waits so long (microseconds), none of them known."""
    return Delays(max(wait // _PER_WAIT, 1))


def span_of(delay: int) -> int:
    """Return the span of a delay in microseconds.

    >>> [span_of(seconds * 1_000_000) for seconds in (0, 1, 3, 4)]
    [0, 1, 2, 3]
    """
    return (delay // _SECOND).bit_length()


def patience(shares: list[float], chance: float, place: float, wait: int) -> int:
    """Return how long a silence waits before it counts as a no, microseconds.

    Args:
        shares: F at the end of each span.
        chance: the probability of a yes.
        place: of the case, uniform within (0, 1).
        wait: the longest, microseconds.
    """
    level = place / (1 - chance * (1 - place))  # the inverse of (1 − p)F / (1 − pF)
    span = next((span for span, share in enumerate(shares) if share >= level), len(shares) - 1)
    if span == 0:
        return 0
    begin, below = _SECOND << (span - 1), shares[span - 1]
    part = (level - below) / (shares[span] - below) if shares[span] > below else 0.0
    return min(round(begin * (1 + part)), wait)
