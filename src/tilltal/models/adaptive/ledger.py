"""A model's ledger: what it said, what came of it and of whom, in blocks of answers.

Sums of whole numbers by block, so that a late answer revises exactly. A case lies in the block of the number
of answers that were known when it was decided. The first two blocks are kept as what things were like when
the model was young; then the latest three. The alarm hears answers by the period of their decision, once all
of them are settled (`settling`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from tilltal.models.adaptive.change import ChangeDetector
from tilltal.models.adaptive.settling import Settling

BLOCK = 500  # answers
_FIRST, _LATEST = 2, 3  # blocks that are kept
_UNIT = 2**20
_BANDS = 48
_LOWEST, _PER_UNIT = -8.0, 4  # bands of a quarter of log-odds, from −8 to 4
_TINY = 1e-6


class Noted(msgspec.Struct, frozen=True, array_like=True):
    """What a ledger must know of a case later: answers known when it was decided, and the probability given.

    `said` is in parts of 2²⁰.
    """

    number: int
    said: int

    @property
    def chance(self) -> float:
        """The probability given."""
        return self.said / _UNIT


class Band(msgspec.Struct, frozen=True):
    """Answers to probabilities of about one size; `said` is their sum."""

    yes: int
    no: int
    said: float


class Block(msgspec.Struct, array_like=True):
    """Answers by band, and how often each cell of the predictors was seen."""

    yes: list[int]
    no: list[int]
    said: list[int]
    cells: dict[int, int]


class Ledger(msgspec.Struct, array_like=True):
    """The ledger of one model, as it is stored. `layout` is that of the cells.

    `alarms` are the instants (microseconds) at which the detector spoke, the latest few; `entered` is how
    many cases have a label; `unheard` are answers by period and band, (yes, no, Σ said), until the detector
    hears them; `heard` is the last period that it did.
    """

    layout: str
    blocks: dict[int, Block] = {}
    detector: ChangeDetector = msgspec.field(default_factory=ChangeDetector)
    alarms: list[int] = []
    entered: int = 0
    unheard: dict[int, dict[int, list[int]]] = {}
    heard: int = -1

    def revise(
        self, noted: Noted, cells: Iterable[int], before: bool | None, after: bool | None, period: int = 0
    ) -> None:
        """Take the earlier label of a case back and enter the later one; None: no label.

        Args:
            noted: what was noted when it was decided.
            cells: those of the predictors, of this ledger's layout.
            before: the label entered until now.
            after: the label that counts from now on.
            period: that of the decision, by `settling`.
        """
        number = noted.number // BLOCK
        self.entered += (after is not None) - (before is not None)
        if period > self.heard:
            self._tell(noted.said, before, after, period)
        if before is after or self._is_gone(number):
            return
        block = self.blocks.setdefault(number, Block([0] * _BANDS, [0] * _BANDS, [0] * _BANDS, {}))
        seen = list(cells)
        if before is not None:
            _enter(block, noted.said, seen, before, -1)
        if after is not None:
            _enter(block, noted.said, seen, after, 1)
        self._forget()

    def listen(self, settling: Settling, at: int) -> bool:
        """Let the detector hear what is settled at an instant (microseconds); true if it raised the alarm.

        A later answer to what was heard raises none.
        """
        is_alarm = False
        for period in [each for each in sorted(self.unheard) if settling.is_settled(each, at)]:
            bands = self.unheard.pop(period).values()
            is_alarm |= self.detector.hear(
                (yes, no, said / _UNIT) for yes, no, said in bands if min(yes, no) >= 0 < yes + no
            )
            self.heard = max(self.heard, period)
        if is_alarm:
            self.alarms = [*self.alarms[-9:], at]
        return is_alarm

    def bands(self) -> tuple[Band, ...]:
        """Return the answers of the latest blocks by band, lowest probabilities first."""
        latest = [self.blocks[number] for number in sorted(self.blocks)[-_LATEST:]]
        return tuple(
            Band(
                sum(block.yes[band] for block in latest),
                sum(block.no[band] for block in latest),
                sum(block.said[band] for block in latest) / _UNIT,
            )
            for band in range(_BANDS)
        )

    def seen(self) -> tuple[Mapping[int, int], Mapping[int, int]] | None:
        """Return how often each cell was seen in the first blocks, and in the latest; None if they meet."""
        late = [number for number in sorted(self.blocks)[-_LATEST:] if number >= _FIRST]
        first = [number for number in self.blocks if number < _FIRST]
        if not late or not first:
            return None
        return self._cells(first), self._cells(late)

    def _tell(self, said: int, before: bool | None, after: bool | None, period: int) -> None:
        """Note for the detector that a case has another label."""
        band = self.unheard.setdefault(period, {}).setdefault(_band(said / _UNIT), [0, 0, 0])
        for label, times in ((before, -1), (after, 1)):
            if label is not None:
                band[0 if label else 1] += times
                band[2] += times * said

    def _cells(self, numbers: Iterable[int]) -> Mapping[int, int]:
        found: Counter[int] = Counter()
        for number in numbers:
            found.update(self.blocks[number].cells)
        return found

    def _is_gone(self, number: int) -> bool:
        """True for a block that is not kept any more."""
        later = [each for each in self.blocks if each > number]
        return number >= _FIRST and number not in self.blocks and len(later) >= _LATEST

    def _forget(self) -> None:
        for number in [each for each in sorted(self.blocks)[:-_LATEST] if each >= _FIRST]:
            del self.blocks[number]


def noted(answers: int, said: float) -> Noted:
    """Return what is to be kept of a case: how many cases had a label by then, and what was said."""
    return Noted(answers, round(_UNIT * said))


def _enter(block: Block, said: int, cells: Iterable[int], label: bool, times: int) -> None:
    band = _band(said / _UNIT)
    (block.yes if label else block.no)[band] += times
    block.said[band] += times * said
    for cell in cells:
        count = block.cells.get(cell, 0) + times
        if count:
            block.cells[cell] = count
        else:
            block.cells.pop(cell, None)


def _band(said: float) -> int:
    p = min(max(said, _TINY), 1 - _TINY)
    return min(max(int((math.log(p / (1 - p)) - _LOWEST) * _PER_UNIT), 0), _BANDS - 1)
