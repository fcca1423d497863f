"""Champion and challenger: who serves, and when the other takes over, without anybody's doing.

All contestants learn from every answer. Each case keeps what each would have said, so they are compared on
the same answers whoever served: by the difference of their log losses, one nat at most, in a confidence
sequence that may be looked at after every answer (`confidence`). Answers count once they are settled
(`settling`): a yes that comes early would speak for whoever says more. A challenger that is surely better
becomes champion; one that is surely worse serves nobody any more, but goes on learning. Sums are of whole
numbers, so an answer that is revised is revised here, too; the bounds hold for answers as they stand.

How fast a share grows is capped: it doubles once a day at most, also that of a new champion. It falls at
once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from tilltal.models.adaptive.confidence import interval
from tilltal.models.adaptive.settling import AT_ONCE, Settling

ALPHA = 0.05  # of promoting, ever, one that is no better
FEWEST = 200  # cases before anything is concluded
_UNIT = 2**20
_LEAST = 1e-6  # probabilities nearer to 0 or 1 are judged as if they were this
_START = 0.02  # the share a challenger begins with
_DOUBLES_US = 86_400_000_000


class Judged(msgspec.Struct, frozen=True, array_like=True):
    """What every contestant would have said, and in which round: kept with the decision.

    `said` are probabilities in parts of 2²⁰, in the order of the contestants.
    """

    round: int
    said: tuple[int, ...]


class Tally(msgspec.Struct, array_like=True):
    """A challenger against the champion of this round: cases, Σ difference, Σ difference² (scaled).

    A difference is positive where the challenger lost less.
    """

    cases: int = 0
    total: int = 0
    squares: int = 0


class Serving(msgspec.Struct, frozen=True, array_like=True):
    """The share of decisions that a contestant serves: `share` at `since`, doubled each day up to `most`."""

    share: float
    most: float
    since: int

    def at(self, now: int) -> float:
        """Return the share at an instant."""
        days = min(max(now - self.since, 0) // _DOUBLES_US, 60)
        return min(self.share * 2.0**days, self.most)


class Standing(msgspec.Struct, frozen=True):
    """How a challenger stands: mean difference in log loss per case, with bounds that hold at any time."""

    challenger: int
    cases: int
    mean: float
    low: float
    high: float


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An event: a challenger was promoted, or stopped, with the figures that decided it.

    `gain` is by how much the challenger's log loss is lower, per case, with its bounds.
    """

    kind: Literal["promoted", "stopped"]
    at: int
    round: int
    champion: int
    challenger: int
    cases: int
    gain: float
    low: float
    high: float


class _State(msgspec.Struct, array_like=True):
    round: int
    champion: int
    before: int  # the champion before, who serves while the champion grows
    serving: list[Serving]
    tallies: list[Tally]
    stopped: list[bool]
    open: dict[int, list[Tally]] = {}  # by period, until that is settled


class Contest:
    """A contest for one action and channel, among `contestants`; number 0 begins as champion.

    Challengers together serve `most_share` of the decisions at most; answers count as `settling` says.
    """

    __slots__ = ("_most", "_settling", "_size", "_state")

    def __init__(self, contestants: int, most_share: float, at: int, settling: Settling = AT_ONCE) -> None:
        self._size = contestants
        self._settling = settling
        self._most = most_share / max(contestants - 1, 1)
        self._state = _State(0, 0, 0, *self._anew(at))
        self._state.serving[0] = Serving(1.0, 1.0, at)

    @property
    def champion(self) -> int:
        """Who serves what no challenger serves."""
        return self._state.champion

    @property
    def round(self) -> int:
        """How often a challenger was promoted."""
        return self._state.round

    def shares(self, at: int) -> tuple[float, ...]:
        """Return the share of decisions of each contestant at an instant; they sum to 1.

        A new champion grows into its place: until then, the one before serves the rest.
        """
        state = self._state
        shares = [serving.at(at) for serving in state.serving]
        shares[state.champion] = 0.0
        rest = 1 - sum(shares)
        grown = state.serving[state.champion].at(at)
        shares[state.before] += max(rest - grown, 0.0)
        shares[state.champion] += min(rest, grown)
        return tuple(shares)

    def serves(self, place: float, at: int) -> int:
        """Return who serves a decision, by its place within [0, 1): a hash, so that a replay agrees."""
        for number, share in enumerate(self.shares(at)):
            if place < share:
                return number
            place -= share
        return self.champion

    def judged(self, said: Sequence[float]) -> Judged:
        """Return what is to be kept of a case: the probability that each contestant gives."""
        return Judged(self._state.round, tuple(round(_UNIT * each) for each in said))

    def revise(self, case: Judged, before: bool | None, after: bool | None, at: int = 0) -> None:
        """Take the earlier label of a case back and judge by the later one; None: no label.

        `at` is the decision's instant, in microseconds.
        """
        if case.round != self._state.round or before is after or len(case.said) != self._size:
            return
        fresh = [Tally() for _ in range(self._size)]
        tallies = self._state.open.setdefault(self._settling.period(at), fresh)
        for label, times in ((before, -1), (after, 1)):
            if label is not None:
                self._judge(tallies, case.said, label, times)

    def standings(self) -> tuple[Standing, ...]:
        """Return how each challenger stands against the champion."""
        return tuple(self._standing(number) for number in range(self._size) if number != self._state.champion)

    def conclude(self, at: int) -> Change | None:
        """Promote or stop a challenger where settled answers are clear; None where nothing changes."""
        self._settle(at)
        for standing in self.standings():
            if standing.cases < FEWEST:
                continue
            if standing.low > 0:
                return self._promote(standing, at)
            if standing.high < 0 and not self._state.stopped[standing.challenger]:
                return self._stop(standing, at)
        return None

    def to_bytes(self) -> bytes:
        """Return the state."""
        return msgspec.msgpack.encode(self._state)

    def load(self, data: bytes) -> None:
        """Go on from a state; one of another number of contestants is left aside.

        Raises:
            msgspec.DecodeError: if the bytes are no state.
        """
        state = msgspec.msgpack.decode(data, type=_State)
        if len(state.serving) == self._size:
            self._state = state

    def _settle(self, now: int) -> None:
        """Let settled periods count."""
        for period in [each for each in self._state.open if self._settling.is_settled(each, now)]:
            for tally, more in zip(self._state.tallies, self._state.open.pop(period), strict=True):
                tally.cases += more.cases
                tally.total += more.total
                tally.squares += more.squares

    def _judge(self, tallies: Sequence[Tally], said: Sequence[int], label: bool, times: int) -> None:
        losses = [_loss(each, label) for each in said]
        for number, tally in enumerate(tallies):
            gain = min(max(losses[self._state.champion] - losses[number], -1.0), 1.0)
            tally.cases += times
            tally.total += times * round(_UNIT * gain)
            tally.squares += times * round(_UNIT * gain * gain)

    def _standing(self, number: int) -> Standing:
        tally = self._state.tallies[number]
        alpha = ALPHA / max(self._size - 1, 1)
        found = interval(tally.cases, tally.total / _UNIT, tally.squares / _UNIT, alpha)
        return Standing(number, tally.cases, found.mean, found.low, found.high)

    def _promote(self, standing: Standing, at: int) -> Change:
        """Begin a new round, in which everybody is judged anew."""
        state, new = self._state, standing.challenger
        share = max(self.shares(at)[new], _START)
        change = _change("promoted", standing, state, at)
        self._state = _State(state.round + 1, new, state.champion, *self._anew(at))
        self._state.serving[new] = Serving(share, 1.0, at)
        return change

    def _anew(self, at: int) -> tuple[list[Serving], list[Tally], list[bool]]:
        """Return shares, tallies and who is stopped, as a round begins."""
        start = Serving(min(_START, self._most), self._most, at)
        return [start] * self._size, [Tally() for _ in range(self._size)], [False] * self._size

    def _stop(self, standing: Standing, at: int) -> Change:
        self._state.stopped[standing.challenger] = True
        self._state.serving[standing.challenger] = Serving(0.0, 0.0, at)
        return _change("stopped", standing, self._state, at)


def _change(kind: Literal["promoted", "stopped"], standing: Standing, state: _State, at: int) -> Change:
    return Change(
        kind=kind,
        at=at,
        round=state.round,
        champion=state.champion,
        challenger=standing.challenger,
        cases=standing.cases,
        gain=standing.mean,
        low=standing.low,
        high=standing.high,
    )


def _loss(said: int, label: bool) -> float:
    """Return the log loss of a probability, in nats."""
    probability = min(max(said / _UNIT, _LEAST), 1 - _LEAST)
    return -math.log(probability if label else 1 - probability)
